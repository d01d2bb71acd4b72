"""The simulator's time: the system's, or one that a test moves by hand."""

import threading
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """What the timers, tokens and exports of the simulator go by."""

    def now(self) -> float:
        """Seconds since the epoch, UTC."""
        ...

    def watch(self, moved: Callable[[], None]) -> None:
        """`moved` is to be called after time has jumped; clocks that flow evenly need not."""
        ...


class SystemClock:
    """The machine's own clock."""

    def now(self) -> float:
        return time.time()

    def watch(self, moved: Callable[[], None]) -> None:
        """Does nothing: whoever asks is told what is true by then."""


class ManualClock:
    """Stands still until `advance` is called. Safe to use from several threads."""

    def __init__(self, start: float = 1_778_486_400.0) -> None:
        """`start`: seconds since the epoch; the default is 2026-05-11 08:00 UTC."""
        self._now = start
        self._lock = threading.Lock()
        self._watchers: list[Callable[[], None]] = []

    def now(self) -> float:
        with self._lock:
            return self._now

    def advance(self, seconds: float) -> None:
        """Moves on by `seconds` (back, where negative: a clock set anew) and returns once all timers ran."""
        with self._lock:
            self._now += seconds
            watchers = tuple(self._watchers)
        for moved in watchers:
            moved()

    def watch(self, moved: Callable[[], None]) -> None:
        with self._lock:
            self._watchers.append(moved)
