"""Who may download now: never more than a given number of DownloadFile calls at once.

Who waits for a slot gets it from a download that is idle (it has brought all that it may), the longest unused
first; failing that, from one that has had a fair share since it began. No code here awaits: each method leaves
everything consistent.
"""

import math
from collections import deque
from collections.abc import Callable

from exportfs.config import MIB
from exportfs.content.source import Remote, Source
from exportfs.content.stream import Preempted, Stream
from exportfs.errors import Interrupted

FAIR_SHARE = 32 * MIB
"""Bytes that a download brings before it has to make room for one that waits."""
FAREWELL = 0.01
"""Seconds, and two round trips: until then a server may not have noticed that a download was cancelled, and would count
one too many."""
TURN = 2.0
"""Seconds after which it has to do so however little it has brought: on a slow line a fair share takes too long."""
STUCK_SECONDS = 10.0
"""A download that nobody waits for and that brings nothing for this long holds a slot for nothing; sooner where reads
have less patience, since others wait for the slot."""
FULL_SECONDS = 10.0
"""Seconds for which no more are started than the server bears, before one more is tried."""
IDLE_SECONDS = 3.0
"""An idle download holds a slot and a place among the server's; given up after this, well within 5 s."""


class Slots:
    """Starts streams as slots allow. `limit` is the number of calls at once; `stall` the seconds without a block after
    which a read gives up a download."""

    def __init__(
        self, source: Source, remote: Remote, limit: int, clock: Callable[[], float], *, stall: float
    ) -> None:
        self._source = source
        self._remote = remote
        self._limit = limit
        self._clock = clock
        self._stuck = min(STUCK_SECONDS, stall)
        self._running: list[Stream] = []
        self._waiting: deque[Stream] = deque()
        # When the slots of downloads that made room for others become free.
        self._leaving: list[float] = []
        self._bearable = limit
        self._more_at = math.inf
        self.started = 0
        self.on_leaving: Callable[[], None] | None = None
        """Told when `next_free` has changed: somebody has to call `schedule` then."""

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def limit(self) -> int:
        return self._limit

    def submit(self, stream: Stream) -> None:
        """Starts the stream now or as soon as a slot is free."""
        stream.on_end = self._ended
        self._waiting.append(stream)
        self.schedule()

    def schedule(self) -> None:
        """Starts what can be started; cheap when nothing waits."""
        while self._waiting:
            now = self._clock()
            if now >= self._more_at:
                self._bearable += 1
                self._more_at = now + FULL_SECONDS if self._bearable < self._limit else math.inf
            self._leaving = [moment for moment in self._leaving if moment > now]
            if len(self._running) + len(self._leaving) < self._bearable:
                stream = self._waiting.popleft()
                self._running.append(stream)
                self.started += 1
                stream.begin(self._source)
                continue
            if len(self._leaving) >= len(self._waiting):
                return
            victim = self._victim()
            if victim is None:
                return
            # Ends up in `_ended`, which must not start anything in the middle of this.
            self._running.remove(victim)
            self._leaving.append(now + FAREWELL + 2 * self._remote.round_trip)
            victim.give_up(Preempted("made room for another download"))
            if self.on_leaving is not None:
                self.on_leaving()

    def server_is_full(self) -> None:
        """A download was refused since the server serves no more at once: for a while ours take turns."""
        self._bearable = max(1, min(self._bearable, len(self._running)))
        self._more_at = self._clock() + FULL_SECONDS if self._bearable < self._limit else math.inf

    @property
    def next_free(self) -> float:
        """When to look again whether something can be started; always to come."""
        now = self._clock()
        return min((moment for moment in self._leaving if moment > now), default=math.inf)

    def reap(self, now: float) -> None:
        """Gives up downloads that nobody has used for a while."""
        for stream in list(self._running):
            unused = now - max(stream.last_used, stream.last_moved)
            stuck = unused >= self._stuck and not stream.owner.awaited(stream)
            if stuck or (stream.idle and unused >= IDLE_SECONDS):
                stream.give_up(Interrupted("unused"))

    def _victim(self) -> Stream | None:
        idle = [stream for stream in self._running if stream.idle]
        if idle:
            return min(idle, key=lambda stream: stream.last_used)
        sated = [
            stream
            for stream in self._running
            if stream.delivered >= FAIR_SHARE
            or (stream.delivered and stream.last_moved - stream.started_at >= TURN)
        ]
        return max(sated, key=lambda stream: stream.delivered, default=None)

    def _ended(self, stream: Stream) -> None:
        if stream in self._running:
            self._running.remove(stream)
            self.schedule()
        elif stream in self._waiting:
            self._waiting.remove(stream)
