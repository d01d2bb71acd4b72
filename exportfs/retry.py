"""How often and how long to try again, as values: no clock and no randomness in here.

Trying again is bounded twice: by the time since anything last moved, and, for answers that are wrong rather than
late, by their number.
"""

from dataclasses import dataclass

from exportfs.errors import (
    AccessDenied,
    Busy,
    Corrupt,
    Exhausted,
    ExportfsError,
    Gone,
    InvalidArgument,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unsupported,
)


@dataclass(frozen=True, slots=True)
class PatienceConfig:
    """Durations in seconds."""

    timeout: float = 30.0
    """Without progress for this long, it is over."""
    first_pause: float = 0.05
    longest_pause: float = 2.0
    last_try: float = 1.0
    """What is left for the last try, so that it does not end before it has begun; never more than a tenth of
    the timeout."""
    wrong_answers: int = 4
    """A server that sends wrong blocks this often in a row does not mean it by mistake."""
    fresh_logins: int = 2

    @property
    def stall(self) -> float:
        """Seconds without a block after which a running download is given up and a new one tried."""
        return max(0.2, self.timeout / 3)

    @property
    def long_stall(self) -> float:
        """The same before its first block, where a download before has been given up for that: what is left then."""
        return 2 * self.stall


_FINAL = (InvalidArgument, NotFound, Gone, TooLarge, Unsupported)


class Patience:
    """Decides after each failure of one call or one block whether to try again, and when."""

    def __init__(self, config: PatienceConfig, now: float) -> None:
        self._config = config
        self._moved = now
        self._pause = config.first_pause
        self._wrong = 0
        self._logins = 0
        self._had_turn = False

    @property
    def deadline(self) -> float:
        """When it is over, unless something moves before."""
        return self._moved + self._config.timeout

    def progress(self, now: float) -> None:
        """Something moved: the time without progress starts anew. The number of wrong answers stays."""
        self._moved = now
        self._pause = self._config.first_pause

    def turn(self, now: float) -> None:
        """After having queued, it begins: a third of the timeout is left for it at least. Once only, or beginning again
        and again would never end."""
        if not self._had_turn:
            self._had_turn = True
            self._moved = max(self._moved, now - self._config.timeout * 2 / 3)

    def after(self, error: ExportfsError, now: float) -> float:
        """Seconds to pause before the next try. Raises the error that is final instead, where it is over."""
        if isinstance(error, _FINAL):
            raise error
        if isinstance(error, Unauthenticated):
            self._logins += 1
            if self._logins > self._config.fresh_logins:
                raise error
            return 0.0
        if isinstance(error, AccessDenied):
            raise error
        if isinstance(error, Busy) and not isinstance(error, Exhausted):
            raise error  # a limit passes, a precondition does not
        if isinstance(error, Corrupt):
            self._wrong += 1
            if self._wrong >= self._config.wrong_answers:
                raise error
        pause = self._pause
        self._pause = min(2 * pause, self._config.longest_pause)
        left = self.deadline - min(self._config.last_try, self._config.timeout / 10) - now
        if left <= 0:
            raise error
        return min(pause, left)
