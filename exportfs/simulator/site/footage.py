"""What an archive holds of a camera: intervals of footage, worked out from a rule and the time of day."""

from collections.abc import Iterable
from dataclasses import dataclass

DAY = 86_400.0
Interval = tuple[float, float]
"""Begin and end, seconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """The rule. All times are seconds since the epoch, all durations seconds.

    The oldest footage moves, as in a ring that is being overwritten, and the newest grows.
    """

    keep: float = 30 * DAY
    """How far back it goes from now."""
    since: float = 0.0
    """When recording began at the earliest."""
    until: float | None = None
    """When recording ended; None: it goes on."""
    hours: tuple[Interval, ...] = ((0.0, DAY),)
    """When it records, seconds within a day of UTC."""
    gaps: tuple[Interval, ...] = ()
    """When it recorded nothing."""

    def intervals(self, begin: float, end: float, now: float) -> list[Interval]:
        """What there is within [begin, end), in order."""
        begin = max(begin, self.since, now - self.keep)
        end = min(end, now if self.until is None else self.until)
        if end <= begin:
            return []
        found: list[Interval] = []
        day = begin // DAY * DAY
        while day < end:
            for start, stop in self.hours:
                piece = (max(begin, day + start), min(end, day + stop))
                if piece[0] < piece[1]:
                    found.append(piece)
            day += DAY
        return merged(_without(found, self.gaps), 0.0)


NOTHING = Recorded(keep=0.0)
"""Of a camera that was never recorded."""


def merged(intervals: Iterable[Interval], gap: float) -> list[Interval]:
    """In order, and as one where less than `gap` seconds, or nothing at all, lies between them."""
    result: list[Interval] = []
    for begin, end in sorted(intervals):
        if result and (begin - result[-1][1] < gap or begin <= result[-1][1]):
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((begin, end))
    return result


def _without(intervals: list[Interval], gaps: Iterable[Interval]) -> list[Interval]:
    for gap_begin, gap_end in gaps:
        left: list[Interval] = []
        for begin, end in intervals:
            pieces = ((begin, min(end, gap_begin)), (max(begin, gap_end), end))
            left += [piece for piece in pieces if piece[0] < piece[1]]
        intervals = left
    return intervals
