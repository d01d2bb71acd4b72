"""Output on a terminal: what others wrote is made harmless, tables are aligned."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click


def printable(text: str) -> str:
    """One line that cannot move a cursor or change a colour: line breaks become spaces, the rest escapes."""
    parts = []
    for character in " ".join(text.split()):
        if character.isprintable():
            parts.append(character)
        else:
            parts.append(ascii(character)[1:-1])
    return "".join(parts)


def columns(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table, as wide as its widest cells on a terminal: some characters take two places."""
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)
        ).rstrip()
        for row in rows
    ]


def echo_path(path: Path | str) -> None:
    """A path on stdout, byte for byte as the system has it, so that scripts can use it."""
    click.echo(os.fsencode(path))


def on_terminal() -> bool:
    """Whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()
