"""All sessions of the server, and the passing of time over them."""

import heapq
import threading
import uuid
from bisect import bisect_right
from collections.abc import Sequence
from concurrent.futures import Future
from concurrent.futures import wait as wait_for

from exportfs.simulator import timestamps
from exportfs.simulator.api.refusal import not_found_session
from exportfs.simulator.clock import Clock
from exportfs.simulator.config import Config
from exportfs.simulator.exports.plan import make_plan
from exportfs.simulator.exports.results import StoredFile, from_clips
from exportfs.simulator.exports.session import COMPLETED, REMOVED, RUNNING, Session
from exportfs.simulator.media.footage import Clip
from exportfs.simulator.media.studio import Studio
from exportfs.simulator.site.footage import DAY, merged
from exportfs.wire import export, service

_MEDIA_PATIENCE = 30.0
"""Seconds that StopSession and a moved clock wait for pictures to be encoded."""


class Sessions:
    """Every method may be called from any thread. Timers are looked at on every call."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._recorded = dict(config.recorded)
        self._studio = Studio(config.media, self._recorded_of)
        self._lock = threading.RLock()
        self._by_id: dict[str, Session] = {}
        self._by_serial: dict[int, Session] = {}
        self._order: list[int] | None = []
        """Serials in order; None: to be made anew."""
        self._serial = 0
        self._due: list[tuple[float, int]] = []
        self._finishing: list[Session] = []
        clock.watch(self.settle)

    def close(self) -> None:
        self._studio.close()

    def record(self, camera: str, intervals: Sequence[tuple[float, float]] | None) -> None:
        """What archives hold of a camera from now on, in seconds since the epoch; None: everything."""
        with self._lock:
            if intervals is None:
                self._recorded.pop(camera, None)
            else:
                self._recorded[camera] = tuple(sorted(intervals))

    def _recorded_of(
        self, cameras: tuple[str, ...], start: float, end: float
    ) -> tuple[tuple[float, float], ...] | None:
        """Of several cameras in one file: where any was recorded, from the day before `start` to `end`."""
        known = [self._recorded_of_one(camera, start - DAY, end) for camera in cameras]
        if any(one is None for one in known):
            return None
        return tuple(merged((span for one in known if one is not None for span in one), 0.0))

    def _recorded_of_one(self, camera: str, start: float, end: float) -> Sequence[tuple[float, float]] | None:
        """What a test said of it, or the site; None: everything."""
        if camera in self._recorded:
            return self._recorded[camera]
        there = self._config.site.camera(camera) if self._config.site is not None else None
        if there is None:
            return None
        now = self._clock.now()
        return [span for archive in there.archives for span in archive.footage.intervals(start, end, now)]

    # Calls of the service.

    def start(self, options: export.Options, *, will_fail: bool = False, without_files: bool = True) -> str:
        """Raises Refused for Options that cannot be exported."""
        plan = make_plan(options, self._config)
        with self._lock:
            now = self._clock.now()
            session = self._new(f"hosts/{self._config.node}/{uuid.uuid4()}", options, now)
            if self._config.fills_in_agent:
                options.export_agent_access_point = plan.agent
            session.plan, session.will_fail, session.fails_without_files = plan, will_fail, without_files
            session.footage_start = now if plan.start is None else plan.start
            session.completes = now + self._config.export_seconds
            if plan.live and plan.stream:
                session.completes = None if plan.duration is None else now + plan.duration
                session.footage_end = session.completes
            else:
                session.footage_end = session.footage_start if plan.end is None else plan.end
                session.clips = self._studio.order(plan, session.footage_start, session.footage_end)
            self._schedule(session)
            return session.id

    def state(self, session_id: str) -> service.State:
        """Resets the session's timer. Raises Refused with NOT_FOUND."""
        with self._lock:
            session = self.find(session_id)
            session.asked = self._clock.now()
            return session.state_message(session.asked)

    def stop(self, session_id: str) -> service.State:
        """Raises Refused with NOT_FOUND."""
        with self._lock:
            session = self.find(session_id)
            if session.state == RUNNING and session.finishing is None:
                self._finish(session, self._clock.now(), stopped=True)
        self.settle()
        with self._lock:
            return session.state_message(self._clock.now())

    def destroy(self, session_id: str) -> None:
        """Raises Refused with NOT_FOUND."""
        with self._lock:
            session = self.find(session_id)
            if session.state == REMOVED:
                raise not_found_session()
            session.destroyed = self._clock.now()
            if self._config.timers.destroyed_stays > 0:
                self._schedule(session)
            else:
                self._remove(session, session.destroyed)

    def use(self, session_id: str) -> Session:
        """For DownloadFile: resets the session's timer. Raises Refused with NOT_FOUND."""
        with self._lock:
            session = self.find(session_id)
            session.asked = self._clock.now()
            return session

    def page(self, after: int, limit: int) -> tuple[list[bytes], int | None]:
        """Up to `limit` entries of sessions created after serial `after`, and the last serial if more follow.

        By serial and not by position: what comes and goes between two pages moves nothing.
        """
        with self._lock:
            self.tick()
            now = self._clock.now()
            if self._order is None:
                self._order = list(self._by_serial)
            first = bisect_right(self._order, after)
            serials = self._order[first : first + limit]
            more = len(self._order) > first + limit
            return [self._by_serial[serial].entry(now) for serial in serials], serials[-1] if more else None

    # For tests and the command.

    def add(
        self,
        options: export.Options,
        files: Sequence[StoredFile],
        *,
        session_id: str | None = None,
        succeeded: bool = True,
        expires: bool = True,
    ) -> str:
        """Puts a completed session there, as if another client had exported it. Gives its id."""
        with self._lock:
            now = self._clock.now()
            session = self._new(session_id or f"hosts/{self._config.node}/{uuid.uuid4()}", options, now)
            session.files, session.succeeded, session.expires = list(files), succeeded, expires
            session.state, session.ended = COMPLETED, now
            if files:
                session.last_frame = files[-1].message.max_timestamp
            self._schedule(session)
            return session.id

    def find(self, session_id: str) -> Session:
        """Resets nothing. Raises Refused with NOT_FOUND."""
        with self._lock:
            self.tick()
            session = self._by_id.get(session_id)
            if session is None:
                raise not_found_session()
            return session

    def ids(self) -> list[str]:
        """In the order of their creation."""
        with self._lock:
            self.tick()
            return list(self._by_id)

    def settle(self) -> None:
        """Does what is due by now, and waits for pictures that are being made for it."""
        with self._lock:
            self.tick()
            pending = [session.clips for session in self._finishing if session.clips is not None]
        if pending:
            wait_for(pending, _MEDIA_PATIENCE)
            self.tick()

    def tick(self) -> None:
        """Does what is due by now, and waits for nothing."""
        with self._lock:
            now = self._clock.now()
            self._complete_finished()
            while self._due and self._due[0][0] <= now:
                _, serial = heapq.heappop(self._due)
                session = self._by_serial.get(serial)
                if session is None:
                    continue
                due = session.next_due(self._config.timers)
                if due is None:
                    continue
                if due <= now:
                    self._act(session, due)
                else:
                    heapq.heappush(self._due, (due, serial))

    # Called with the lock held.

    def _new(self, session_id: str, options: export.Options, now: float) -> Session:
        self.tick()
        if session_id in self._by_id:
            raise ValueError(f"there is a session {session_id!r} already")
        self._serial += 1
        session = Session(self._serial, session_id, options, None, started=now, asked=now)
        self._by_id[session_id] = self._by_serial[self._serial] = session
        if self._order is not None:
            self._order.append(self._serial)
        return session

    def _schedule(self, session: Session) -> None:
        due = session.next_due(self._config.timers)
        if due is not None:
            heapq.heappush(self._due, (due, session.serial))

    def _act(self, session: Session, due: float) -> None:
        if session.destroyed is not None and session.state != REMOVED:
            self._remove(session, due)
        elif session.state == RUNNING:
            self._finish(session, due, stopped=due != session.completes)
            self._complete_finished()
        elif session.state == COMPLETED:
            self._remove(session, due)
        else:
            self._forget(session)

    def _finish(self, session: Session, at: float, *, stopped: bool) -> None:
        """The export itself is over; its files may still have to be made."""
        plan = session.plan
        assert plan is not None, "only exports run"
        session.finishing = at
        session.succeeded = not session.will_fail and (
            not stopped or plan.live or self._config.stopped_succeeds
        )
        if stopped and not plan.stream:
            session.succeeded, session.clips = False, None
        elif (plan.live and plan.stream) or stopped:
            session.footage_end = session.footage_until(at)
            session.clips = self._studio.order(plan, session.footage_start, session.footage_end)
        self._finishing.append(session)

    def _complete_finished(self) -> None:
        waiting = self._finishing
        self._finishing = []
        for session in waiting:
            if session.clips is not None and not session.clips.done():
                self._finishing.append(session)
            elif session.state == RUNNING:
                self._complete(session, session.clips)

    def _complete(self, session: Session, clips: "Future[list[Clip]] | None") -> None:
        assert session.plan is not None
        assert session.finishing is not None
        session.state, session.ended = COMPLETED, session.finishing
        made: list[Clip] = []
        if clips is not None and clips.exception() is not None:
            session.succeeded = False  # a codec that does not go with the container
        elif clips is not None and not (session.will_fail and session.fails_without_files):
            made = clips.result()
        session.files = from_clips(self._config, session.plan, session.id, made)
        session.last_frame = timestamps.text(made[-1].last) if made else ""
        session.changed()
        self._schedule(session)

    def _remove(self, session: Session, at: float) -> None:
        session.state, session.ended, session.files = REMOVED, at, []
        session.changed()
        if self._config.timers.show_removed <= 0:
            self._forget(session)
        else:
            self._schedule(session)

    def _forget(self, session: Session) -> None:
        del self._by_id[session.id], self._by_serial[session.serial]
        self._order = None
