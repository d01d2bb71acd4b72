"""Pauses between tries that fail, each twice as long as the one before. Pure, the time is handed in."""


class Backoff:
    """By default between logins that the server refused, so that trying does not lock the user out.

    `first` seconds after the first refusal, doubling up to `most`. One that will not change by itself, since it names
    the password or the user, say, starts at `for_good`.
    """

    def __init__(self, first: float = 1.0, most: float = 300.0, for_good: float = 30.0) -> None:
        self._first, self._most, self._for_good = first, most, for_good
        self.failures = 0
        """Refusals since something was accepted."""
        self._until = float("-inf")

    def refused(self, now: float, *, for_good: bool = False) -> None:
        """Takes note of a try that failed."""
        first = self._for_good if for_good else self._first
        # Beyond that it is the most in any case, and in weeks the power would be too large for a float.
        self._until = now + min(first * 2 ** min(self.failures, 32), self._most)
        self.failures += 1

    def accepted(self) -> None:
        """Takes note of one that worked."""
        self.failures = 0
        self._until = float("-inf")

    def wait(self, now: float) -> float:
        """Seconds until the next try; 0 for at once."""
        return max(0.0, self._until - now)
