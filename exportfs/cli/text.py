"""Text for terminals: what others wrote is made harmless, numbers are made readable."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

BYTE_ORDER_MARK = "\ufeff"
UTF_16 = (b"\xff\xfe", b"\xfe\xff")
"""How a file in UTF-16 begins."""

_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def printable(text: str) -> str:
    """One line that cannot move a cursor or change a colour: line breaks become spaces, the rest escapes."""
    parts = []
    for character in " ".join(text.split()):
        if character.isprintable():
            parts.append(character)
        else:
            parts.append(ascii(character)[1:-1])
    return "".join(parts)


def human_size(size: float) -> str:
    """`1.5 GiB`; below 1 KiB, `512 B`."""
    if size < 1024:
        return f"{size:.0f} B"
    power = 0
    while size >= 1023.95 and power < len(_UNITS):
        size /= 1024
        power += 1
    return f"{size:.1f} {_UNITS[power - 1]}"


def human_duration(seconds: float) -> str:
    """`45s`, `2m 05s`, `1h 05m`, `3d 4h`: the two largest units."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d {whole % 86400 // 3600}h"


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
