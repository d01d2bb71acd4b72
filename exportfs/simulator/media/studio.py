"""Makes footage in a thread of its own, and remembers what it made."""

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

from exportfs.simulator.config import MediaConfig
from exportfs.simulator.exports.plan import Plan
from exportfs.simulator.media.footage import Clip, Footage, render_split

_REMEMBERED = 64

Recorded = Callable[[tuple[str, ...], float, float], tuple[tuple[float, float], ...] | None]
"""What of some cameras was recorded around an interval, as begins and ends; None: always."""


class Studio:
    """Clips by footage. The same footage is made once, however many sessions export it."""

    def __init__(self, config: MediaConfig, recorded: Recorded = lambda cameras, start, end: None) -> None:
        self._config = config
        self._recorded = recorded
        self._lock = threading.Lock()
        self._made: dict[tuple[Footage, int], Future[list[Clip]]] = {}
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="simulator-studio")

    def order(self, plan: Plan, start: float, end: float) -> "Future[list[Clip]]":
        """All files of `plan` with footage from `start` to `end`, seconds since the epoch."""
        groups = [(camera,) for camera in plan.cameras] if plan.discrete else [plan.cameras]
        made = [self._footage(plan, cameras, start, end) for cameras in groups]
        futures = [self._one(part, plan.max_file_size) for part in made if part is not None]
        if len(futures) == 1:
            return futures[0]
        # One worker works in order, so by then the parts are done.
        return self._pool.submit(lambda: [clip for future in futures for clip in future.result()])

    def _footage(self, plan: Plan, cameras: tuple[str, ...], start: float, end: float) -> Footage | None:
        """An export holds only what was recorded; None where that is nothing."""
        recorded = None if plan.live else self._recorded(cameras, start, max(start + 1.0, end))
        if recorded is None:
            return Footage(cameras, start, end, plan.kind, plan.codec, speed=plan.speed)
        if not plan.stream:
            # The nearest picture at or before the moment.
            before = [min(start, until) for begin, until in recorded if begin <= start]
            return Footage(cameras, before[-1], before[-1], plan.kind, plan.codec) if before else None
        held = tuple((max(begin, start), min(until, end)) for begin, until in recorded)
        held = tuple((begin, until) for begin, until in held if begin < until)
        if not held:
            return None
        first, last = held[0][0], held[-1][1]
        # A clip begins at the key frame before.
        period = self._config.key_frame_seconds
        if period > 0:
            earlier = first - first % period
            first = earlier if any(begin <= earlier < until for begin, until in recorded) else first
            held = ((first, held[0][1]), *held[1:])
        return Footage(cameras, first, last, plan.kind, plan.codec, speed=plan.speed, recorded=held)

    def _one(self, footage: Footage, max_file_size: int) -> "Future[list[Clip]]":
        key = (footage, max_file_size)
        with self._lock:
            future = self._made.get(key)
            if future is None:
                if len(self._made) >= _REMEMBERED:
                    del self._made[next(iter(self._made))]
                future = self._made[key] = self._pool.submit(
                    render_split, footage, self._config, max_file_size
                )
            return future

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)
