"""Starting exports, each exactly once.

StartSession has no key that would make repeating it harmless. So it is called once for each request, and when its
answer is lost, the list of sessions is looked at for a new one with these very options. What cannot be settled that
way is never called again blindly: it stays in the journal and is watched for.

The record is on disk before the server is asked. Everything from the look at earlier records to the answer happens
under the lock of the fingerprint. What follows from each event is the ledger's to say.
"""

import contextlib
import logging
import time
import uuid
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Protocol

import trio

from exportfs.errors import (
    AccessDenied,
    Busy,
    Corrupt,
    Exhausted,
    ExportfsError,
    Interrupted,
    InvalidArgument,
    NotFound,
    NotSent,
    TimedOut,
    TooLarge,
    Unreachable,
    Unsupported,
)
from exportfs.metrics import Outcome, RequestCounters
from exportfs.model import Session, SessionState, State
from exportfs.record import NOTHING_SENT
from exportfs.requests import Request, fingerprint
from exportfs.sessions.catalogue import Catalogue, Entry
from exportfs.sessions.journal import HANGS_AFTER, Journal
from exportfs.sessions.ledger import Ledger, Record, RecordState
from exportfs.sessions.outline import is_another, outline, outlines
from exportfs.sessions.service import SessionService

log = logging.getLogger(__name__)

OTHERS, PREPARED, SENT, STARTED, FOUND = 0.25, 0.5, 0.7, 0.75, 0.9
"""Parts of its time by which, from the beginning of a submission, another mount that asks for the same should have
heard of it, the list of sessions must have come, StartSession have been sent, and been answered, and the session of a
lost answer been found. Whoever waits for the outcome waits a little longer than that."""
FIRST_PAUSE = 0.1
LOOK_PAUSE = 0.5
"""Seconds between two looks."""
WRITE_WITHIN = 5.0
"""Seconds for a record to be on disk, before the server is asked; less where the timeout is short."""
WATCH_EVERY = 1.0
"""Seconds between two looks at the journal, and at whether a listing has what is missed."""
PRUNE_EVERY = 3600.0
"""Seconds between two looks for records of sessions that are gone."""
SETTLED_AFTER = 60.0
"""Seconds after a lost answer; a session that has not shown up by then, with the server answering, never will."""
_REFUSED = (InvalidArgument, AccessDenied, Busy, NotFound, TooLarge, Unsupported, NotSent)
"""Answers after which certainly nothing was started."""


class _Unsettled(Interrupted):
    """What became of the same request is unknown, and the error says so."""


class Asked(Protocol):
    """What is submitted."""

    doubt: ExportfsError | None
    """Set once the answer is lost: what its session's look ends with, where it finds none."""
    sent: bool
    """Set while the server is being asked to start it, and where it may have done so."""
    given_up: bool
    """Whether somebody who waited for it was told of an error: nothing is to be sent any more."""

    @property
    def name(self) -> str:
        """In new/, as it is now: it may be renamed meanwhile."""


class Submitter:
    """Starts sessions. Belongs to one trio run."""

    def __init__(
        self,
        service: SessionService,
        catalogue: Catalogue,
        ledger: Ledger,
        journal: Journal,
        *,
        keep: Callable[[str], None],
        counters: RequestCounters,
        timeout: float,
    ) -> None:
        """`keep` is told the id of each session that was started here, to keep it alive."""
        self._service = service
        self._catalogue = catalogue
        self._ledger = ledger
        self._journal = journal
        self._keep = keep
        self._counters = counters
        self._timeout = timeout
        self._locks: defaultdict[str, trio.Lock] = defaultdict(trio.Lock)
        self._elsewhere: dict[str, str | None] = {}
        """Of the records in the journal, also of other mounts of this server, what session they have."""

    async def submit(self, source: Asked, request: Request, within: float) -> Entry:
        """Starts the session of a request, and returns its entry, in so many seconds.

        Raises our errors; after Interrupted, TimedOut or Unreachable it may yet turn up. Calling it again with the
        same request starts no second session while that is open.
        """
        begun = trio.current_time()
        prepared = begun + within * PREPARED
        any_agent = not request.summary.agent
        wanted = fingerprint(request.options, any_agent=any_agent)
        async with self._alone(source, wanted, prepared):
            asked = outline(request.summary)
            while True:
                entry = await self._prepare(source, wanted, request, prepared)
                if entry is not None:
                    await self._started(entry, begun + within * FOUND)
                    return entry
                record = Record(
                    new_key(), source.name, wanted, any_agent, asked, (), at=time.time(), within=within
                )
                record = replace(record, before=tuple(entry.id for entry in self._similar(record)))
                unheard = await self._write_down(record, prepared)
                if not unheard:
                    break
                await self._hear(unheard, begun + within * OTHERS)
            self._ledger.records.asking(record)
            try:
                entry = await self._start(source, record, request, begun, within)
                await self._started(entry, begun + within * FOUND)
            finally:
                # From here to who hears of it nothing awaits: until then the session is this submission's alone.
                self._ledger.records.not_waited_for(record.key)
            return entry

    async def _started(self, entry: Entry, until: float) -> None:
        """Keeps it alive, and waits until it is on disk, for a moment."""
        self._keep(entry.id)
        await self._journal.written(min(HANGS_AFTER, max(0.0, until - trio.current_time())))

    async def _start(
        self, source: Asked, record: Record, request: Request, begun: float, within: float
    ) -> Entry:
        """Asks the server, once; again only after an answer that says that nothing happened, and a look."""
        until, pause = begun + within * SENT, FIRST_PAUSE
        while True:
            now = trio.current_time()
            # However long anything before took, or this process was stopped: not behind the back of who has given up.
            if source.given_up or now >= until:
                self._ledger.records.not_started(record.key)
                raise TimedOut(f"it took too long until the export could be started; {NOTHING_SENT}")
            source.sent = True
            try:
                session_id = await self._service.start_session(
                    request.options, within=begun + within * STARTED - now
                )
            except (Exhausted, NotSent) as error:
                source.sent = False
                # A limit passes, and so does a server's restart.
                if trio.current_time() + pause >= until:
                    self._ledger.records.not_started(record.key)
                    raise
                await trio.sleep(pause)
                pause *= 2
                entry = await self._look_once(record, until)
                if entry is not None:
                    source.sent = True  # it had been after all
                    return entry
                if trio.current_time() >= until:
                    self._ledger.records.not_started(record.key)
                    raise error from None
            except _REFUSED:
                self._ledger.records.not_started(record.key)
                raise
            except ExportfsError as error:
                self._ledger.records.lost(record.key, trio.current_time())
                log.warning("the answer to a request was lost (%s); looking for its session", error)
                source.doubt = type(error)(
                    f"{error}; whether the export was started is unknown. It is watched for and will be linked here "
                    "if it turns up; writing the same request again does not start a second one"
                )
                return await self._look(record, source.doubt, begun + within * FOUND)
            else:
                self._ledger.answered(record.key, session_id)
                session = Session(session_id, request.options, request.summary, SessionState(State.RUNNING))
                return self._catalogue.get(session_id) or self._catalogue.add(session)

    async def _hear(self, unheard: list[Record], until: float) -> None:
        """Other mounts have asked for the same. Waits until they have heard what became of it, if they may still hear
        of it; what none has heard of then is ours to look for, as if it had been there when this mount began."""
        wanted = unheard[0].fingerprint
        while any(time.time() < record.at + max(record.within, self._timeout) for record in unheard):
            if trio.current_time() >= until:
                break
            await trio.sleep(LOOK_PAUSE)
            now = await self._journal.unheard(wanted)
            if now is not None:
                unheard = now
        for record in unheard:
            self._ledger.records.adopted(record)
        # Where the list and the journal disagree for long, not one look after the other.
        await trio.sleep(FIRST_PAUSE)

    async def _write_down(self, record: Record, until: float) -> list[Record]:
        within = min(WRITE_WITHIN, max(0.1, until - trio.current_time()))
        try:
            return await self._journal.put(record, within)
        except ExportfsError as error:
            raise type(error)(f"{error}; mend that and write the request again; {NOTHING_SENT}") from None

    @contextlib.asynccontextmanager
    async def _alone(self, source: Asked, wanted: str, until: float) -> AsyncIterator[None]:
        """One submission of a fingerprint at a time."""
        lock = self._locks[wanted]
        acquired = False
        with trio.move_on_at(until):
            await lock.acquire()
            acquired = True
        if not acquired:
            busy = TimedOut("the same request is being submitted under another name")
            raise self._not_sent(source, wanted, busy)
        try:
            yield
        finally:
            lock.release()
            if not lock.locked():
                self._locks.pop(wanted, None)

    async def watch(self) -> None:
        """Adopts what turns up late, or was asked for by a mount that was killed, and drops what has been gone for a
        day; until cancelled."""
        seen, pruned = -1, trio.current_time()
        while True:
            self._journal.catch_up()
            # By a list that was asked for since: while the server is away, none shows what it has.
            if self._catalogue.asked >= pruned + PRUNE_EVERY:
                pruned = trio.current_time()
                self._ledger.records.prune({entry.id for entry in self._catalogue}, time.time())
            if self._ledger.records.unresolved() and self._catalogue.refreshed_at is not None:
                self._ledger.records.watched_from(trio.current_time(), time.time())
                if seen != self._catalogue.listings:
                    seen = self._catalogue.listings
                    await self._settle()
            await trio.sleep(WATCH_EVERY)

    async def _prepare(self, source: Asked, wanted: str, request: Request, until: float) -> Entry | None:
        """Gets a list of what there is, asked for now, and from it or the journal the session, if it was started.

        Raises Interrupted while it is unknown whether it was; any error means that nothing was sent now.
        """
        listed = False
        with trio.move_on_at(until):
            try:
                # Not `fresh`: sessions that others started since must not be taken for ours, should our answer be lost.
                await self._catalogue.update(since=trio.current_time())
                listed = True
                await self._settle()
                return await self._earlier(source, wanted, request)
            except _Unsettled:
                raise
            except ExportfsError as error:
                raise self._not_sent(source, wanted, error) from None
        late = "the server did not answer in time" if listed else "the list of sessions did not come in time"
        raise self._not_sent(source, wanted, self._service.trouble or TimedOut(late))

    def _not_sent(self, source: Asked, wanted: str, error: ExportfsError) -> ExportfsError:
        """What is to be said of a request that is not sent, with what to do where that helps."""
        text = f"{error}; {self._ledger.records.nothing_sent(source.name, wanted)}"
        if isinstance(error, TimedOut):
            text += "; write it again, or mount with a longer --timeout if the server is just slow"
        elif isinstance(error, Interrupted | Unreachable):
            text += "; write it again once the server answers"
        return type(error)(text)

    async def _earlier(self, source: Asked, wanted: str, request: Request) -> Entry | None:
        """The session of the same request, asked for earlier."""
        for record in self._ledger.records.same(source.name, wanted):
            if record.session_id is not None and self._is_another_s(record.session_id):
                self._ledger.records.not_started(record.key)
                continue
            if record.session_id is None:
                self._ledger.records.asked_again(record, source.name)
                raise self._doubt(record) or _Unsettled(
                    "whether the server started this export is still unknown; it is watched for, and if it does "
                    f"not turn up within {SETTLED_AFTER + self._timeout:.0f} s it can be asked for again"
                )
            entry = self._catalogue.get(record.session_id) or await self._hidden(record, request)
            if entry is not None:
                self._ledger.records.given_again(record, source.name)
                return entry
        return None

    async def _hidden(self, record: Record, request: Request) -> Entry | None:
        """A session that the list has not: it is only gone when the server, asked for it, says so."""
        assert record.session_id is not None
        try:
            state = await self._service.get_session_state(record.session_id)
        except NotFound:
            state = SessionState(State.REMOVED)
        if state.state is State.REMOVED:
            self._ledger.records.not_started(record.key)
            return None
        return self._catalogue.add(Session(record.session_id, request.options, request.summary, state))

    async def _look(self, record: Record, error: ExportfsError, until: float) -> Entry:
        """Looks for the session of a request whose answer was lost. Raises `error` where it does not show up."""
        while trio.current_time() < until:
            entry = await self._look_once(record, until)
            if entry is not None:
                return entry
            # Not beyond: whoever waits is to hear what it was.
            await trio.sleep_until(min(trio.current_time() + LOOK_PAUSE, until))
        raise error

    async def _look_once(self, record: Record, until: float) -> Entry | None:
        with trio.move_on_at(until):
            try:
                await self._catalogue.update(since=trio.current_time())
            except ExportfsError as failure:
                log.info("cannot look for the session: %s", failure)
        await self._hear_of_others()
        entry = self._find(record)
        if entry is not None:
            self._ledger.answered(record.key, entry.id)
        return entry

    async def _settle(self) -> None:
        """After a listing: adopts what has turned up, drops what certainly did not."""
        if not self._ledger.records.unresolved() or not await self._hear_of_others():
            return
        # By the time of the list, not of now: one that took long, or came before this process was stopped, does not
        # show what has begun since.
        overdue_since = self._catalogue.asked - SETTLED_AFTER - self._timeout
        found, given_up = self._ledger.settle(self._turned_up, overdue_since, self._doubt)
        for session_id in found:
            self._counters.ended(Outcome.ADOPTED)
            self._keep(session_id)
        for name in given_up:
            self._counters.ended(Outcome.ABANDONED)
            log.warning("the request %s whose answer was lost started nothing", name)

    async def _hear_of_others(self) -> bool:
        """Takes over what other mounts of this server have heard: a record that was found in the journal may be of a
        request that one of them is just asking for. False where that cannot be known at the moment."""
        settled = await self._journal.settled()
        if settled is None:
            return False
        records = self._ledger.records
        self._elsewhere = {record.key: record.session_id for record in settled}
        unknown = {
            record.key for record in records.unresolved() if records.state(record) is RecordState.UNKNOWN
        }
        for record in settled:
            if record.key in unknown and record.session_id is not None:
                self._ledger.heard(record)
                if not record.destroyed:
                    self._keep(record.session_id)
        return True

    def has(self, session_id: str) -> bool:
        """Whether there is the session that a request of ours has, from memory: it, and not another that a server which
        started anew has given the same id."""
        return self._catalogue.has(session_id) and not self._is_another_s(session_id)

    def _is_another_s(self, session_id: str) -> bool:
        entry, record = self._catalogue.get(session_id), self._ledger.records.of_session(session_id)
        return entry is not None and record is not None and is_another(record.outline, entry.session.summary)

    def _turned_up(self, record: Record) -> str | None:
        entry = self._find(record)
        return entry.id if entry is not None else None

    def _find(self, record: Record) -> Entry | None:
        """The session that a record's request started: of these very options, new, and nobody else's of ours."""
        for entry in self._new_and_similar(record):
            with contextlib.suppress(Corrupt):
                if fingerprint(entry.session.options, any_agent=record.any_agent) == record.fingerprint:
                    return entry
        return None

    def _doubt(self, record: Record) -> ExportfsError | None:
        """Why a request whose session is not found may have been started: the server may fill in what a request does
        not say, and a session that differs may be somebody else's."""
        entry = next(self._new_and_similar(record), None)
        if entry is None:
            return None
        return _Unsettled(
            f"whether the server started this export is unknown. {entry.name} has appeared since: its cameras, "
            "interval and format are the same, its other settings are not, and the server may have filled them in. "
            "While it is there this request is not sent again"
        )

    def _new_and_similar(self, record: Record) -> Iterator[Entry]:
        others = {session_id for key, session_id in self._elsewhere.items() if key != record.key}
        taken = self._ledger.records.session_ids() | others
        for entry in self._similar(record):
            # An id that a server which started anew has given again is no longer that of an earlier request.
            free = entry.id not in taken or self._is_another_s(entry.id)
            if free and entry.id not in record.before:
                yield entry

    def _similar(self, record: Record) -> Iterator[Entry]:
        """Sessions of a record's cameras, interval and format."""
        for entry in self._catalogue:
            summary = entry.session.summary
            if summary.origin not in record.outline:
                continue  # which is cheaper
            # Those of an earlier version had no interval.
            if any(f"{one} ".startswith(f"{record.outline} ") for one in outlines(summary)):
                yield entry


def new_key() -> str:
    """For a record: shared by all mounts of this user's."""
    return uuid.uuid4().hex
