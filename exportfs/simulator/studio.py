"""Makes footage in a thread of its own, and remembers what it made."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

from exportfs.simulator.config import MediaConfig
from exportfs.simulator.media import Clip, Footage, render_split
from exportfs.simulator.plan import Plan

_REMEMBERED = 64


class Studio:
    """Clips by footage. The same footage is made once, however many sessions export it."""

    def __init__(self, config: MediaConfig) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._made: dict[tuple[Footage, int], Future[list[Clip]]] = {}
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="simulator-studio")

    def order(self, plan: Plan, start: float, end: float) -> "Future[list[Clip]]":
        """All files of `plan` with footage from `start` to `end`, seconds since the epoch."""
        groups = [(camera,) for camera in plan.cameras] if plan.discrete else [plan.cameras]
        parts = [Footage(cameras, start, end, plan.kind, plan.codec) for cameras in groups]
        futures = [self._one(part, plan.max_file_size) for part in parts]
        if len(futures) == 1:
            return futures[0]
        # One worker works in order, so by then the parts are done.
        return self._pool.submit(lambda: [clip for future in futures for clip in future.result()])

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
