"""`docs`: the documents that come with the program."""

import sys
from pathlib import Path

import click

import exportfs
from exportfs.cli.failures import Failure
from exportfs.cli.params.choices import nearest
from exportfs.cli.terminal.output import columns, echo_path

_PACKAGE = Path(exportfs.__file__).parent
# In an installed package, and in a checkout.
_PLACES = (_PACKAGE / "docs", _PACKAGE.parent / "docs")


def documents() -> dict[str, Path]:
    """All pages by their names. Raises Failure where this installation has none."""
    for place in _PLACES:
        pages = {path.stem: path for path in sorted(place.glob("*.md")) if path.stem != "README"}
        if pages:
            return pages
    raise Failure(
        f"this installation has no documents in {_PLACES[0]}: install it again, or read the man page"
    )


@click.command(short_help="Show the documents, or where they are.")
@click.argument("page", metavar="[PAGE]", required=False)
@click.option("--path", is_flag=True, help="Print the file's path instead of its text.")
def docs(page: str | None, path: bool) -> None:
    """Show the documents, or where they are.

    Without PAGE: their names and titles, and the directory that they are in.
    """
    pages = documents()
    folder = next(iter(pages.values())).parent
    if page is None:
        if path:
            echo_path(folder)
            return
        for line in columns([(name, _title(place)) for name, place in pages.items()]):
            click.echo(line)
        click.echo(f"in {folder}", err=True)
        return
    name = page.removesuffix(".md").lower()
    if name not in pages:
        raise click.UsageError(f"there is no page {page!r}; {nearest(name, pages)}")
    if path:
        echo_path(pages[name])
    elif sys.stdout.isatty():
        click.echo_via_pager(pages[name].read_text(encoding="utf-8"))
    else:
        click.echo(pages[name].read_text(encoding="utf-8"), nl=False)


def _title(page: Path) -> str:
    with page.open(encoding="utf-8") as file:
        return file.readline().lstrip("# ").strip()
