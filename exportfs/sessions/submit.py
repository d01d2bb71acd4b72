"""Starting exports, each exactly once.

StartSession has no key that would make repeating it harmless. So it is called once for each request, and when its
answer is lost, the list of sessions is looked at for a new one with these very options. What cannot be settled that
way is never called again blindly: it stays in the journal and is watched for.

The record is on disk before the server is asked. Whoever changes `submit`: nothing may await between the look at the
unresolved records and writing the new one except under the lock of the fingerprint.
"""

import contextlib
import logging
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import replace

import trio

from exportfs.errors import (
    AccessDenied,
    Busy,
    Corrupt,
    ExportfsError,
    Interrupted,
    InvalidArgument,
    NotFound,
    NotSent,
    Unsupported,
)
from exportfs.model import OptionsSummary, Session, SessionState, State
from exportfs.requests import Request, fingerprint
from exportfs.sessions.catalogue import Catalogue, Entry
from exportfs.sessions.journal import Journal, Record
from exportfs.sessions.service import SessionService

log = logging.getLogger(__name__)

START_SHARE = 0.6
"""Part of the timeout that StartSession may take; the rest is for looking whether it worked."""
LOOK_SHARE = 0.35
LOOK_PAUSE = 0.5
"""Seconds between two looks."""
SETTLED_AFTER = 60.0
"""Seconds after a lost answer; a session that has not shown up by then, with the server answering, never will."""

_REFUSED = (InvalidArgument, AccessDenied, Busy, NotFound, Unsupported, NotSent)
"""Answers after which certainly nothing was started."""

Adopted = Callable[[Record, Entry], None]


class Submitter:
    """Starts sessions. Belongs to one trio run."""

    def __init__(
        self, service: SessionService, catalogue: Catalogue, journal: Journal, *, timeout: float
    ) -> None:
        self._service = service
        self._catalogue = catalogue
        self._journal = journal
        self._timeout = timeout
        self._locks: defaultdict[str, trio.Lock] = defaultdict(trio.Lock)
        self._unknown_since: dict[str, float] = {}
        self.on_adopted: Adopted | None = None
        """Told of a request whose session turned up after its submission had failed."""

    async def submit(self, name: str, request: Request) -> Entry:
        """Starts the session of a request that was written as `name`, and returns its entry.

        Raises our errors; after Interrupted, TimedOut or Unreachable it may yet turn up. Calling it again with the
        same request starts no second session while that is open.
        """
        any_agent = not request.summary.agent
        mark = fingerprint(request.options, any_agent=any_agent)
        async with self._locks[mark]:
            entry = await self._turned_up(name, mark)
            if entry is not None:
                return entry
            await self._catalogue.fresh()
            record = Record(uuid.uuid4().hex, name, mark, any_agent, _outline(request.summary), ())
            record = replace(record, before=tuple(entry.id for entry in self._alike(record)))
            self._journal.put(record)
            try:
                session_id = await self._service.start_session(
                    request.options, within=self._timeout * START_SHARE
                )
            except _REFUSED:
                self._journal.drop(record.key)
                raise
            except ExportfsError as error:
                self._unknown_since[record.key] = trio.current_time()
                log.warning("the answer to a request was lost (%s); looking for its session", error)
                return await self._look(record, error)
            self._journal.started(record.key, session_id)
            session = Session(session_id, request.options, request.summary, SessionState(State.RUNNING))
            return self._catalogue.get(session_id) or self._catalogue.add(session)

    async def watch(self) -> None:
        """Adopts what turns up late, or was asked for by a mount that was killed; for as long as it is let run."""
        seen = -1
        while True:
            if self._journal.unresolved() and self._catalogue.refreshed_at is not None:
                now = trio.current_time()
                for record in self._journal.unresolved():
                    self._unknown_since.setdefault(record.key, now)
                if seen != self._catalogue.listings:
                    seen = self._catalogue.listings
                    self._settle()
            await trio.sleep(1.0)

    async def _turned_up(self, name: str, mark: str) -> Entry | None:
        """The session of an earlier try of the same request, whose outcome was unknown.

        Raises Interrupted while it still is.
        """
        earlier = [r for r in self._journal.unresolved() if r.name == name and r.fingerprint == mark]
        if not earlier:
            return None
        await self._catalogue.update(since=trio.current_time())
        self._settle()
        for record in earlier:
            now = next((r for r in self._journal.records if r.key == record.key), None)
            if now is not None and now.session_id is not None:
                return self._catalogue.require(now.session_id)
            if now is not None:
                raise Interrupted(
                    "whether the server started this export is still unknown; it is watched for, "
                    f"and {SETTLED_AFTER:.0f} s after the lost answer it can be asked for again"
                )
        return None

    async def _look(self, record: Record, error: ExportfsError) -> Entry:
        """Looks for the session of a request whose answer was lost. Raises `error` where it does not show up."""
        with trio.move_on_after(self._timeout * LOOK_SHARE):
            while True:
                try:
                    await self._catalogue.update(since=trio.current_time())
                except ExportfsError as failure:
                    log.info("cannot look for the session: %s", failure)
                entry = self._find(record)
                if entry is not None:
                    self._journal.started(record.key, entry.id)
                    return entry
                await trio.sleep(LOOK_PAUSE)
        raise type(error)(
            f"{error}; whether the export was started is unknown. It is watched for and will be linked here if it "
            "turns up; writing the same request again does not start a second one"
        )

    def _settle(self) -> None:
        """After a listing: adopts what has turned up, drops what certainly did not."""
        now = trio.current_time()
        for record in self._journal.unresolved():
            entry = self._find(record)
            if entry is not None:
                self._journal.started(record.key, entry.id)
                if self.on_adopted is not None:
                    self.on_adopted(record, entry)
            elif now - self._unknown_since.get(record.key, now) > SETTLED_AFTER + self._timeout:
                log.warning("the request %s whose answer was lost started nothing", record.name)
                self._journal.drop(record.key)

    def _find(self, record: Record) -> Entry | None:
        """The session that a record's request started: of these options, new, and nobody else's of ours."""
        taken = self._journal.session_ids() | set(record.before)
        return next((entry for entry in self._alike(record) if entry.id not in taken), None)

    def _alike(self, record: Record) -> Iterator[Entry]:
        """Sessions with the very options of a record."""
        for entry in self._catalogue:
            if _outline(entry.session.summary) != record.outline:
                continue
            with contextlib.suppress(Corrupt):
                if fingerprint(entry.session.options, any_agent=record.any_agent) == record.fingerprint:
                    yield entry


def _outline(summary: OptionsSummary) -> str:
    return f"{summary.live} {summary.kind} {summary.more_origins} {summary.origin}"
