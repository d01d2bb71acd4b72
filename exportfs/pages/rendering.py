"""From templates to bytes. Whatever is put into a template becomes text: nobody has to think of it there."""

import base64
import functools
import hashlib
from importlib import resources
from typing import TYPE_CHECKING, Any

from exportfs.pages.safe import shown
from exportfs.program import PROGRAM
from exportfs.units import human_size

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup

GENERATOR = PROGRAM
"""In every page's head (`<meta name="generator">`): known by it again as ours."""


def render(template: str, **values: object) -> bytes:
    """A whole page."""
    return _environment().get_template(template).render(values).encode()


def fragment(template: str, **values: object) -> "Markup":
    """A part of a page, to be put into another template as it is."""
    from markupsafe import Markup

    return Markup(_environment().get_template(template).render(values))


def load() -> None:
    """Reads and compiles what pages need, so that the first one is as quick as any. May run in a thread."""
    environment = _environment()
    for name in environment.list_templates(extensions=["html"]):
        environment.get_template(name)


@functools.cache
def _environment() -> "Environment":
    # Imported only here: most commands make no page.
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup, escape

    def text(value: Any) -> Any:
        return value if isinstance(value, Markup) else shown(str(value))

    def lines(value: str) -> Markup:
        return Markup(escape(shown(value, lines=True)))

    environment = Environment(
        loader=PackageLoader("exportfs.pages"),
        autoescape=True,
        auto_reload=False,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
        finalize=text,
    )
    style = (resources.files("exportfs.pages") / "templates" / "style.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    environment.globals["style"] = Markup(style)
    environment.globals["generator"] = GENERATOR
    # Beside the page's own style only pictures and videos of files: nothing is fetched, run, framed or sent.
    environment.globals["policy"] = (
        f"default-src 'none'; style-src 'sha256-{digest}'; img-src 'self' file:; media-src 'self' file:; "
        "base-uri 'none'; form-action 'none'"
    )
    environment.filters["size"] = human_size
    environment.filters["lines"] = lines
    return environment
