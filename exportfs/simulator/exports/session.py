"""One export session: its states, its timers and what the server says of it."""

from concurrent.futures import Future
from dataclasses import dataclass, field

from exportfs.simulator import timestamps
from exportfs.simulator.config import TimerConfig
from exportfs.simulator.exports.plan import Plan
from exportfs.simulator.exports.results import StoredFile
from exportfs.simulator.media.footage import Clip
from exportfs.wire import export, service

RUNNING, COMPLETED, REMOVED = service.EState.S_RUNNING, service.EState.S_COMPLETED, service.EState.S_REMOVED


@dataclass(slots=True, eq=False)
class Session:
    """All times are seconds since the epoch. Guarded by the lock of the `Sessions` it is in."""

    serial: int
    """Order of creation."""
    id: str
    options: export.Options
    plan: Plan | None
    """None for sessions that a test put there."""
    started: float
    asked: float
    """The last GetSessionState, DownloadFile, or the start."""
    state: service.EState = RUNNING
    completes: float | None = None
    """When a running export will be through; None: when it is stopped."""
    footage_start: float = 0.0
    footage_end: float | None = None
    """None: live, until it is stopped."""
    will_fail: bool = False
    """Completes, but does not succeed."""
    fails_without_files: bool = True
    clips: "Future[list[Clip]] | None" = None
    finishing: float | None = None
    """Since when nothing but the making of the files is left to do."""
    destroyed: float | None = None
    """When it was destroyed; it may stay for a while (`destroyed_stays`)."""
    ended: float = 0.0
    """When it was completed or removed."""
    expires: bool = True
    """Whether its files are deleted when nobody asks about them."""
    succeeded: bool = False
    last_frame: str = ""
    files: list[StoredFile] = field(default_factory=list)
    _entry: bytes | None = None

    def running_limit(self, timers: TimerConfig) -> float:
        """Seconds without GetSessionState after which it is stopped (documented)."""
        live_stream = self.plan is not None and self.plan.live and self.plan.stream
        return timers.live_stream if live_stream else timers.running

    def next_due(self, timers: TimerConfig) -> float | None:
        """When time alone will change its state, if ever."""
        if self.destroyed is not None and self.state != REMOVED:
            return self.destroyed + timers.destroyed_stays
        if self.state == RUNNING:
            if self.finishing is not None:
                return None
            stopped = self.asked + self.running_limit(timers)
            return stopped if self.completes is None else min(stopped, self.completes)
        if self.state == COMPLETED:
            return max(self.ended, self.asked) + timers.completed if self.expires else None
        return self.ended + timers.show_removed

    def footage_until(self, now: float) -> float:
        """How far the export has come through its footage by `now`."""
        if self.plan is None or not self.plan.stream:
            return self.footage_start
        if self.plan.live:
            return now if self.footage_end is None else min(now, self.footage_end)
        if self.completes is None or self.footage_end is None:
            return self.footage_start
        done = (now - self.started) / max(self.completes - self.started, 1e-9)
        return self.footage_start + (self.footage_end - self.footage_start) * min(1.0, max(0.0, done))

    def state_message(self, now: float) -> service.State:
        """What GetSessionState answers."""
        last_frame = self.last_frame
        if self.state == RUNNING and self.plan is not None and self.plan.stream:
            last_frame = timestamps.text(self.footage_until(self.finishing or now))
        message = service.State(state=self.state, last_frame_timestamp=last_frame)
        if self.state == COMPLETED:
            message.result.succeeded = self.succeeded
            message.result.files.extend(file.message for file in self.files)
        return message

    def entry(self, now: float) -> bytes:
        """Its place in a serialized ListSessionsResponse. Kept, unless it is running and so changes."""
        if self._entry is not None:
            return self._entry
        session = service.Session(id=self.id, options=self.options)
        info = service.ListSessionsResponse.SessionInfo(session=session, state=self.state_message(now))
        entry = service.ListSessionsResponse(sessions=[info]).SerializeToString()
        if self.state != RUNNING:
            self._entry = entry
        return entry

    def changed(self) -> None:
        """To be called after a change of what `entry` shows."""
        self._entry = None

    def file(self, path: str) -> StoredFile | None:
        return next((file for file in self.files if file.path == path), None)
