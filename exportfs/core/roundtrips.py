"""How far away the server is: the least time that lately lay between a question and its answer."""

from collections import deque

REMEMBERED = 16


class RoundTrips:
    """The latest answers' times. An answer can take longer than the way, never shorter: the least one counts."""

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=REMEMBERED)

    def note(self, seconds: float) -> None:
        """An answer came after so long. From any thread."""
        self._seconds.append(seconds)

    @property
    def least(self) -> float:
        """Seconds; 0 as long as nothing is known."""
        return min(tuple(self._seconds), default=0.0)
