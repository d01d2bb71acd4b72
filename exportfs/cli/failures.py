"""Expected failures: one line on stderr that says what to do, and exit code 1."""

from typing import IO, Any

import click

from exportfs.cli.terminal.output import printable
from exportfs.program import PROGRAM


class Failure(click.ClickException):
    """What ends a command with exit code 1. The message is a sentence; it is shown on one line."""

    def show(self, file: IO[Any] | None = None) -> None:
        complain(self.message)


def complain(message: str) -> None:
    """One line on stderr, under the program's name."""
    click.echo(f"{PROGRAM}: {printable(message)}", err=True)
