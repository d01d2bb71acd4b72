"""When to renew a login, as values: no clock and no network in here."""

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
