"""The journal's file: JSON lines, one file per server and user, appended to under a lock and fsynced, private (0600),
and shared by mounts of the same server. It holds no request, only its fingerprint: requests may hold passwords.

Each call may take as long as the file system takes: see `journal`.
"""

import contextlib
import errno
import fcntl
import logging
import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from exportfs.errors import ExportfsError
from exportfs.sessions.journal_lines import View, line_of
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
_DEVNULL = Path(os.devnull)


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
        self._view, self._viewed = View(), 0
        """What is in it, and up to which of its bytes: the end of a line."""
        self._is_new = True
        """Whether it is not certain that its name is on the disk."""

    def load(self) -> list[Record]:
        """What the file holds, the oldest first; it is rewritten with what still counts.

        Not where lines are of a later version, which stay as they are; damaged ones are moved into a file beside it.
        Raises ExportfsError where the file cannot be used.
        """
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked(LOAD_WITHIN) as descriptor:
                self._catch_up(descriptor)
                records = list(self._view.records.values())
                self._known = dict(self._view.records)
                if self._view.later:
                    log.warning(
                        "%d lines of the journal %s are of a later version and stay as they are",
                        self._view.later,
                        self.path,
                    )
                else:
                    self._rewrite(records)
        except OSError as error:
            raise ExportfsError(
                f"cannot use the journal {self.path}: {error.strerror}; make it and its directory yours, or set "
                "XDG_STATE_HOME to a directory that you can write"
            ) from None
        return records

    def peek(self) -> list[Record]:
        """What the file holds, for who writes nothing: it need not be there, and is not locked.

        Raises ExportfsError where it cannot be read.
        """
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            descriptor = os.open(self.path, flags)
            try:
                if self.path != _DEVNULL:
                    _check_regular(descriptor)
                view = View()
                view.take(_read(descriptor, 0))
                return list(view.records.values())
            finally:
                os.close(descriptor)
        except FileNotFoundError:
            return []
        except OSError as error:
            raise ExportfsError(f"the journal {self.path} cannot be read: {error.strerror}") from None

    def read(self) -> list[Record]:
        """What the file holds now, and again what it has lost. Raises ExportfsError where it cannot be read at the
        moment."""
        try:
            with self._locked(WRITE_WITHIN) as descriptor:
                lost = self._catch_up(descriptor)
                records = list(self._view.records.values())
        except OSError as error:
            raise ExportfsError(f"the journal {self.path} cannot be read: {error.strerror}") from None
        if lost:
            # It has been seen as it is by now, so what it lacks is handed on.
            self.append([Put(record) for record in lost])
            self._tell_lost(lost)
        return [*records, *lost]

    def unheard(self, fingerprint: str) -> list[Record]:
        """What other mounts have asked for since this one read the file, of this fingerprint, and nobody has heard what
        became of it. Raises ExportfsError as `read`."""
        self.read()
        return self._unheard(self._view.records, fingerprint)

    def append(self, changes: Sequence[Change], asking: Record | None = None) -> list[Record]:
        """Writes changes, after what the file has lost, and returns when they are on disk.

        `asking`: a record that is written as well, unless `unheard` has any: these are returned, and under one lock, so
        that of two mounts that are about to ask for the same one waits for the other.

        Raises ExportfsError where that fails, MayBeWritten where they may be there nevertheless.
        """
        begun = False
        unheard: list[Record] = []
        try:
            with self._locked(WRITE_WITHIN) as descriptor:
                lost = self._catch_up(descriptor)
                everything = [*map(Put, lost), *changes]
                if asking is not None:
                    unheard = self._unheard(self._view.records, asking.fingerprint, everything)
                    if not unheard:
                        everything.append(Put(asking))
                end = os.lseek(descriptor, 0, os.SEEK_END)
                # After half a line of a mount that was killed, or whose disk was full, a line of its own.
                whole = end == 0 or os.pread(descriptor, 1, end - 1) == b"\n"
                try:
                    begun = True
                    _write(descriptor, (b"" if whole else b"\n") + "".join(map(line_of, everything)).encode())
                    os.fsync(descriptor)
                    if self._is_new:
                        _sync_name(self.path)
                        self._is_new = False
                except OSError:
                    # What was lost is still to be written then.
                    self._seen = (0, 0)
                    with contextlib.suppress(OSError):
                        os.ftruncate(descriptor, end)
                        begun = False
                    raise
                self._catch_up(descriptor)
        except OSError as error:
            kind = MayBeWritten if begun else ExportfsError
            raise kind(f"cannot write the journal {self.path}: {error.strerror}") from None
        if lost:
            self._tell_lost(lost)
        for change in everything:
            if isinstance(change, Put):
                self._known[change.record.key] = change.record
            else:
                self._known.pop(change.key, None)
        return unheard

    def _tell_lost(self, lost: Sequence[Record]) -> None:
        log.warning("the journal %s had lost %d of its requests, which are there again", self.path, len(lost))

    def _unheard(
        self, records: Mapping[str, Record], fingerprint: str, changes: Iterable[Change] = ()
    ) -> list[Record]:
        """Of the records but this mount's own, which its changes are about."""
        own = self._known.keys() | {
            change.record.key if isinstance(change, Put) else change.key for change in changes
        }
        return [
            record
            for key, record in records.items()
            if record.fingerprint == fingerprint
            and key not in own
            and not record.destroyed
            and (record.session_id is None or not record.reported)
        ]

    def _catch_up(self, descriptor: int) -> list[Record]:
        """Reads what is new in the file. Returns what was in it and is not, since it is another one, or was made
        shorter or written over.

        It is another one, too, where a mount that began has rewritten it: without what a third one has dropped since
        this one read it. That comes back, and does no harm: this one will drop it for the same reason.
        """
        tail, lost = self._tail, []
        same = _identity(descriptor) == self._seen
        same = same and os.pread(descriptor, len(tail), self._end - len(tail)) == tail
        if not same:
            self._view, self._viewed, self._is_new = View(), 0, True
        data = _read(descriptor, self._viewed)
        self._view.take(data)
        # What has no end yet counts as it is, and is read again with what comes.
        self._viewed += data.rfind(b"\n") + 1
        if not same:
            lost = [record for key, record in self._known.items() if key not in self._view.records]
        self._note(descriptor)
        return lost

    def _note(self, descriptor: int) -> None:
        size = os.fstat(descriptor).st_size
        length = min(size, TAIL)
        tail = os.pread(descriptor, length, size - length)
        self._seen, self._end, self._tail = _identity(descriptor), size, tail

    def _rewrite(self, records: Iterable[Record]) -> None:
        """Beside it and then in its place: a crash or a full disk in between loses nothing."""
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        try:
            self._keep_damaged()
            copy = os.open(beside, flags, 0o600)
            try:
                _write(copy, "".join(line_of(Put(record)) for record in records).encode())
                os.fsync(copy)
                os.replace(beside, self.path)
                # Or a power cut brings the old one back, without what is appended to this one.
                _sync_name(self.path)
                self._catch_up(copy)
                self._is_new = False
            finally:
                os.close(copy)
        except OSError as error:
            log.warning("the journal %s cannot be rewritten: %s", self.path, error.strerror)
            with contextlib.suppress(OSError):
                beside.unlink()

    def _keep_damaged(self) -> None:
        """Most often a line that was cut short by a crash, whose request was not sent, since sending waits for the
        line. But nobody can say that of each."""
        damaged = self._view.damaged
        if not damaged:
            return
        kept = self.path.with_name(f"{self.path.name}.damaged")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(kept, flags, 0o600)
        try:
            _check_regular(descriptor)
            _write(descriptor, b"".join(line + b"\n" for line in damaged))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        log.warning(
            "%d lines of the journal %s cannot be read, and are in %s now", len(damaged), self.path, kept
        )

    @contextlib.contextmanager
    def _locked(self, within: float) -> Iterator[int]:
        """A descriptor of the file, alone with it. Raises OSError where another process keeps it for so long."""
        until = time.monotonic() + within
        while True:
            descriptor = self._open()
            try:
                _check_regular(descriptor)
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
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
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


def _identity(descriptor: int) -> tuple[int, int]:
    status = os.fstat(descriptor)
    return status.st_dev, status.st_ino


def _check_regular(descriptor: int) -> None:
    """Raises OSError. What is written into a device or a FIFO is not there for the next mount."""
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise OSError(errno.EINVAL, "it is not a regular file")


def _sync_name(path: Path) -> None:
    """That there is a file of this name, on the disk. Raises OSError."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # There is no such thing on this file system.
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF):
            raise
    finally:
        os.close(descriptor)


def _read(descriptor: int, offset: int) -> bytes:
    """From this byte to the end."""
    pieces = []
    while piece := os.pread(descriptor, 1 << 20, offset):
        pieces.append(piece)
        offset += len(piece)
    return b"".join(pieces)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
