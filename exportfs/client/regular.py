"""Files of a folder that is handed over: regular ones, and no links to something that stays behind. To open a FIFO that
somebody put there would wait for ever."""

import errno
import os
import stat
from pathlib import Path


def is_regular(path: Path) -> bool:
    """Whether it is there and a file itself, not a link to one. Raises OSError where that cannot be known."""
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False


def may_be_written(path: Path) -> bool:
    """Whether writing into what is there changes nothing under another name. Raises OSError as `is_regular`."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return True
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def read_regular(path: Path, most: int = -1) -> bytes:
    """What is in it, or so many of its first bytes. Raises OSError, also where it is not a regular file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", os.fspath(path))
        return file.read(most)
