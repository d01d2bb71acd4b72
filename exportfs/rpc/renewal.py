"""When to log in, renew and stop trying, as values: no clock and no network in here."""

from dataclasses import dataclass

RENEW_AT = 2 / 3
"""Part of a token's life after which it is renewed: late enough to be rare, early enough for some retries."""
SHORTEST_LIFE = 3.0
"""Seconds; a token said to live shorter than this is renewed as if it lived this long."""


@dataclass(frozen=True, slots=True)
class Token:
    """What goes into the metadata of every call. Times on the caller's monotonic clock, in seconds."""

    name: str
    value: str
    obtained: float
    life: float

    def __repr__(self) -> str:
        return f"Token({self.name}, ***, life={self.life:.0f})"

    @property
    def renew_at(self) -> float:
        return self.obtained + max(self.life, SHORTEST_LIFE) * RENEW_AT

    @property
    def expires(self) -> float:
        return self.obtained + max(self.life, SHORTEST_LIFE)


class Backoff:
    """Pauses between logins that the server refused, so that trying does not lock the user out.

    1 s after the first refusal, doubling to 5 minutes. A refusal that names the password or the user will not
    change by itself, so it starts at 30 s.
    """

    def __init__(self) -> None:
        self._failures = 0
        self._until = float("-inf")

    def refused(self, now: float, *, for_good: bool) -> None:
        """Takes note of a refused login."""
        first = 30.0 if for_good else 1.0
        self._until = now + min(first * 2**self._failures, 300.0)
        self._failures += 1

    def accepted(self) -> None:
        """Takes note of a login that worked."""
        self._failures = 0
        self._until = float("-inf")

    def wait(self, now: float) -> float:
        """Seconds until the next login may be tried; 0 for at once."""
        return max(0.0, self._until - now)
