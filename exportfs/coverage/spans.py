"""Intervals as lists of spans: sorted, without touching one another."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

SECOND = 1_000_000
"""Everything in here counts microseconds since 1970, as integers."""
Span = tuple[int, int]
"""Begin and end."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def union(spans: Iterable[Span]) -> list[Span]:
    result: list[Span] = []
    for begin, end in sorted(spans):
        if result and begin <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((begin, end))
    return result


def minus(wanted: Iterable[Span], taken: Iterable[Span]) -> list[Span]:
    holes = union(taken)
    result = []
    for begin, end in union(wanted):
        at = begin
        for first, last in holes:
            if last <= at or first >= end:
                continue
            if first > at:
                result.append((at, first))
            at = max(at, last)
        if at < end:
            result.append((at, end))
    return result


def where_deep(spans: Iterable[Span], count: int) -> list[Span]:
    """Where at least `count` spans lie above one another."""
    edges = sorted(edge for begin, end in spans for edge in ((begin, 1), (end, -1)))
    result, depth, since = [], 0, 0
    for at, step in edges:
        before, depth = depth, depth + step
        if before < count <= depth:
            since = at
        elif depth < count <= before and at > since:
            result.append((since, at))
    return union(result)


def to_us(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def to_moment(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)
