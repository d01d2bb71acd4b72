"""Where log lines go: standard error, a file of ours (0600), or the system's log."""

import logging
import logging.handlers
import os
import stat
from pathlib import Path
from typing import IO

from exportfs.errors import ExportfsError

_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_SYSLOG = Path("/dev/log")


def start(level: str, file: Path | None, *, foreground: bool) -> None:
    """Sets logging up. Raises ExportfsError where the file cannot be written."""
    handler: logging.Handler
    if file is not None:
        try:
            handler = _PrivateFile(file)
        except OSError as error:
            raise ExportfsError(f"cannot write the log file {file}: {error.strerror}") from None
    elif foreground:
        handler = logging.StreamHandler()
    elif _SYSLOG.is_socket():
        handler = logging.handlers.SysLogHandler(os.fspath(_SYSLOG))
        handler.ident = "axxon-exportfs: "
    else:
        handler = logging.NullHandler()
    handler.setFormatter(logging.Formatter(_FORMAT))
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    # A full disk must not end the mount, nor fill standard error.
    logging.raiseExceptions = False


class _PrivateFile(logging.FileHandler):
    """Appends to a file that only its owner can read, whatever the umask."""

    def _open(self) -> IO[str]:  # type: ignore[override] # of the same kind
        return open(self.baseFilename, "a", encoding="utf-8", opener=_private)


def _private(path: str, flags: int) -> int:
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077 and status.st_uid == os.geteuid():
        os.fchmod(descriptor, 0o600)  # it was there before, for others to read
    return descriptor
