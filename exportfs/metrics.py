"""What a mount counts, for `.metrics`: plain numbers, added to where things happen, and looked at when somebody reads
it.

No clock, no lock, no library: whoever counts is in trio's thread and says how long it took. Labels have few values, all
of our own making: no session, no file, no user.
"""

import enum
from bisect import bisect_left
from dataclasses import dataclass, field

BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Upper bounds in seconds: from a call on a local network to the mount's usual timeout."""


@dataclass(slots=True)
class Durations:
    """How often something ended within each of BUCKETS, and after the last of them."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    seconds: float = 0.0
    """All of them together."""

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds

    def cumulative(self) -> list[int]:
        """How many took no longer than each bound; the last number is all of them."""
        total = 0
        return [total := total + count for count in self.counts]


@dataclass(slots=True)
class CallCounters:
    """Calls to the server."""

    durations: dict[tuple[str, str], Durations] = field(default_factory=dict)
    """By the method's name and the status that the call ended with."""
    retries: dict[str, int] = field(default_factory=dict)
    """Calls made once more, by method."""
    unanswered: dict[object, float] = field(default_factory=dict)
    """When those were made, in monotonic seconds, of whose answer nothing has come yet; downloads apart."""

    def ended(self, method: str, code: str, seconds: float) -> None:
        durations = self.durations.get((method, code))
        if durations is None:
            durations = self.durations[method, code] = Durations()
        durations.add(seconds)

    def retried(self, method: str) -> None:
        self.retries[method] = self.retries.get(method, 0) + 1


@dataclass(slots=True)
class PollCounters:
    """Keep-alive polls that have ended, and those of them that brought no answer."""

    ended: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class LoginFigures:
    """A login as it is now. age: seconds since the token came, None where there is none."""

    valid: bool
    age: float | None
    failures: int


class Outcome(enum.StrEnum):
    """What became of a request in new/."""

    STARTED = "started"
    """It has its session: a new one, or one that turned up when the answer was lost."""
    REPEATED = "repeated"
    """The same as before: it keeps the session that it has."""
    INVALID = "invalid"
    """Wrong in itself: nothing was sent."""
    REFUSED = "refused"
    """The server refused it."""
    FAILED = "failed"
    """It could not be sent, and nothing was started."""
    UNKNOWN = "unknown"
    """The answer was lost, and no session has turned up yet."""
    ADOPTED = "adopted"
    """One of the unknown: its session turned up later."""
    ABANDONED = "abandoned"
    """One of the unknown: it is certain that it started nothing."""


@dataclass(slots=True)
class RequestCounters:
    """Requests in new/."""

    outcomes: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))

    def ended(self, outcome: Outcome) -> None:
        self.outcomes[outcome] += 1
