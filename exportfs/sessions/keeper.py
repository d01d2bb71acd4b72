"""Asks the server about sessions so that they live on; `sessions.keepalive` says about which, and when."""

import logging
from collections.abc import Callable

import trio

from exportfs.errors import ExportfsError, NotFound
from exportfs.metrics import PollCounters
from exportfs.model import SessionState, State
from exportfs.sessions import keepalive
from exportfs.sessions.catalogue import Catalogue, Entry
from exportfs.sessions.keepalive import KeepAliveConfig, Use
from exportfs.sessions.service import SessionService

log = logging.getLogger(__name__)

AT_ONCE = 4
"""Questions under way at a time. No more than one of them is about a session whose last question failed: however many
hang, they cannot keep the others from being asked about."""
LOOK_EVERY = 1.0
"""Seconds between two looks at what is due; the schedule itself is finer than the server's limits by far."""


class Lane:
    """Questions of one kind, which leave room for those of the other."""

    def __init__(self, at_once: int) -> None:
        self.limiter = trio.CapacityLimiter(at_once)
        self.asking: set[str] = set()
        """Sessions whose question is under way or waits for its turn."""


class Keeper:
    """Uses of sessions, and the questions that keep them. Belongs to one trio run."""

    def __init__(
        self,
        service: SessionService,
        catalogue: Catalogue,
        config: KeepAliveConfig,
        started_here: Callable[[str], bool],
        *,
        timeout: float,
    ) -> None:
        self._service = service
        self._catalogue = catalogue
        self._config = config
        self._started_here = started_here
        self._uses: dict[str, Use] = {}
        self._timeout = timeout
        self._limiter = trio.CapacityLimiter(AT_ONCE)
        self._healthy = Lane(AT_ONCE)
        self._failing = Lane(1)
        self._failures = 0
        """How many sessions that are kept have failed last."""
        self.polls = PollCounters()

    def opened(self, session_id: str) -> None:
        """A result of this session was opened. `closed` must follow."""
        use = self._use(session_id)
        use.open_files += 1
        use.last_use = trio.current_time()

    def read(self, session_id: str) -> None:
        """A result of this session was read, from wherever."""
        self._use(session_id).last_use = trio.current_time()

    def closed(self, session_id: str) -> None:
        """The counterpart of `opened`."""
        use = self._use(session_id)
        use.open_files -= 1
        use.last_use = trio.current_time()

    def kept(self, session_id: str) -> bool:
        """Whether the session is kept alive by this mount now."""
        use = self._described(session_id)
        return use is not None and keepalive.kept(use, trio.current_time(), self._config)

    def expires_in(self, session_id: str) -> float | None:
        """Our estimate, in seconds from now; None where it cannot be known."""
        use, now = self._described(session_id), trio.current_time()
        moment = keepalive.expires(use, now, self._config) if use else None
        return None if moment is None else moment - now

    @property
    def failing(self) -> int:
        """Sessions that are to be kept and whose last poll failed."""
        return self._failures

    def known(self) -> list[Entry]:
        """Sessions that were in use, or asked about."""
        entries = [self._catalogue.get(session_id) for session_id in self._uses]
        return [entry for entry in entries if entry is not None]

    async def run(self) -> None:
        """Keeps sessions alive until cancelled."""
        # So long that a look has room for at least AT_ONCE questions: fewer, and one that hangs would hold up others.
        pause = max(AT_ONCE / self._config.calls_per_second, min(LOOK_EVERY, self._config.refresh / 2))
        at_a_look = round(self._config.calls_per_second * pause)
        async with trio.open_nursery() as nursery:
            while True:
                healthy, failing = self._due()
                failing = failing[: max(0, at_a_look // 2 - len(self._failing.asking))]
                room = at_a_look - len(failing) - len(self._healthy.asking)
                for session_id in failing:
                    self._start(nursery, session_id, self._failing)
                for session_id in healthy[: max(0, room)]:
                    self._start(nursery, session_id, self._healthy)
                await trio.sleep(pause)

    def _due(self) -> tuple[list[str], list[str]]:
        """Sessions to ask about now, the most urgent first: those that were answered last, or never asked about, and
        those whose last question failed."""
        now = trio.current_time()
        self._forget(now)
        wanted = []
        for session_id in self._uses:
            use = self._described(session_id) or self._missed(session_id)
            if use is not None and keepalive.kept(use, now, self._config):
                wanted.append((session_id, use))
        self._failures = sum(use.last_failed is not None for _, use in wanted)
        asking = self._healthy.asking | self._failing.asking
        looked_at = self._catalogue.looked_at
        healthy: list[tuple[float, str]] = []
        failing: list[tuple[float, str]] = []
        for session_id, use in wanted:
            if session_id in asking:
                continue
            moment = keepalive.next_question(use, now, len(wanted), self._config, looked_at=looked_at)
            if moment is not None and moment <= now:
                (healthy if use.last_failed is None else failing).append((moment, session_id))
        return [key for _, key in sorted(healthy)], [key for _, key in sorted(failing)]

    def _start(self, nursery: trio.Nursery, session_id: str, lane: Lane) -> None:
        lane.asking.add(session_id)
        nursery.start_soon(self._ask, session_id, lane)

    def _missed(self, session_id: str) -> Use | None:
        """The use of a session that was started here and that the last listing had not: a list can lag behind, or
        lose an entry between two pages, and only the server's word that it is gone counts."""
        use = self._uses[session_id]
        if self._catalogue.was_destroyed(session_id):
            return None  # where the server still has it, a question would only keep it
        use.started_here = self._started_here(session_id)
        return use if use.started_here else None

    def watch(self, session_id: str) -> None:
        """A session that was started here, now or before the mount was restarted."""
        self._uses.setdefault(session_id, Use(running=True))

    def _forget(self, now: float) -> None:
        """Uses of sessions that are gone and not ours to ask about; those of open files stay, to be counted down."""
        for session_id, use in list(self._uses.items()):
            if use.open_files or self._catalogue.has(session_id):
                continue
            lately = use.last_use is not None and now - use.last_use < self._config.keep
            destroyed = self._catalogue.was_destroyed(session_id)
            if destroyed or not (lately or self._started_here(session_id)):
                del self._uses[session_id]

    async def _ask(self, session_id: str, lane: Lane) -> None:
        try:
            async with lane.limiter, self._limiter:
                asked = trio.current_time()
                failing = self._use(session_id).last_failed is not None
                state = await self._answer(session_id, logging.DEBUG if failing else logging.INFO)
        finally:
            lane.asking.discard(session_id)
        use = self._use(session_id)
        self.polls.ended += 1
        if state is None:
            self.polls.failed += 1
            use.last_failed = trio.current_time()
            return
        if failing:
            log.info("keep-alive poll of session %s succeeded again", session_id)
        use.last_asked, use.last_failed = trio.current_time(), None
        if state.state is State.COMPLETED:
            use.running = False  # as the catalogue says as well, where it has the session
        if state.state is not State.REMOVED:
            self._catalogue.state(session_id, state, asked=asked)
            return
        self._catalogue.remove(session_id)
        if not use.open_files:
            del self._uses[session_id]

    async def _answer(self, session_id: str, level: int) -> SessionState | None:
        """None where there was none, which is logged at `level`."""
        begun = trio.current_time()
        log.debug("keep-alive poll of session %s", session_id)
        try:
            with trio.fail_after(keepalive.patience(self._failures, self._timeout)):
                return await self._service.get_session_state(session_id)
        except NotFound:
            return SessionState(State.REMOVED)
        except trio.TooSlowError:
            log.log(
                level,
                "keep-alive poll of session %s timed out after %.1f s",
                session_id,
                trio.current_time() - begun,
            )
        except ExportfsError as error:
            log.log(level, "keep-alive poll of session %s failed: %s", session_id, error)
        except Exception:
            log.exception("keep-alive poll of session %s failed", session_id)
        return None

    def _use(self, session_id: str) -> Use:
        use = self._uses.get(session_id)
        if use is None:
            use = self._uses[session_id] = Use(running=False)
        return use

    def _described(self, session_id: str) -> Use | None:
        """The use of a session, with what the catalogue says of it."""
        entry, use = self._catalogue.get(session_id), self._uses.get(session_id)
        if entry is None:
            return None
        if use is None:
            use = Use(running=False)
        session = entry.session
        use.running = session.state.state in (State.RUNNING, State.NONE)
        use.live_stream = session.summary.live and session.summary.stream
        use.started_here = self._started_here(session_id)
        return use
