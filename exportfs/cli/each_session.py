"""Doing something to each of several sessions."""

from collections.abc import Callable, Iterable
from pathlib import Path

from exportfs.cli.failures import complain
from exportfs.client.find import find_session
from exportfs.errors import ExportfsError
from exportfs.os_errors import sentence


def located(paths: Iterable[Path]) -> list[Path | Exception]:
    """Each session once, and what is wrong with the other paths."""
    found: dict[Path, None] = {}
    wrong: list[Path | Exception] = []
    for path in paths:
        try:
            found[find_session(path)] = None
        except (OSError, ExportfsError) as error:
            wrong.append(error)
    return [*found, *wrong]


def for_each(items: Iterable[Path | Exception], action: Callable[[Path], None]) -> int:
    """A failure with one session does not keep the others from their turn."""
    code = 0
    for item in items:
        try:
            if isinstance(item, Exception):
                raise item
            action(item)
        except OSError as error:
            complain(sentence(error))
            code = 1
        except ExportfsError as error:
            complain(str(error))
            code = 1
    return code
