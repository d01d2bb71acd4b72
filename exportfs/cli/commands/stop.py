"""`stop`: stop running exports."""

from pathlib import Path

import click

from exportfs.cli.each_session import for_each, located
from exportfs.cli.failures import complain
from exportfs.cli.params.arguments import SESSIONS
from exportfs.cli.terminal.output import printable
from exportfs.client import control
from exportfs.record import COMPLETED


@click.command(short_help="Stop running exports; what they have so far is kept.")
@SESSIONS
def stop(paths: tuple[Path, ...]) -> int:
    """Stop running exports; what they have so far is kept.

    SESSION is a session's name as `status` shows it, its directory, or its link in new/. It prints the name of each
    session that it stopped; one that has ended already is left as it is, which is said and is not an error.
    """
    return for_each(located(paths), _stop)


def _stop(directory: Path) -> None:
    """Says so where there is nothing to stop."""
    was_running, state = control.stop(directory)
    if not was_running:
        complain(f"{directory.name}: nothing to stop: its state is {state} already")
    elif state == COMPLETED:
        complain(f"{directory.name}: it was completed before it could be stopped")
    else:
        click.echo(f"stopped {printable(directory.name)}")
