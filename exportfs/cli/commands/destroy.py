"""`destroy`: delete export sessions and their results on the server."""

from pathlib import Path

import click

from exportfs.cli.each_session import for_each, located
from exportfs.cli.failures import Failure
from exportfs.cli.params.arguments import SESSIONS
from exportfs.cli.terminal.output import on_terminal, printable
from exportfs.client import control


@click.command(short_help="Delete export sessions and their results on the server.")
@SESSIONS
@click.option("--yes", is_flag=True, help="Do not ask, even on a terminal.")
def destroy(paths: tuple[Path, ...], yes: bool) -> int:
    """Delete export sessions and their results on the server.

    SESSION is a session's name as `status` shows it, its directory, or its link in new/. On a terminal it asks first.
    It prints the name of each session that it destroyed. Copies elsewhere are not touched.
    """
    found = located(paths)
    directories = [item for item in found if isinstance(item, Path)]
    if directories and not yes and on_terminal():
        for directory in directories:
            click.echo(f"  {printable(directory.name)}", err=True)
        count = "this session" if len(directories) == 1 else f"these {len(directories)} sessions"
        if not click.confirm(f"Delete {count} and the results on the server?", err=True):
            raise Failure("nothing was destroyed")
    return for_each(found, _destroy)


def _destroy(directory: Path) -> None:
    control.destroy(directory)
    click.echo(f"destroyed {printable(directory.name)}")
