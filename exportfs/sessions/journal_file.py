"""The journal's file: JSON lines, one file per server and user, appended to under a lock and fsynced, private (0600),
and shared by mounts of the same server. It holds no request, only its fingerprint: requests may hold passwords.

Each call may take as long as the file system takes: see `journal`.
"""

import contextlib
import errno
import fcntl
import json
import logging
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path

from exportfs.errors import ExportfsError
from exportfs.sessions.ledger import Change, Put, Record

log = logging.getLogger(__name__)

LOAD_WITHIN = 5.0
"""Seconds to wait for the lock before the mount is there."""
WRITE_WITHIN = 0.1
"""And while it serves: who asks for an export waits meanwhile. Other mounts keep it for milliseconds."""
LOCK_EVERY = 0.01
"""Seconds between two tries to get it."""
TAIL = 4096
"""Bytes of the file's end that are remembered: most often a whole line at least, with a key that no other file has."""
_FIELDS = frozenset(each.name for each in fields(Record))


class MayBeWritten(ExportfsError):
    """Writing failed, and what was written could not be taken back: some or all of it may be in the file."""


class JournalFile:
    """The file of one server and user."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._known: dict[str, Record] = {}
        """What this mount has found in it and written, for when somebody takes the file away, or what it holds."""
        self._seen, self._end, self._tail = (0, 0), 0, b""
        """Which file it was when it was touched last, by device and inode, its size in bytes, and what it ended in: a
        new one may get the same inode, and may have grown beyond that size as well."""

    def load(self) -> list[Record]:
        """What the file holds, the oldest first; it is rewritten with what still counts.

        What cannot be read is left alone. Raises ExportfsError where the file cannot be used.
        """
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked(LOAD_WITHIN) as descriptor:
                records = self._replay(descriptor)
                self._known = {record.key: record for record in records}
                self._note(descriptor)
                self._rewrite(records)
        except OSError as error:
            raise ExportfsError(
                f"cannot use the journal {self.path}: {error.strerror}; make its directory yours, or set "
                "XDG_STATE_HOME to a directory that you can write"
            ) from None
        return records

    def peek(self) -> list[Record]:
        """What the file holds, for who writes nothing: it need not be there, and is not locked.

        Raises ExportfsError where it cannot be read.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ExportfsError(f"the journal {self.path} cannot be read: {error.strerror}") from None
        try:
            return self._replay(descriptor, complain=False)
        except OSError as error:
            raise ExportfsError(f"the journal {self.path} cannot be read: {error.strerror}") from None
        finally:
            os.close(descriptor)

    def read(self) -> list[Record]:
        """What the file holds now, and again what it has lost. Raises ExportfsError where it cannot be read at the
        moment."""
        try:
            with self._locked(WRITE_WITHIN) as descriptor:
                records = self._replay(descriptor, complain=False)
                lost = self._lost(descriptor)
        except OSError as error:
            raise ExportfsError(f"the journal {self.path} cannot be read: {error.strerror}") from None
        if lost:
            self.append(())
        return [*records, *lost]

    def append(self, changes: Sequence[Change]) -> None:
        """Writes changes, after what the file has lost, and returns when they are on disk.

        Raises ExportfsError where that fails, MayBeWritten where they may be there nevertheless.
        """
        begun = False
        try:
            with self._locked(WRITE_WITHIN) as descriptor:
                lost = self._lost(descriptor)
                end = os.lseek(descriptor, 0, os.SEEK_END)
                # After half a line of a mount that was killed, or whose disk was full, a line of its own.
                whole = end == 0 or os.pread(descriptor, 1, end - 1) == b"\n"
                try:
                    begun = True
                    lines = "".join(map(_line, [*map(Put, lost), *changes]))
                    _write(descriptor, (b"" if whole else b"\n") + lines.encode())
                    os.fsync(descriptor)
                except OSError:
                    with contextlib.suppress(OSError):
                        os.ftruncate(descriptor, end)
                        begun = False
                    raise
                self._note(descriptor)
        except OSError as error:
            kind = MayBeWritten if begun else ExportfsError
            raise kind(f"cannot write the journal {self.path}: {error.strerror}") from None
        if lost:
            log.warning(
                "the journal %s had lost %d of its requests, which are there again", self.path, len(lost)
            )
        for change in changes:
            if isinstance(change, Put):
                self._known[change.record.key] = change.record
            else:
                self._known.pop(change.key, None)

    def _lost(self, descriptor: int) -> list[Record]:
        """What was in the file and is not, since it is another one, or was made shorter or written over.

        It is another one, too, where a mount that began has rewritten it: without what a third one has dropped since
        this one read it. That comes back, and does no harm: this one will drop it for the same reason.
        """
        status, tail = os.fstat(descriptor), self._tail
        same = (status.st_dev, status.st_ino) == self._seen
        if same and os.pread(descriptor, len(tail), self._end - len(tail)) == tail:
            return []
        there = {record.key for record in self._replay(descriptor, complain=False)}
        return [record for key, record in self._known.items() if key not in there]

    def _note(self, descriptor: int) -> None:
        status = os.fstat(descriptor)
        length = min(status.st_size, TAIL)
        tail = os.pread(descriptor, length, status.st_size - length)
        self._seen, self._end, self._tail = (status.st_dev, status.st_ino), status.st_size, tail

    def _rewrite(self, records: Iterable[Record]) -> None:
        """Beside it and then in its place: a crash or a full disk in between loses nothing."""
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            copy = os.open(beside, flags, 0o600)
            try:
                _write(copy, "".join(_line(Put(record)) for record in records).encode())
                os.fsync(copy)
                os.replace(beside, self.path)
                self._note(copy)
            finally:
                os.close(copy)
        except OSError as error:
            log.warning("the journal %s cannot be rewritten: %s", self.path, error.strerror)
            with contextlib.suppress(OSError):
                beside.unlink()

    def _replay(self, descriptor: int, *, complain: bool = True) -> list[Record]:
        data = b""
        while piece := os.pread(descriptor, 1 << 20, len(data)):
            data += piece
        records: dict[str, Record] = {}
        for line in data.decode("utf-8", "replace").splitlines():
            if not line:
                continue
            try:
                entry = json.loads(line)
                if "put" in entry:
                    # A later version, that was here before or is another mount's, may know more of it.
                    known = {key: value for key, value in entry["put"].items() if key in _FIELDS}
                    record = Record(**{**known, "before": tuple(known["before"])})
                    records[record.key] = record
                elif "drop" in entry:
                    records.pop(entry["drop"], None)
            except (ValueError, TypeError, KeyError, AttributeError):
                # A line cut short by a crash: its request was not sent, since sending waits for the line.
                if complain:
                    log.warning("a line of the journal %s cannot be read and is passed over", self.path)
        return list(records.values())

    @contextlib.contextmanager
    def _locked(self, within: float) -> Iterator[int]:
        """A descriptor of the file, alone with it. Raises OSError where another process keeps it for so long."""
        until = time.monotonic() + within
        while True:
            descriptor = self._open()
            try:
                _lock(descriptor, until)
                # Another mount may have put a new file in its place meanwhile.
                if _is_at(descriptor, self.path):
                    yield descriptor
                    return
            finally:
                os.close(descriptor)

    def _open(self) -> int:
        """Made where there is none, and so is its directory, which somebody may have taken away as well. But not what
        that is in: where a home is not there at the moment, what is made in its place is lost when it is back."""
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            return os.open(self.path, flags, 0o600)
        except FileNotFoundError:
            gone = OSError(
                errno.ENOENT, f"its directory is gone, and cannot be made in {self.path.parent.parent}"
            )
        try:
            self.path.parent.mkdir(mode=0o700)
            log.warning("the directory of the journal %s was gone, and is made again", self.path)
        except FileExistsError:
            pass  # another mount was first, or it is a link to nothing
        except FileNotFoundError:
            raise gone from None
        try:
            return os.open(self.path, flags, 0o600)
        except FileNotFoundError:
            raise gone from None


def _lock(descriptor: int, until: float) -> None:
    # Not left to the kernel to wait: a mount that was stopped may keep it, and all of this one would stand still.
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= until:
                raise OSError(errno.EAGAIN, "another process keeps it locked") from None
        time.sleep(LOCK_EVERY)


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _line(change: Change) -> str:
    entry = {"put": asdict(change.record)} if isinstance(change, Put) else {"drop": change.key}
    return json.dumps(entry) + "\n"
