"""What several commands share: arguments and options."""

from pathlib import Path

import click
from click.core import ParameterSource

from exportfs.cli.values import FILE

PATHS = click.argument("paths", metavar="PATH...", nargs=-1, required=True, type=click.Path(path_type=Path))
"""Session directories, or the links to them in `new/` and `sessions/`."""

MOUNTPOINT = click.argument("mountpoint", metavar="MOUNTPOINT", type=FILE)

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")

_UNGIVEN = (None, ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)


def given(ctx: click.Context, parameter: str) -> bool:
    """Whether the parameter was on the command line (or in the environment) and not left to its default."""
    return ctx.get_parameter_source(parameter) not in _UNGIVEN
