"""Who may download now, and whose bytes come first on the line. No code here awaits: each method leaves everything
consistent.

Never more than a given number of DownloadFile calls run at once. Who waits for a slot gets it from a download that is
idle (it has brought all that it may), the longest unused first; failing that, from one that has had a fair share.

Exact downloads share the line's window: what somebody waits for comes before read-ahead, and among those the file that
was served least lately. So players, who want little and want it now, are not behind a copy, and the copy gets the rest.
"""

import math
import operator
from collections import deque
from collections.abc import Callable, Iterable

from exportfs.content.download import Download, Preempted
from exportfs.content.line import Line
from exportfs.content.source import Source
from exportfs.content.tuning import (
    CANCEL_GRACE,
    FAIR_SHARE,
    FIRSTS,
    FULL_SECONDS,
    IDLE_SECONDS,
    SILENT_SECONDS,
    STUCK_SECONDS,
    TIME_SLICE,
    UNANSWERED_AGAIN,
    UNANSWERED_BUSY,
    UNANSWERED_IDLE,
)
from exportfs.errors import Interrupted


class Scheduler:
    """Starts downloads as slots allow. `limit` is the number of calls at once, `room` says for how many there is memory
    at the moment; `stall` the seconds without a block after which a read gives up a download; `wake` is told when
    `next_free` has changed: somebody has to call `schedule` then."""

    def __init__(
        self,
        source: Source,
        line: Line,
        limit: int,
        clock: Callable[[], float],
        *,
        room: Callable[[], int],
        stall: float,
        wake: Callable[[], None],
    ) -> None:
        self._source = source
        self._line = line
        self._limit = limit
        self._clock = clock
        self._stuck = min(STUCK_SECONDS, stall)
        self._stall = stall
        self._room = room
        self._wake = wake
        self._running: list[Download] = []
        self._waiting: deque[Download] = deque()
        # When the slots of downloads that made room for others become free.
        self._leaving: list[float] = []
        self._bearable = limit
        self._more_at = math.inf
        self._firsts = deque[float](maxlen=FIRSTS)
        """Seconds that first blocks took lately."""
        self._moved_at = -math.inf
        self._relieved_at = -math.inf
        self.started = 0

    @property
    def running(self) -> int:
        return len(self._running)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    @property
    def limit(self) -> int:
        return self._limit

    def submit(self, download: Download) -> None:
        """Starts the download now or as soon as a slot is free."""
        self._waiting.append(download)
        self.schedule()

    def ended(self, download: Download) -> None:
        """It runs no more, or will not."""
        if download in self._running:
            self._running.remove(download)
            self.schedule()
            self.share()
        elif download in self._waiting:
            self._waiting.remove(download)

    def schedule(self) -> None:
        """Starts what can be started; cheap when nothing waits."""
        started = False
        while self._waiting:
            now = self._clock()
            if now >= self._more_at:
                self._bearable += 1
                self._more_at = now + FULL_SECONDS if self._bearable < self._limit else math.inf
            self._leaving = [moment for moment in self._leaving if moment > now]
            if len(self._running) + len(self._leaving) < min(self._bearable, self._room()):
                download = self._waiting.popleft()
                self._running.append(download)
                self.started += 1
                download.begin(self._source)
                started = True
                continue
            if len(self._leaving) >= len(self._waiting):
                break
            victim = self._victim()
            if victim is None:
                break
            # Ends up in `ended`, which must not start anything in the middle of this.
            self._running.remove(victim)
            self._leaving.append(now + CANCEL_GRACE + 2 * self._line.round_trip)
            victim.give_up(Preempted("made room for another download"))
            self._wake()
        if started:
            self.share()

    def share(self) -> None:
        """Divides the line's window among exact downloads. To be called when what is wanted has changed."""
        exact = [download for download in self._running if not download.wide and download.wanted]
        if len(exact) == 1:
            exact[0].window(self._line.window)
        elif exact:
            for download, amount in shares(exact, self._line.window, self._clock()):
                download.window(amount)
                if not amount:
                    # As long as they get on: where nothing comes at all, this one is as stuck as they are.
                    download.paused(self._last_moved)

    @property
    def wide(self) -> int:
        """Wide downloads that want something."""
        return sum(download.wide and download.wanted > 0 for download in self._running)

    def server_is_full(self) -> None:
        """A download was refused since the server serves no more at once: for a while ours take turns."""
        self._bearable = max(1, min(self._bearable, len(self._running)))
        self._more_at = self._clock() + FULL_SECONDS if self._bearable < self._limit else math.inf

    def began(self, took: float) -> None:
        """A download brought its first block after so many seconds."""
        self._firsts.append(took)

    def moved(self, now: float) -> None:
        """A download brought a block."""
        self._moved_at = now

    @property
    def moves(self) -> bool:
        """Whether any download has brought something lately, by what reads wait for."""
        return self._clock() - self._last_moved < self._stall / 2

    @property
    def _last_moved(self) -> float:
        return max(self._moved_at, self._line.arrived_at)

    def relieve(self, now: float) -> None:
        """Where nothing comes though somebody waits: what we keep open and do not take may be what is in its way, at a
        server or a proxy that serves few at once and lets others queue. What nobody needs ends, the rest goes on."""
        silent = now - min(SILENT_SECONDS + self._own_time, self._stall / 2)
        if self._last_moved > silent or all(since > silent for _, since in self._waited_for()):
            return
        self._end_idle()
        for download in self._running:
            if not download.wide:
                download.window(self._line.window)

    def relieve_calls(self, since: float | None, now: float) -> None:
        """The same for a call that has had no answer since then: it may be queueing behind idle downloads, or, before
        it is given up, behind one that has had its share."""
        begins = [since for download, since in self._waited_for() if not download.delivered]
        # So is a download without its first block, apart from what the server itself needs for that.
        since = min([now if since is None else since, *(begin + self._own_time for begin in begins)])
        if now - since < self._stall * UNANSWERED_IDLE:
            return
        if now - self._relieved_at < self._stall * UNANSWERED_AGAIN:
            return
        self._relieved_at = now
        if not self._end_idle() and now - since >= self._stall * UNANSWERED_BUSY:
            victim = self._victim()
            if victim is not None:
                victim.give_up(Preempted("made room for a call without an answer"))

    def _waited_for(self) -> list[tuple[Download, float]]:
        """Those that run and somebody waits for, and since when they might have brought something."""
        return [
            (download, max(awaited, download.started_at))
            for download in self._running
            if (awaited := download.owner.awaited_since(download)) is not None
        ]

    @property
    def _own_time(self) -> float:
        """Seconds that the server itself may need for a first block."""
        return 2 * min(self._firsts, default=0.0)

    def _end_idle(self) -> bool:
        """Whether there was any."""
        idle = [download for download in self._running if download.idle]
        for download in idle:
            download.give_up(Interrupted("others may have to wait for its end"))
        return bool(idle)

    @property
    def next_free(self) -> float:
        """When to look again whether something can be started; always to come."""
        now = self._clock()
        return min((moment for moment in self._leaving if moment > now), default=math.inf)

    def reap(self, now: float) -> None:
        """Gives up downloads that nobody has used for a while."""
        for download in list(self._running):
            unused = now - max(download.last_used, download.last_moved)
            stuck = unused >= self._stuck and not download.owner.awaited(download)
            if stuck or (download.idle and unused >= IDLE_SECONDS):
                download.give_up(Interrupted("unused"))

    def _victim(self) -> Download | None:
        idle = [download for download in self._running if download.idle]
        if idle:
            return min(idle, key=lambda download: download.last_used)
        sated = [
            download
            for download in self._running
            if download.delivered >= FAIR_SHARE
            or (download.delivered and download.last_moved - download.began_at >= TIME_SLICE)
        ]
        return max(sated, key=lambda download: download.delivered, default=None)


AWAITED, AHEAD = range(2)


def shares(downloads: Iterable[Download], window: int, now: float) -> list[tuple[Download, int]]:
    """Of each download that wants something, the bytes that it may have on their way.

    In this order each gets what remains of the window: awaited before read-ahead; then who was served least lately;
    then who has waited longest.
    """
    found, left = [], window
    ranked = ((_rank(download, now), download) for download in downloads)
    for _, download in sorted(ranked, key=operator.itemgetter(0)):
        amount = min(left, download.wanted_sent)
        # The last one to get anything may have all the rest: it may want more in a moment.
        found.append((download, left if amount == left else amount))
        left -= amount
    return found


def _rank(download: Download, now: float) -> tuple[int, float, float]:
    since = download.owner.awaited_since(download)
    rank = AHEAD if since is None else AWAITED
    return rank, download.owner.served(now), download.started_at if since is None else since
