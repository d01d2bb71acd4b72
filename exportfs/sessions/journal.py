"""What this user started on a server, kept on disk: so that a mount that was killed between asking for an export and
hearing of it does not ask again, and sessions started here are still asked about after a restart.

One file of JSON lines per server and user, appended to and fsynced before the server is asked, private (0600), and
shared by mounts of the same server. It holds no request, only its fingerprint: requests may hold passwords.
"""

import contextlib
import errno
import fcntl
import json
import logging
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from exportfs.errors import ExportfsError

log = logging.getLogger(__name__)

KEPT = 86400.0
"""Seconds that a record outlives its session; the server keeps sessions for about an hour."""
LOAD_WITHIN = 5.0
"""Seconds to wait for the lock before the mount is there."""
WRITE_WITHIN = 0.1
"""And while it serves: everybody waits meanwhile. Other mounts keep it for milliseconds."""
LOCK_EVERY = 0.01
"""Seconds between two tries to get it."""


@dataclass(frozen=True, slots=True)
class Record:
    """One request: asked for, and what came of it."""

    key: str
    """Unique to this request."""
    name: str
    """File name in new/."""
    fingerprint: str
    """Of the options as they were sent; see `requests.fingerprint`."""
    any_agent: bool
    """Whether the request left the agent to the server, which may have filled it in."""
    outline: str
    """Camera and kind, as in the names of sessions: cheap to compare, before fingerprints are."""
    before: tuple[str, ...]
    """Ids of sessions with these very options that there were before."""
    session_id: str | None = None
    """None as long as it is unknown what came of it."""
    stopped: bool = False
    """Whether it was stopped through the mount."""
    reported: bool = True
    """Whether who asked could hear of the session. Not of one that turned up after an error was said: the same
    request again, under the same name, gets that session, come what may."""
    forgotten: bool = False
    """Whether the request was removed since: the same again is a new request, if this one was reported."""
    destroyed: bool = False
    """Whether its session was destroyed through the mount: the same again is a new request."""
    at: float = 0.0
    """Unix time when it was asked for."""
    footage: Mapping[str, object] | None = None
    """What the archive said of the footage then, as the session's record shows it."""


class Journal:
    """The records of one server and user. Small writes, on the local disk: not worth a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records: dict[str, Record] = {}
        self._by_session: dict[str, Record] | None = None
        """Made when it is needed; None after a change."""
        self._unwritten: list[dict[str, object]] = []
        """Changes that could not be written when they came, the oldest first."""
        self._trouble = ""
        """Why not, as said in the log."""
        self.write_failures = 0
        """For counting."""

    def load(self) -> None:
        """Reads the file; what it does not understand it leaves alone. Raises ExportfsError where it may not."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked(LOAD_WITHIN) as descriptor:
                self._replay_all(descriptor)
        except OSError as error:
            raise ExportfsError(
                f"cannot use the journal {self._path}: {error.strerror}; make its directory yours, or set "
                "XDG_STATE_HOME to a directory that you can write"
            ) from None

    @property
    def records(self) -> list[Record]:
        return list(self._records.values())

    @property
    def unwritten(self) -> int:
        """Changes that could not be written so far."""
        return len(self._unwritten)

    def session_ids(self) -> set[str]:
        """Sessions that were started here."""
        return set(self._sessions())

    def unresolved(self) -> list[Record]:
        """Requests of which it is unknown whether the server started them."""
        return [record for record in self._records.values() if record.session_id is None]

    def of_session(self, session_id: str) -> Record | None:
        """The request that started a session."""
        return self._sessions().get(session_id)

    def _sessions(self) -> dict[str, Record]:
        if self._by_session is None:
            # The first record of a session counts.
            reversed_records = reversed(self._records.values())
            self._by_session = {record.session_id: record for record in reversed_records if record.session_id}
        return self._by_session

    def put(self, record: Record) -> None:
        """Writes a record, and returns when it is on disk. Raises ExportfsError where that fails."""
        self._append([*self._unwritten, {"put": asdict(record)}])
        self._unwritten.clear()
        self._set(record)

    def started(self, key: str, session_id: str) -> None:
        """The request turned out to have started this session. Raises nothing: the session is there already."""
        self._change(replace(self._records[key], session_id=session_id))

    def adopted(self, key: str, session_id: str) -> None:
        """The session turned up after an error was said."""
        self._change(replace(self._records[key], session_id=session_id, reported=False))

    def stopped(self, session_id: str) -> None:
        """The session was stopped through the mount."""
        record = self.of_session(session_id)
        if record is not None:
            self._change(replace(record, stopped=True))

    def destroyed(self, session_id: str) -> None:
        """The session was destroyed through the mount. Its records stay: it is nobody else's answer."""
        for record in self.records:
            if record.session_id == session_id and not record.destroyed:
                self._change(replace(record, destroyed=True))

    def footage_told(self, session_id: str, footage: Mapping[str, object]) -> None:
        """The archive said what footage there is of what the session was asked for."""
        for record in self.records:
            if record.session_id == session_id:
                self._change(replace(record, footage=footage))

    def drop(self, key: str) -> None:
        """The request started nothing, or its session is gone."""
        if self._records.pop(key, None) is not None:
            self._by_session = None
            self._try_append({"drop": key})

    def asked(self, name: str, mark: str) -> list[Record]:
        """Earlier requests that one of this name and fingerprint is the same as.

        Those of the same name that were not removed since; and whatever its name, one whose session nobody was told
        of: whoever asks for the same again, under this name or another, wants that.
        """
        return [
            record
            for record in self._records.values()
            if record.fingerprint == mark
            and not record.destroyed
            and (
                record.session_id is None
                or not record.reported
                or (record.name == name and not record.forgotten)
            )
        ]

    def answered(self, record: Record, name: str) -> None:
        """Who asked for it once more, under `name`, was given its session."""
        if record.forgotten or not record.reported:
            self._change(replace(record, forgotten=False, reported=True))
        if record.name != name:
            self._change(replace(record, key=uuid.uuid4().hex, name=name, reported=True, forgotten=False))

    def forget(self, name: str) -> None:
        """The requests of this name were removed; their sessions stay known."""
        for record in self.records:
            if record.name == name and not record.forgotten:
                self._change(replace(record, forgotten=True))

    def forget_session(self, session_id: str, name: str) -> None:
        """The request of this name was removed before it had started its session."""
        for record in self.records:
            if record.session_id == session_id and record.name == name and not record.forgotten:
                self._change(replace(record, forgotten=True))

    def given(self, session_id: str, name: str) -> None:
        """A request of this name got this session, whatever name it was asked for under: the same again under it is
        the same. Of another name that was removed nothing is taken back."""
        known = [record for record in self._records.values() if record.session_id == session_id]
        own = [record for record in known if record.name == name]
        if not own and known:
            self._change(replace(known[0], key=uuid.uuid4().hex, name=name, reported=True, forgotten=False))
        elif all(record.forgotten for record in own):
            for record in own[:1]:
                self._change(replace(record, forgotten=False))

    def remember(self, key: str) -> None:
        """A request that was removed is there again."""
        record = self._records.get(key)
        if record is not None and record.forgotten:
            self._change(replace(record, forgotten=False))

    def rename(self, old: str, new: str) -> None:
        """Requests were renamed, and what they started with them."""
        for record in self.records:
            if record.name == old and not record.forgotten:
                self._change(replace(record, name=new))

    def prune(self, existing: set[str]) -> None:
        """Forgets what was asked for a day ago and is gone from the server.

        Not sooner: a server that is just starting may not list its sessions yet.
        """
        for record in self.records:
            gone = record.session_id is not None and record.session_id not in existing
            if gone and time.time() - record.at > KEPT:
                self.drop(record.key)

    def compact(self) -> None:
        """Rewrites the file with what still counts, including what other mounts appended meanwhile."""
        beside = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            with self._locked(LOAD_WITHIN) as descriptor:
                self._records.clear()
                self._by_session = None
                self._replay_all(descriptor)
                text = "".join(_line({"put": asdict(record)}) for record in self._records.values())
                # Beside it and then in its place: a crash or a full disk in between loses nothing.
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
                copy = os.open(beside, flags, 0o600)
                try:
                    _write(copy, text.encode())
                    os.fsync(copy)
                finally:
                    os.close(copy)
                os.replace(beside, self._path)
        except OSError as error:
            log.warning("the journal %s cannot be rewritten: %s", self._path, error.strerror)
            with contextlib.suppress(OSError):
                beside.unlink()

    def _change(self, record: Record) -> None:
        self._set(record)
        self._try_append({"put": asdict(record)})

    def _set(self, record: Record) -> None:
        self._records[record.key] = record
        self._by_session = None

    def _try_append(self, entry: dict[str, object]) -> None:
        self._unwritten.append(entry)
        self.catch_up()

    def catch_up(self) -> None:
        """Writes what could not be written so far, if it can be now."""
        if not self._unwritten:
            return
        try:
            self._append(self._unwritten)
        except ExportfsError as error:
            if str(error) != self._trouble:
                self._trouble = str(error)
                log.warning("%s", error)
        else:
            self._unwritten.clear()
            self._trouble = ""

    def _append(self, entries: Sequence[dict[str, object]]) -> None:
        try:
            with self._locked(WRITE_WITHIN) as descriptor:
                end = os.lseek(descriptor, 0, os.SEEK_END)
                # After half a line of a mount that was killed, or whose disk was full, a line of its own.
                whole = end == 0 or os.pread(descriptor, 1, end - 1) == b"\n"
                try:
                    lines = "".join(_line(entry) for entry in entries)
                    _write(descriptor, (b"" if whole else b"\n") + lines.encode())
                    os.fsync(descriptor)
                except OSError:
                    with contextlib.suppress(OSError):
                        os.ftruncate(descriptor, end)
                    raise
        except OSError as error:
            self.write_failures += 1
            raise ExportfsError(f"cannot write the journal {self._path}: {error.strerror}") from None

    def _replay_all(self, descriptor: int) -> None:
        data = b""
        while piece := os.pread(descriptor, 1 << 20, len(data)):
            data += piece
        for line in data.decode("utf-8", "replace").splitlines():
            if line:
                self._replay(line)

    def _replay(self, line: str) -> None:
        try:
            entry = json.loads(line)
            if "put" in entry:
                fields = entry["put"]
                record = Record(**{**fields, "before": tuple(fields["before"])})
                self._set(record)
            elif "drop" in entry:
                self._records.pop(entry["drop"], None)
                self._by_session = None
        except (ValueError, TypeError, KeyError):
            # A line cut short by a crash: its request was not sent, since sending waits for the line.
            log.warning("a line of the journal %s cannot be read and is passed over", self._path)

    @contextlib.contextmanager
    def _locked(self, within: float) -> Iterator[int]:
        """A descriptor of the file, alone with it. Raises OSError where another process keeps it for so long."""
        until = time.monotonic() + within
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
            try:
                _lock(descriptor, until)
                # Another mount may have put a new file in its place meanwhile.
                if _is_at(descriptor, self._path):
                    yield descriptor
                    return
            finally:
                os.close(descriptor)


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


def _line(entry: dict[str, object]) -> str:
    return json.dumps(entry) + "\n"
