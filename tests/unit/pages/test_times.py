"""Intervals as pages say them."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from exportfs.pages.times import Interval, maybe

ZONE = timezone(timedelta(hours=2))


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.promise("G1")
@pytest.mark.parametrize(
    ("begin", "end", "said"),
    [
        ("2026-05-11T08:04:11", "2026-05-11T08:14:11", "10:14:11 +02:00"),
        ("2026-05-11T08:04:11", "2026-05-11T22:00:00", "2026-05-12 00:00:00 +02:00"),
        ("2026-05-10T22:30:00", "2026-05-11T08:00:00", "10:00:00 +02:00"),
        (None, "2026-05-11T08:14:11", "2026-05-11 10:14:11 +02:00"),
        ("2026-05-11T08:04:11", None, None),
    ],
)
def test_the_day_is_said_once(begin: str | None, end: str | None, said: str | None) -> None:
    interval = Interval(*(maybe(at(one) if one else None, ZONE) for one in (begin, end)))
    until = interval.until
    assert (until and until.local) == said
    assert (until and until.machine) == (interval.end and interval.end.machine)
