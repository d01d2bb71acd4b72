"""What several commands share: arguments and options."""

from pathlib import Path

import click
from click.core import ParameterSource

from exportfs.cli.completion import complete_sessions
from exportfs.cli.params.quantities import FILE
from exportfs.client.find import is_session

SESSIONS = click.argument(
    "paths", metavar="SESSION...", nargs=-1, required=True, type=FILE, shell_complete=complete_sessions
)
"""Session directories, the links to them in `new/` and `sessions/`, or their names."""

SESSIONS_AND_DEST = click.argument(
    "words", metavar="SESSION... DEST", nargs=-1, type=FILE, shell_complete=complete_sessions
)
"""One argument, so that `split_dest` can say which of the two is missing."""

MOUNTPOINT = click.argument("mountpoint", metavar="[MOUNTPOINT]", required=False, type=FILE)
"""May be left out where there is one mount: `chosen_mount`."""

JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")

_UNGIVEN = (None, ParameterSource.DEFAULT, ParameterSource.DEFAULT_MAP)


def split_dest(words: tuple[Path, ...]) -> tuple[tuple[Path, ...], Path]:
    """Sessions and DEST. UsageError where one of them is missing."""
    if not words:
        raise click.UsageError("SESSION and DEST are missing: give sessions, and the folder to copy them to")
    if is_session(words[-1]):
        raise click.UsageError(
            f"DEST is missing: {words[-1]} is a session; give the folder to copy to as the last word"
        )
    if len(words) == 1:
        raise click.UsageError(
            f"SESSION is missing before the folder {words[0]}; `axxon-exportfs status` shows the sessions"
        )
    return words[:-1], words[-1]


def given(ctx: click.Context, parameter: str) -> bool:
    """Whether the parameter was on the command line (or in the environment) and not left to its default."""
    return ctx.get_parameter_source(parameter) not in _UNGIVEN
