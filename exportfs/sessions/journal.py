"""What this user started on a server, kept on disk: so that a mount that was killed between asking for an export and
hearing of it does not ask again, and sessions started here are still asked about after a restart.

One file of JSON lines per server and user, appended to and fsynced before the server is asked, private (0600), and
shared by mounts of the same server. It holds no request, only its fingerprint: requests may hold passwords.
"""

import fcntl
import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from io import BufferedRandom
from pathlib import Path

from exportfs.errors import ExportfsError

log = logging.getLogger(__name__)


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


class Journal:
    """The records of one server and user. Small writes, on the local disk: not worth a thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._records: dict[str, Record] = {}
        self._by_session: dict[str, Record] | None = None
        """Made when it is needed; None after a change."""

    def load(self) -> None:
        """Reads the file; what it does not understand it leaves alone. Raises ExportfsError where it may not."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._locked() as file:
                for line in file.read().decode("utf-8", "replace").splitlines():
                    self._replay(line)
        except OSError as error:
            raise ExportfsError(f"cannot use the journal {self._path}: {error.strerror}") from None

    @property
    def records(self) -> list[Record]:
        return list(self._records.values())

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
        self._append({"put": asdict(record)})
        self._set(record)

    def started(self, key: str, session_id: str) -> None:
        """The request turned out to have started this session. Raises nothing: the session is there already."""
        self._change(replace(self._records[key], session_id=session_id))

    def stopped(self, session_id: str) -> None:
        """The session was stopped through the mount."""
        record = self.of_session(session_id)
        if record is not None:
            self._change(replace(record, stopped=True))

    def drop(self, key: str) -> None:
        """The request started nothing, or its session is gone."""
        if self._records.pop(key, None) is not None:
            self._by_session = None
            self._try_append({"drop": key})

    def prune(self, existing: set[str]) -> None:
        """Forgets sessions that are gone from the server, and rewrites the file where it has grown."""
        for record in self.records:
            if record.session_id is not None and record.session_id not in existing:
                self.drop(record.key)

    def compact(self) -> None:
        """Rewrites the file with what still counts, including what other mounts appended meanwhile."""
        try:
            with self._locked() as file:
                self._records.clear()
                self._by_session = None
                for line in file.read().decode("utf-8", "replace").splitlines():
                    self._replay(line)
                text = "".join(_line({"put": asdict(record)}) for record in self._records.values())
                file.seek(0)
                file.truncate()
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            log.warning("the journal %s cannot be rewritten: %s", self._path, error.strerror)

    def _change(self, record: Record) -> None:
        self._set(record)
        self._try_append({"put": asdict(record)})

    def _set(self, record: Record) -> None:
        self._records[record.key] = record
        self._by_session = None

    def _try_append(self, entry: dict[str, object]) -> None:
        try:
            self._append(entry)
        except ExportfsError as error:
            log.warning("%s", error)

    def _append(self, entry: dict[str, object]) -> None:
        try:
            with self._locked() as file:
                file.seek(0, os.SEEK_END)
                file.write(_line(entry).encode())
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise ExportfsError(f"cannot write the journal {self._path}: {error.strerror}") from None

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

    @contextmanager
    def _locked(self) -> Iterator[BufferedRandom]:
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield file


def _line(entry: dict[str, object]) -> str:
    return json.dumps(entry) + "\n"
