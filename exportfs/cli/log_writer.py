"""Log lines leave the process through a thread of their own: whoever logs never waits for a terminal, a pipe, a disk
or the system's log. What they do not take in time is dropped and counted."""

import contextlib
import os
import select
import socket
import stat
import threading
import time
from collections import deque
from pathlib import Path
from typing import Protocol

from exportfs.errors import ExportfsError

MOST_LINES = 10_000
MOST_BYTES = 8 << 20
"""Of what waits to be written: some thousand tracebacks."""
_LONGEST_DATAGRAM = 8192
"""Bytes of one line for the system's log; a datagram that is too large would be refused whole."""
_USER = 1 << 3
"""The facility of syslog(3) for programs of users."""


class Sink(Protocol):
    """Where lines go. Called by the writer's thread only, and may take as long as it takes."""

    def write(self, text: str, severity: int) -> None:
        """One message of one or more lines, with a severity of syslog(3). Raises OSError."""

    def reopen(self) -> None:
        """Opens what it writes to anew. Raises OSError where that fails; the old one is kept then."""


class DescriptorSink:
    """An open descriptor: standard error."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, text: str, severity: int) -> None:
        write_all(self._descriptor, text)

    def reopen(self) -> None:
        pass


class FileSink:
    """Appends to a file that only its owner can read, and follows its name: when the file was renamed or removed,
    as logrotate does, the next line goes to a new one."""

    def __init__(self, path: Path) -> None:
        """Raises OSError where it cannot be opened."""
        self._path = path
        self._descriptor = _open_private(path)

    def write(self, text: str, severity: int) -> None:
        if self._moved():
            # Where no new one can be made, the old one is better than nothing.
            with contextlib.suppress(OSError):
                self.reopen()
        write_all(self._descriptor, text)

    def reopen(self) -> None:
        fresh = _open_private(self._path)
        os.close(self._descriptor)
        self._descriptor = fresh

    def _moved(self) -> bool:
        ours = os.fstat(self._descriptor)
        if not stat.S_ISREG(ours.st_mode):
            return False
        try:
            there = os.stat(self._path)
        except OSError:
            return True
        return (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino)


class SyslogSink:
    """The system's log; connects when there is something to say, and again where the log was restarted."""

    def __init__(self, path: Path, tag: str) -> None:
        self._path = os.fspath(path)
        self._tag = tag
        self._socket: socket.socket | None = None

    def write(self, text: str, severity: int) -> None:
        for line in text.splitlines():
            message = f"<{_USER | severity}>{self._tag}[{os.getpid()}]: {line}"
            self._send(message.encode("utf-8", "backslashreplace")[:_LONGEST_DATAGRAM])

    def reopen(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _send(self, message: bytes) -> None:
        if self._socket is not None:
            try:
                self._socket.send(message)
                return
            except OSError:
                self.reopen()
        fresh = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        try:
            fresh.connect(self._path)
            fresh.send(message)
        except OSError:
            fresh.close()
            raise
        self._socket = fresh


class LogWriter:
    """The queue and its thread. `put` and `reopen` may be called from any thread and never wait."""

    def __init__(self, sink: Sink) -> None:
        """Raises ExportfsError where no thread can be started."""
        self._sink = sink
        self._lines: deque[tuple[str, int]] = deque()
        self._bytes = 0
        self.dropped_in_all = 0
        """Lines, since the start."""
        self._dropped_said = 0
        """Those of which a line has told."""
        self._reopen = False
        self._busy = False
        self._turn = threading.Condition(threading.Lock())
        try:
            threading.Thread(target=self._run, name="log", daemon=True).start()
        except RuntimeError as error:
            raise ExportfsError(
                f"no thread can be started ({error}): raise the limit of processes (`ulimit -u`, or the container's)"
            ) from None

    def put(self, text: str, severity: int) -> None:
        """Queues one message; drops it where too much waits already."""
        size = len(text) + 64
        with self._turn:
            if self._lines and (len(self._lines) >= MOST_LINES or self._bytes + size > MOST_BYTES):
                self.dropped_in_all += 1
                return
            self._lines.append((text, severity))
            self._bytes += size
            self._turn.notify_all()

    def reopen(self) -> None:
        """Lets the thread open the log anew before the next line; does not wait for it."""
        with self._turn:
            self._reopen = True
            self._turn.notify_all()

    def flush(self, within: float) -> bool:
        """Waits at most `within` seconds until all is written; whether it is."""
        deadline = time.monotonic() + within
        with self._turn:
            while self._lines or self._busy:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._turn.wait(left)
        return True

    def _run(self) -> None:
        while True:
            with self._turn:
                self._busy = False
                self._turn.notify_all()
                while not self._lines and not self._reopen:
                    self._turn.wait()
                self._busy = True
                reopen, self._reopen = self._reopen, False
                item = self._lines.popleft() if self._lines else None
                dropped = 0
                if item is not None:
                    self._bytes -= len(item[0]) + 64
                    if not self._lines:
                        dropped, self._dropped_said = (
                            self.dropped_in_all - self._dropped_said,
                            self.dropped_in_all,
                        )
            if reopen:
                with contextlib.suppress(OSError):
                    self._sink.reopen()
            if item is not None:
                self._write(*item)
            if dropped:
                self._write(f"log messages dropped here, because the log was blocked: {dropped}", WARNING)

    def _write(self, text: str, severity: int) -> None:
        try:
            self._sink.write(text, severity)
        except OSError:  # a full disk, nobody at the other end of a pipe: there is no other place to say so
            with self._turn:
                self.dropped_in_all += 1


WARNING = 4
"""The severity of syslog(3)."""


def write_all(descriptor: int, text: str) -> None:
    """Writes a message and a line's end, and waits where a non-blocking descriptor takes nothing. Raises OSError."""
    data = memoryview(text.encode("utf-8", "backslashreplace") + b"\n")
    while data:
        try:
            data = data[os.write(descriptor, data) :]
        except BlockingIOError:
            takes_more(descriptor, None)


def takes_more(descriptor: int, within: float | None) -> bool:
    """Waits at most so many seconds until something can be written without blocking; None: for ever."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return bool(poll.poll(None if within is None else within * 1000))


def _open_private(path: Path) -> int:
    # A named pipe that nobody reads is refused (ENXIO) where it would wait; a terminal does not become ours.
    flags = (
        os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    )
    descriptor = os.open(path, flags, 0o600)
    os.set_blocking(descriptor, True)
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode) and status.st_mode & 0o077 and status.st_uid == os.geteuid():
        os.fchmod(descriptor, 0o600)  # it was there before, for others to read
    return descriptor
