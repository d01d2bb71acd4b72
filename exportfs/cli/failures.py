"""Expected failures: one line on stderr that says what to do, and exit code 1."""

import errno
import os
from typing import IO, Any

import click

from exportfs.cli.text import printable

PROGRAM = "axxon-exportfs"

# What each errno of the mount (docs/semantics.md) or of an ordinary disk asks for.
_ADVICE = {
    errno.ENOTCONN: f"the server cannot be reached, or the mount is dead: see `{PROGRAM} status`",
    errno.ETIMEDOUT: f"the server did not answer in time: see `{PROGRAM} status`, and try again",
    errno.EROFS: "read-only filesystem: mount without --read-only to change something on the server",
    errno.EACCES: "not allowed: check the permissions, and on a mount its user's rights on the server",
    errno.EBUSY: "the server is busy, or the session's state does not allow it: try again later",
    errno.ESTALE: "no longer on the server",
    errno.ENOENT: "no such file or directory: check the path, and that it is mounted",
    errno.ENOSPC: "the disk is full: make room and try again",
    errno.EDQUOT: "the disk quota is used up: make room and try again",
    errno.EFBIG: "file too large for this filesystem",
    errno.EOPNOTSUPP: "not supported by the server",
    errno.EIO: f"input/output error: see `recent errors` in `{PROGRAM} status`, or the disk's log",
}


class Failure(click.ClickException):
    """What ends a command with exit code 1. The message is a sentence; it is shown on one line."""

    def show(self, file: IO[Any] | None = None) -> None:
        complain(self.message)


def complain(message: str) -> None:
    """One line on stderr, under the program's name."""
    click.echo(f"{PROGRAM}: {printable(message)}", err=True)


def sentence(error: OSError) -> str:
    """`PATH: what is wrong and what to do`."""
    text = _ADVICE.get(error.errno or 0) or error.strerror or str(error) or type(error).__name__
    where = error.filename if error.filename is not None else error.filename2
    if where is None or isinstance(where, int):
        return text
    return f"{os.fsdecode(where)}: {text}"
