"""Records: the requests that were sent, and what came of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum, auto

from exportfs.record import NOTHING_SENT, PERHAPS_SENT_BEFORE, SENT_BEFORE

KEPT = 86400.0
"""Seconds that a record outlives its session at least. The server keeps most for about an hour, but those that are kept
alive, or whose results it does not hold, for as long as they are."""


class RecordState(Enum):
    """Of a record; see the table above."""

    ASKING = auto()
    UNKNOWN = auto()
    STARTED = auto()
    UNREPORTED = auto()
    FORGOTTEN = auto()
    DESTROYED = auto()


@dataclass(frozen=True, slots=True)
class Record:
    """One request that was sent, and what came of it."""

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
    """Whether who asked has heard of the session. Not yet while its answer is being written down, and not of one that
    came after an error was said."""
    forgotten: bool = False
    """Whether the request was removed since."""
    destroyed: bool = False
    """Whether its session was destroyed through the mount."""
    at: float = 0.0
    """Unix time when it was asked for."""
    gone: float = 0.0
    """Unix time when the server was first found not to list its session; 0 while it does."""
    footage: Mapping[str, object] | None = None
    """What the archive said of the footage then, as the session's record shows it."""
    within: float = 0.0
    """Seconds from then in which the server may be asked, and answer."""

    def waits(self, wall: float) -> float:
        """Seconds that who asked may still wait for the answer at this Unix time; should the clock have been wrong, no
        more than all of them."""
        return min(max(0.0, self.at + self.within - wall), self.within)


@dataclass(frozen=True, slots=True)
class Put:
    """The record of this key is now this."""

    record: Record
    soon: bool = field(default=True, compare=False)
    """Whether it is to be on disk now. Otherwise with what is written next, or a second later."""


@dataclass(frozen=True, slots=True)
class Drop:
    """There is no record of this key any more."""

    key: str


Change = Put | Drop


class Records:
    """Of one server and user; see the table in the package. `new_key` makes keys for more of them."""

    def __init__(self, records: Iterable[Record], new_key: Callable[[], str]) -> None:
        self.on_change: Callable[[Change], None] = lambda change: None
        """Told of each change, which has to be on disk."""
        self._new_key = new_key
        self._records = {record.key: record for record in records}
        self._by_session: dict[str, Record] | None = None
        """Made when it is needed; None after a change."""
        self._asking: set[str] = set()
        """Keys of records whose answer is waited for, or is being written down."""
        self._unknown_since: dict[str, float] = {}

    @property
    def all(self) -> list[Record]:
        return list(self._records.values())

    def state(self, record: Record) -> RecordState:
        if record.session_id is None:
            return RecordState.ASKING if record.key in self._asking else RecordState.UNKNOWN
        if record.destroyed:
            return RecordState.DESTROYED
        if not record.reported:
            return RecordState.UNREPORTED
        return RecordState.FORGOTTEN if record.forgotten else RecordState.STARTED

    def unresolved(self) -> list[Record]:
        """Requests of which it is not known whether the server started them."""
        return [record for record in self._records.values() if record.session_id is None]

    def unheard_of(self) -> list[Record]:
        """Requests whose asker was told of an error, although the server may have started them, or has."""
        unheard = (RecordState.UNKNOWN, RecordState.UNREPORTED)
        return [record for record in self._records.values() if self.state(record) in unheard]

    def nothing_sent(self, name: str, fingerprint: str) -> str:
        """What to say of a request for which the server is not asked now: that nothing was sent, if nothing was before
        either. Who reads that may ask for the export elsewhere."""
        return SENT_BEFORE if self.same(name, fingerprint) else NOTHING_SENT

    def nothing_sent_of_any(self) -> str:
        """The same of a request that cannot be compared with earlier ones, as its names were not looked up."""
        return PERHAPS_SENT_BEFORE if self.unheard_of() else NOTHING_SENT

    def unknown(self) -> set[str]:
        """The fingerprints of those."""
        return {record.fingerprint for record in self.unresolved()}

    def session_ids(self) -> set[str]:
        """Sessions that were started here."""
        return set(self._sessions())

    def of_session(self, session_id: str) -> Record | None:
        """The request that started a session."""
        return self._sessions().get(session_id)

    def same(self, name: str, fingerprint: str) -> list[Record]:
        """Earlier requests that one of this name and fingerprint is the same as."""
        return [record for record in self._records.values() if self._is_same(record, name, fingerprint)]

    def _is_same(self, record: Record, name: str, fingerprint: str) -> bool:
        if record.fingerprint != fingerprint:
            return False
        match self.state(record):
            case RecordState.UNREPORTED if record.key in self._asking:
                # Who asked is about to hear of it; where they do not, a submission finds it when this one is over.
                return record.name == name and not record.forgotten
            case RecordState.ASKING | RecordState.UNKNOWN | RecordState.UNREPORTED:
                return True
            case RecordState.STARTED:
                return record.name == name
            case RecordState.FORGOTTEN | RecordState.DESTROYED:
                return False

    def _sessions(self) -> dict[str, Record]:
        if self._by_session is None:
            # The first record of a session counts.
            reversed_records = reversed(self._records.values())
            self._by_session = {record.session_id: record for record in reversed_records if record.session_id}
        return self._by_session

    # Events

    def asking(self, record: Record) -> None:
        """The server is about to be asked, and the record is on disk."""
        self._asking.add(record.key)
        self._set(record)

    def answered(self, key: str, session_id: str) -> list[Record]:
        """The request started this session, as the server says or a listing shows in time. Nobody has heard of it: a
        mount that is killed here has told who asked of a failure.

        Returns what this puts an end to: a server that starts anew may give an id again, and what had it is gone.
        """
        record = self._records[key]
        ended = [
            other
            for other in self.all
            if other.session_id == session_id
            and other.key != key
            and (other.fingerprint != record.fingerprint or other.destroyed or other.stopped)
        ]
        for other in ended:
            self.not_started(other.key)
        self._change(replace(record, session_id=session_id, reported=False))
        return ended

    def not_started(self, key: str) -> None:
        """The request started nothing, or its session is gone."""
        if self._records.pop(key, None) is not None:
            self._by_session = None
            self._unknown_since.pop(key, None)
            self.on_change(Drop(key))

    def lost(self, key: str, now: float) -> None:
        """The answer was lost at this time."""
        self._unknown_since[key] = now

    def not_waited_for(self, key: str) -> None:
        """Nobody waits for the answer any more, which came or was lost."""
        self._asking.discard(key)

    def watched_from(self, now: float, wall: float) -> None:
        """From when on, at the latest, records of unknown outcome are watched for: also those of an earlier mount, or
        of another one that still waits for the answer. `wall`: the same as Unix time."""
        for record in self.unresolved():
            self._unknown_since.setdefault(record.key, now + record.waits(wall))

    def adopted(self, record: Record) -> None:
        """Another mount has asked for it since this one began, and nobody has heard what became of it. It is on disk,
        and counts here as if it had been there when this one began."""
        if record.key not in self._records:
            self._set(record)

    def turned_up(self, record: Record, session_id: str) -> None:
        """A listing shows the session of a record after an error was said."""
        self._change(replace(record, session_id=session_id, reported=False))

    def heard(self, record: Record) -> None:
        """Another mount knows the session of a record that is unresolved here. It is on disk."""
        self._set(record)

    def overdue(self, record: Record, since: float) -> bool:
        """Whether its answer was lost before this time."""
        return self._unknown_since.get(record.key, since) < since

    def told(self, session_id: str, *, of_it: bool) -> None:
        """Who asked for a session is about to hear of it, or was told of an error instead."""
        for record in self.all:
            if record.session_id == session_id and record.reported is not of_it:
                self._change(replace(record, reported=of_it), soon=not of_it)

    def asked_again(self, record: Record, name: str) -> None:
        """The same request came, under this name, while it is unknown what became of it."""
        if record.name == name and record.forgotten:
            self._change(replace(record, forgotten=False))

    def given_again(self, record: Record, name: str) -> None:
        """Who asked for it once more, under this name, gets its session."""
        if record.forgotten or not record.reported:
            self._change(replace(record, forgotten=False, reported=True), soon=False)
        if record.name != name:
            self._change(replace(record, key=self._new_key(), name=name, reported=True, forgotten=False))

    def stopped(self, session_id: str) -> None:
        """The session was stopped through the mount."""
        record = self.of_session(session_id)
        if record is not None:
            self._change(replace(record, stopped=True))

    def destroyed(self, session_id: str) -> None:
        """The session was destroyed through the mount. Its records stay: it is nobody else's answer."""
        for record in self.all:
            if record.session_id == session_id and not record.destroyed:
                self._change(replace(record, destroyed=True))

    def footage_told(self, session_id: str, footage: Mapping[str, object]) -> None:
        """The archive said what footage there is of what the session was asked for."""
        for record in self.all:
            if record.session_id == session_id:
                self._change(replace(record, footage=footage), soon=False)

    def prune(self, existing: set[str], now: float) -> None:
        """A mount begins, or has been there for another hour, and the server lists these sessions: drops what has been
        gone for a day. Unix time.

        Not sooner, however long ago it was asked for: a server that is just starting may not list its sessions yet.
        """
        for record in self.all:
            if record.session_id is None:
                continue
            if record.session_id in existing:
                if record.gone:
                    self._change(replace(record, gone=0.0))
            elif not 0.0 < record.gone <= now:  # or the clock was wrong
                self._change(replace(record, gone=now))
            elif now - record.gone > KEPT:
                self.not_started(record.key)

    def given(self, session_id: str, name: str) -> None:
        """A request of this name got this session, whatever name it was asked for under: the same again under it is
        the same. Of another name that was removed nothing is taken back."""
        known = [record for record in self._records.values() if record.session_id == session_id]
        own = [record for record in known if record.name == name]
        if not own and known:
            self._change(replace(known[0], key=self._new_key(), name=name, reported=True, forgotten=False))
        elif all(record.forgotten for record in own):
            for record in own[:1]:
                self._change(replace(record, forgotten=False))

    def renamed(self, old: str, new: str) -> None:
        """A request was renamed, and what it started with it."""
        for record in self.all:
            if record.name == old and not record.forgotten:
                self._change(replace(record, name=new))

    def forget(self, name: str, session_id: str | None = None) -> None:
        """The requests of this name were removed, all or those of a session; their sessions stay known."""
        for record in self.all:
            if record.name == name and not record.forgotten and session_id in (None, record.session_id):
                self._change(replace(record, forgotten=True))

    def _change(self, record: Record, *, soon: bool = True) -> None:
        """soon: not of what somebody hears just now. A mount that is killed before they do has told them of a failure,
        and must not have it on disk that they know."""
        self._set(record)
        self.on_change(Put(record, soon))

    def _set(self, record: Record) -> None:
        self._records[record.key] = record
        if record.session_id is not None:
            self._unknown_since.pop(record.key, None)
        self._by_session = None
