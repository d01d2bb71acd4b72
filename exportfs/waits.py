"""How long somebody waits: so many seconds in which nothing moves, and longer while something does."""

import math
from contextvars import ContextVar

import trio


class Wait:
    """One that is bounded, by its `scope`. Durations in seconds."""

    def __init__(self, seconds: float, longest: float = math.inf, now: float | None = None) -> None:
        """seconds: without anything that moves. longest: in all. now: by trio's clock, where that is known."""
        if now is None:
            now = trio.current_time()
        self.scope = trio.CancelScope(deadline=now + seconds)
        self._seconds = seconds
        self._end = now + longest

    def moved(self) -> None:
        """What is waited for is nearer than ever before: the seconds begin anew."""
        deadline = min(trio.current_time() + self._seconds, self._end)
        self.scope.deadline = max(self.scope.deadline, deadline)


CALL: ContextVar[Wait | None] = ContextVar("CALL", default=None)
"""The call into the mount that a task carries out."""
