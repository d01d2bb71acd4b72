"""What several commands share: options, and how they meet the configuration."""

from collections.abc import Mapping
from pathlib import Path

import click
from click.core import ParameterSource

PATHS = click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
"""Session directories, or the links to them in `new/` and `sessions/`."""

MOUNTPOINT = click.argument("mountpoint", metavar="MOUNTPOINT", type=click.Path(path_type=Path))

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")

_UNGIVEN = (None, ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)


def given(ctx: click.Context, parameter: str) -> bool:
    """Whether the parameter was on the command line (or in the environment) and not left to its default."""
    return ctx.get_parameter_source(parameter) not in _UNGIVEN


def resolve(ctx: click.Context, profile: Mapping[str, object]) -> dict[str, object]:
    """The command's parameters by precedence: command line, then the profile (which holds the defaults of
    the file already), then built-in. Keys of the profile that the command does not have stay out."""
    return {
        name: value if given(ctx, name) or name not in profile else profile[name]
        for name, value in ctx.params.items()
    }
