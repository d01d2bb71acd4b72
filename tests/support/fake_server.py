"""A small export server in memory, on trio's clock, and sessions to put there."""

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import trio

from exportfs.errors import (
    Exhausted,
    ExportfsError,
    Interrupted,
    InvalidArgument,
    NotFound,
    NotSent,
    TimedOut,
    Unreachable,
)
from exportfs.model import Listing, OptionsSummary, ResultFile, Session, SessionState, State
from exportfs.requests import summarize
from exportfs.sessions.catalogue import Catalogue, Entry

SUMMARY = OptionsSummary(stream=True, kind="mp4", origin="hosts/S/D.1/V:0:0", start="20260511T080411")
SESSION_BYTES = 750
LIVE = replace(SUMMARY, live=True, start="")
STARTS = ("ok", "slow", "refused", "limit", "unsent", "lost before", "lost after", "late", "hang", "broken")
"""What may become of a StartSession."""
LISTS = ("ok", "slow", "down", "short")
"""And of a listing; `short`: it misses what is there."""
TIMEOUT = 30.0
"""Seconds after which a listing from a server that is down fails."""


def session(
    session_id: str,
    state: State = State.COMPLETED,
    *files: ResultFile,
    summary: OptionsSummary = SUMMARY,
) -> Session:
    return Session(session_id, b"", summary, SessionState(state, state is State.COMPLETED, "", files))


def entry_of(catalogue: Catalogue, session_id: str) -> Entry:
    """A session that must be known."""
    found = catalogue.get(session_id)
    assert found is not None
    return found


def watched(catalogue: Catalogue) -> Catalogue:
    """As if somebody looked into it all the time."""
    catalogue._looked = math.inf
    return catalogue


@dataclass
class FakeServer:
    """Sessions, what was asked, and what becomes of the next calls."""

    sessions: dict[str, Session] = field(default_factory=dict)
    asked: list[tuple[float, str]] = field(default_factory=list)
    """When, and about which session."""
    listings: int = 0
    started: list[bytes] = field(default_factory=list)
    """Options of the sessions that were started here, in order."""
    fail: ExportfsError | None = None
    cost: float = 0.0
    delay: float = 0.0
    """Seconds of each answer."""
    pages: int = 1
    """Of a listing; each takes that long, and brings more."""
    running: int = 0
    """Questions under way, and the most that were at a time."""
    most_running: int = 0
    failing: dict[str, tuple[float, Exception]] = field(default_factory=dict)
    """Sessions about which questions fail: after how many seconds, and how."""
    on_list: Callable[[], None] = lambda: None
    """Runs between a listing's making and its arrival."""
    on_start: Callable[[bytes], None] = lambda _: None
    """Told of each StartSession, by its options."""
    starts: Iterator[str] = field(default_factory=lambda: itertools.repeat("ok"))
    lists: Iterator[str] = field(default_factory=lambda: itertools.repeat("ok"))
    nursery: trio.Nursery | None = None
    """For what goes on after a call: `late`."""
    trouble: ExportfsError | None = None
    """Of calls that are still being tried again; here none ever is."""

    def put(self, *sessions: Session) -> None:
        self.sessions.update((one.id, one) for one in sessions)

    async def list_sessions(self, moved: Callable[[], None] = lambda: None) -> Listing:
        self.listings += 1
        made = tuple(self.sessions.values())
        self.on_list()
        match next(self.lists):
            case "slow":
                await trio.sleep(5)
            case "down":
                await trio.sleep(TIMEOUT)
                raise Unreachable("the server cannot be reached")
            case "short":
                made = ()
        await trio.sleep(self.delay)
        for _ in range(self.pages - 1):
            moved()
            await trio.sleep(self.delay)
        if self.fail is not None:
            raise self.fail
        return Listing(made, self.cost, sum(SESSION_BYTES for _ in made))

    async def get_session_state(self, session_id: str) -> SessionState:
        self.asked.append((trio.current_time(), session_id))
        self.running += 1
        self.most_running = max(self.most_running, self.running)
        try:
            return await self._answer(session_id)
        finally:
            self.running -= 1

    async def _answer(self, session_id: str) -> SessionState:
        answer: tuple[float, Exception | None] = self.failing.get(session_id) or (self.delay, self.fail)
        seconds, error = answer
        await trio.sleep(seconds)
        if error is not None:
            raise error
        return self._find(session_id).state

    async def stop_session(self, session_id: str) -> SessionState:
        found = self._find(session_id)
        self.put(replace(found, state=SessionState(State.COMPLETED, True)))
        return self.sessions[session_id].state

    async def destroy_session(self, session_id: str) -> None:
        await self._answer(session_id)
        del self.sessions[session_id]

    async def start_session(self, options: bytes, *, within: float) -> str:
        how = next(self.starts)
        self.on_start(options)
        await trio.sleep(5 * self.delay)
        match how:
            case "slow":
                await trio.sleep(within / 2)
            case "refused":
                raise InvalidArgument("the server answered INVALID_ARGUMENT")
            case "limit":
                raise Exhausted("the server answered RESOURCE_EXHAUSTED")
            case "unsent":
                raise NotSent("the server cannot be reached")
            case "lost before":
                raise Unreachable("the server cannot be reached: Socket closed")
            case "lost after":
                self._start(options)
                raise Interrupted("the server answered INTERNAL")
            case "late":
                assert self.nursery is not None
                self.nursery.start_soon(self._start_late, options, within + 20)
                await trio.sleep(within)
                raise TimedOut("the server did not answer in time")
            case "hang":
                await trio.sleep(within)
                raise TimedOut("the server did not answer in time")
            case "broken":
                self._start(options)
                raise RuntimeError("nobody foresaw this")
        return self._start(options)

    def _start(self, options: bytes) -> str:
        session_id = f"hosts/Server/{len(self.started)}"
        self.started.append(options)
        self.put(Session(session_id, options, summarize(options), SessionState(State.RUNNING)))
        return session_id

    async def _start_late(self, options: bytes, seconds: float) -> None:
        await trio.sleep(seconds)
        self._start(options)

    def _find(self, session_id: str) -> Session:
        if session_id not in self.sessions:
            raise NotFound("There is no session with provided ID")
        return self.sessions[session_id]
