"""What an error of the operating system means for who uses a mount, or copies from it."""

import errno
import os

from exportfs.program import PROGRAM

# What each errno of the mount (docs/semantics.md) or of an ordinary disk asks for.
_ADVICE = {
    errno.ENOTCONN: f"the server cannot be reached, or the mount is dead: see `{PROGRAM} status`",
    errno.ETIMEDOUT: f"the server did not answer in time: see `{PROGRAM} status`, and try again",
    errno.EROFS: "read-only filesystem: choose another, or mount without --read-only to change something on the server",
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


def sentence(error: OSError) -> str:
    """`PATH: what is wrong and what to do`."""
    text = _ADVICE.get(error.errno or 0) or error.strerror or str(error) or type(error).__name__
    where = error.filename if error.filename is not None else error.filename2
    if where is None or isinstance(where, int):
        return text
    return f"{os.fsdecode(where)}: {text}"
