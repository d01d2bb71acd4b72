"""Another file or directory where a running mount has its own, without a moment in which there is none: in that the
mount may make one."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_HERE = -100
"""AT_FDCWD."""
_EXCHANGE = 2
"""RENAME_EXCHANGE."""


def exchange(one: Path, other: Path) -> None:
    """Each has the other's name then. Raises OSError."""
    if _libc.renameat2(_HERE, os.fsencode(one), _HERE, os.fsencode(other), _EXCHANGE) < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), os.fspath(one))


@contextmanager
def in_the_way(path: Path, aside: Path) -> Iterator[None]:
    """A directory for a while where a file was, which is `aside`: not even root can write into it."""
    aside.mkdir()
    exchange(path, aside)
    try:
        yield
    finally:
        exchange(path, aside)
        aside.rmdir()
