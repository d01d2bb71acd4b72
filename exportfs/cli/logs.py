"""Where log lines go: standard error, a file of ours (0600), or the system's log; and what else is written to
standard error while a mount is served."""

import contextlib
import fcntl
import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

from exportfs.cli.log_writer import (
    WARNING,
    DescriptorSink,
    FileSink,
    LogWriter,
    Sink,
    SyslogSink,
    takes_more,
)
from exportfs.cli.repeats import Repeats
from exportfs.errors import ExportfsError
from exportfs.program import PROGRAM

FLUSH_TIMEOUT = 2.0
"""Seconds for what still waits to be written when the mount ends."""
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_SYSLOG = Path("/dev/log")
_STRAY_BYTES = 1 << 20
"""Of the pipe for what libraries write to standard error; a dump of many threads fits."""
_SEVERITIES = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, WARNING), (logging.INFO, 6))


class Log:
    """The log of one mount, from `start` to `stop`."""

    def __init__(self, writer: LogWriter | None, *, foreground: bool, file: bool) -> None:
        self._writer = writer
        self._foreground = foreground
        self._file = file
        self._terminal = _has_terminal()
        self._ignored = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        self._usual: int | None = None
        """Standard error, while descriptor 2 is ours."""

    @property
    def takes_hangups(self) -> bool:
        """Whether SIGHUP is for the log, and not the end of the mount."""
        return self._file or not self._foreground

    @property
    def dropped(self) -> int:
        """Lines that were dropped since the start."""
        return 0 if self._writer is None else self._writer.dropped_in_all

    def hang_up(self) -> bool:
        """Upon SIGHUP: opens the log anew, and says whether the mount goes on. It ends where it runs in the foreground
        of a terminal that is gone, unless SIGHUP was ignored when it was started (nohup)."""
        if self._writer is not None:
            self._writer.reopen()
        gone = self._terminal and not _has_terminal()
        return not self._foreground or self._ignored or not gone

    def collect_stray_output(self) -> None:
        """From now on what anyone else writes to standard error (libfuse, gRPC, Python's warnings, stack dumps) goes
        through the log's thread as well, and never blocks: a pipe that is full drops it."""
        if self._writer is None:
            return
        reading, writing = os.pipe()
        with contextlib.suppress(OSError):
            fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, _STRAY_BYTES)
        os.set_blocking(writing, False)
        pump = threading.Thread(target=self._pump, args=(reading,), name="stderr", daemon=True)
        try:
            pump.start()
        except RuntimeError:  # no thread: it stays as it was
            os.close(reading)
            os.close(writing)
            return
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        self._usual = os.dup(2)
        os.dup2(writing, 2)
        os.close(writing)

    def stop(self) -> None:
        """Writes what waits, for a bounded time. Then standard error is as it was, or closed to everyone where nobody
        takes what is written to it: the process must end."""
        if self._usual is not None:
            os.dup2(self._usual, 2)
            os.close(self._usual)
            self._usual = None
        # One bound for both, which may be the same pipe.
        deadline = time.monotonic() + FLUSH_TIMEOUT
        if self._writer is not None:
            self._writer.flush(FLUSH_TIMEOUT)
        if self._foreground and not takes_more(2, max(0.0, deadline - time.monotonic())):
            nothing = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
            os.dup2(nothing, 2)
            os.close(nothing)

    def _pump(self, reading: int) -> None:
        assert self._writer is not None
        with open(reading, "rb") as stray:
            for line in stray:
                self._writer.put(line.decode("utf-8", "replace").rstrip("\n"), WARNING)


class _Handler(logging.Handler):
    """Hands records over to the writer, as text."""

    def __init__(self, writer: LogWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            severity = next((number for level, number in _SEVERITIES if record.levelno >= level), 7)
            self._writer.put(self.format(record), severity)
        except Exception:
            self.handleError(record)


def start(level: str, file: Path | None, *, foreground: bool) -> Log:
    """Sets logging up. Raises ExportfsError where the file cannot be written."""
    sink: Sink | None = None
    if file is not None:
        try:
            sink = FileSink(file)
        except OSError as error:
            raise ExportfsError(f"cannot write the log file {file}: {error.strerror}") from None
    elif foreground:
        # A copy: descriptor 2 itself becomes a pipe of ours later.
        sink = DescriptorSink(os.dup(2))
    elif _SYSLOG.is_socket():
        sink = SyslogSink(_SYSLOG, PROGRAM)
    writer = LogWriter(sink) if sink is not None else None
    handler = _Handler(writer) if writer is not None else logging.NullHandler()
    handler.setFormatter(logging.Formatter(_FORMAT))
    handler.addFilter(Repeats())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.captureWarnings(True)
    # A record that cannot be formatted must not end the mount, nor fill standard error.
    logging.raiseExceptions = False
    return Log(writer, foreground=foreground, file=file is not None)


def _has_terminal() -> bool:
    """Whether this process has a controlling terminal that still lives."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK))
    except OSError:
        return False
    return True
