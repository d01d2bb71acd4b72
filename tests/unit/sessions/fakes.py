"""A small export server in memory, on trio's clock, and sessions to put there."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import trio

from exportfs.errors import ExportfsError, NotFound
from exportfs.model import Listing, OptionsSummary, ResultFile, Session, SessionState, State
from exportfs.sessions.catalogue import Catalogue

SUMMARY = OptionsSummary(stream=True, kind="mp4", origin="hosts/S/D.1/V:0:0", start="20260511T080411")
SESSION_BYTES = 750
LIVE = replace(SUMMARY, live=True, start="")


def session(
    session_id: str,
    state: State = State.COMPLETED,
    *files: ResultFile,
    summary: OptionsSummary = SUMMARY,
) -> Session:
    return Session(session_id, b"", summary, SessionState(state, state is State.COMPLETED, "", files))


def watched(catalogue: Catalogue) -> Catalogue:
    """As if somebody looked into it all the time."""
    catalogue._looked = math.inf
    return catalogue


@dataclass
class FakeServer:
    """Sessions, and what was asked. `on_list` runs between the listing's making and its arrival."""

    sessions: dict[str, Session] = field(default_factory=dict)
    asked: list[tuple[float, str]] = field(default_factory=list)
    listings: int = 0
    fail: ExportfsError | None = None
    cost: float = 0.0
    delay: float = 0.0
    running: int = 0
    """Questions under way, and the most that were at a time."""
    most_running: int = 0
    failing: dict[str, tuple[float, ExportfsError]] = field(default_factory=dict)
    """Sessions about which questions fail: after how many seconds, and how."""
    on_list: Callable[[], None] = lambda: None

    def put(self, *sessions: Session) -> None:
        self.sessions.update((one.id, one) for one in sessions)

    async def list_sessions(self) -> Listing:
        self.listings += 1
        made = tuple(self.sessions.values())
        self.on_list()
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
        seconds, error = self.failing.get(session_id, (self.delay, self.fail))
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
        raise NotImplementedError

    def _find(self, session_id: str) -> Session:
        if session_id not in self.sessions:
            raise NotFound("There is no session with provided ID")
        return self.sessions[session_id]
