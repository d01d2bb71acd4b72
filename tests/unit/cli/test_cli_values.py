"""Sizes, durations and times as people write them."""

import contextlib
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exportfs.cli.params.quantities import duration, size
from exportfs.cli.params.times import doubts, form, parse_time, understood
from exportfs.cli.terminal.output import printable
from exportfs.units import human_duration, human_size


@pytest.fixture(autouse=True)
def central_europe(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Spelt out, so that no table of time zones is needed."""
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    # Here, with what the test has set: two patches of one variable would be undone in the wrong order.
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("text", "value"),
    [("0", 0), ("4096", 4096), ("64K", 65536), ("256m", 256 << 20), ("1.5G", 3 << 29), ("2 TiB", 2 << 40)],
)
def test_size(text: str, value: int) -> None:
    assert size(text) == value
    assert size(value) == value


@pytest.mark.parametrize(
    "text", ["", "M", "-1", "1.5", "256XB", "1e3", "nan", "1 2", "9999999T", "0x10", "٣"]
)
def test_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="size"):
        size(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("90", 90),
        ("1.5", 1.5),
        ("10m", 600),
        ("1h", 3600),
        ("1h30m", 5400),
        ("1d 2h", 93600),
        ("5s", 5),
        ("10min", 600),
        ("10 minutes", 600),
        ("1 hour 30 mins", 5400),
        ("2hrs", 7200),
        ("45 sec", 45),
        ("1DAY", 86400),
        ("0:10:00", 600),
        ("1:00:30.5", 3630.5),
        ("36:00:00", 129600),
    ],
)
def test_duration(text: str, value: float) -> None:
    assert duration(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "m",
        "-5",
        "1h30",
        "30m1h",
        "1m1m",
        "inf",
        "nan",
        "1w",
        "99999999d",
        "1,5",
        "10:00",
        "0:60:00",
        "1:2:3",
        "10mi",
        "10minx",
        "5sh",
    ],
)
def test_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        duration(text)


@pytest.mark.slow
@given(st.text())
def test_any_text_is_a_value_or_a_value_error(text: str) -> None:
    for parse in (size, duration, parse_time):
        with contextlib.suppress(ValueError):
            parse(text)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("2026-05-11T08:04:11Z", "2026-05-11T08:04:11+00:00"),
        ("2026-05-11t08:04:11z", "2026-05-11T08:04:11+00:00"),
        ("2026-05-11T10:04:11.5+02:00", "2026-05-11T10:04:11.500000+02:00"),
        ("2026-05-11T10:04:11.123456789-03:30", "2026-05-11T10:04:11.123456-03:30"),
        ("2026-05-11 10:04", "2026-05-11T10:04:00+02:00"),
        ("2026-01-11 10:04:11,25", "2026-01-11T10:04:11.250000+01:00"),
    ],
)
def test_time(text: str, written: str) -> None:
    assert form(parse_time(text)) == written


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("today 10:04", "2026-05-11T10:04:00+02:00"),
        ("Today 9:04:11.5", "2026-05-11T09:04:11.500000+02:00"),
        ("yesterday 10:04", "2026-05-10T10:04:00+02:00"),
        ("yesterday  23:59:59", "2026-05-10T23:59:59+02:00"),
    ],
)
def test_days_by_name(text: str, written: str) -> None:
    assert form(parse_time(text, date(2026, 5, 11))) == written


def test_days_by_name_follow_the_change_of_the_clocks() -> None:
    assert form(parse_time("yesterday 12:00", date(2026, 3, 30))) == "2026-03-29T12:00:00+02:00"
    assert form(parse_time("yesterday 12:00", date(2026, 3, 29))) == "2026-03-28T12:00:00+01:00"
    with pytest.raises(ValueError, match="happens twice"):
        parse_time("yesterday 2:30", date(2026, 10, 26))
    with pytest.raises(ValueError, match="does not exist"):
        parse_time("today 02:30", date(2026, 3, 29))


def test_without_a_date_given_it_is_that_of_the_clock() -> None:
    before = datetime.now().date()
    parsed = parse_time("today 12:00").astimezone().date()
    assert before <= parsed <= datetime.now().date()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("yesterday", "as in 'yesterday 10:04'"),
        ("2026-05-11", "as in '2026-05-11 10:04'"),
        ("10:04", "as in 'today 10:04'"),
        ("tomorrow 10:04", "or local time, as in"),
        ("2026-02-30 10:04", "not in the calendar"),
        ("2026-05-11 24:01", "not in the calendar"),
        ("2026-05-11T10:04:60Z", "not in the calendar"),
        ("20260511T080411.064", "write 2026-05-11T08:04:11.064Z"),
    ],
)
def test_no_time(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=r"time|calendar|server") as caught:
        parse_time(text)
    assert words in str(caught.value)


def test_hour_that_happens_twice_is_refused_with_both_instants() -> None:
    with pytest.raises(ValueError, match="happens twice") as caught:
        parse_time("2026-10-25 02:30")
    assert "2026-10-25T02:30:00+02:00 or 2026-10-25T02:30:00+01:00" in str(caught.value)


def test_hour_that_is_skipped_is_refused_with_both_instants() -> None:
    with pytest.raises(ValueError, match="does not exist") as caught:
        parse_time("2026-03-29 02:30")
    assert "2026-03-29T01:30:00+01:00 or 2026-03-29T03:30:00+02:00" in str(caught.value)


@given(st.datetimes(datetime(1990, 1, 1), datetime(2037, 1, 1)))
def test_local_time_goes_there_and_back(moment: datetime) -> None:
    try:
        parsed = parse_time(moment.isoformat())
    except ValueError:
        return
    assert parsed.astimezone().replace(tzinfo=None, fold=0) == moment.replace(fold=0)
    assert parse_time(form(parsed.astimezone(UTC))) == parsed


def test_text_for_terminals() -> None:
    assert printable("a\n b\x1b[2J\u202e\udcff") == "a b\\x1b[2J\\u202e\\udcff"
    assert [human_size(n) for n in (0, 1023, 1024, 1 << 20, 3 << 29)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.0 MiB",
        "1.5 GiB",
    ]
    assert [human_duration(n) for n in (0, 59.6, 125, 3900, 90000)] == [
        "0s",
        "1m 00s",
        "2m 05s",
        "1h 05m",
        "1d 1h",
    ]


@pytest.mark.parametrize("zone", ["Europe/Berln", "CEST", "KST", "CET-1CEST"])
@pytest.mark.promise("C8")
def test_local_time_in_a_zone_that_nobody_knows(zone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    with pytest.raises(ValueError, match=f"is local time, and TZ={zone}"):
        parse_time("2026-05-11 10:04")
    # With an offset no zone is needed.
    start = parse_time("2026-05-11T10:04:00+02:00")
    assert (
        understood(start, None)
        == "footage of 2026-05-11T10:04:00+02:00 (as given), in UTC 2026-05-11T08:04:00Z"
    )


def test_what_was_understood() -> None:
    start, end = parse_time("2026-05-11 10:04"), parse_time("2026-05-11T08:14:00.5Z")
    assert understood(start, end) == (
        "footage of 2026-05-11T10:04:00+02:00 to 2026-05-11T10:14:00.500000+02:00 (CET-1CEST,M3.5.0,M10.5.0/3), "
        "in UTC 2026-05-11T08:04:00Z to 2026-05-11T08:14:00.500Z"
    )


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        ("2026-05-11T10:00:00Z", "2026-05-11T11:00:00Z", []),
        ("2026-05-11T10:00:00Z", "2026-05-11T12:00:30Z", []),
        ("2017-05-11T10:00:00Z", "2017-05-11T12:00:30Z", []),
        ("2026-05-11T11:00:00Z", "2026-05-11T13:00:00Z", ["is in the future, 1h 00m from now"]),
        ("2026-05-12T12:00:00Z", None, ["2026-05-12T12:00:00+00:00 is in the future, 1d 0h from now"]),
        ("2062-05-11T10:00:00Z", "2062-05-11T11:00:00Z", ["36 years from now"]),
        ("1926-05-11T10:00:00Z", "1926-05-11T11:00:00Z", ["100 years ago"]),
        ("1926-05-11T10:00:00Z", "2062-05-11T11:00:00Z", ["36 years from now", "100 years ago"]),
        ("0226-05-11T10:00:00Z", None, ["1801 years ago"]),
    ],
)
def test_doubts(start: str, end: str | None, words: list[str]) -> None:
    now = datetime(2026, 5, 11, 12, tzinfo=UTC)
    found = doubts(parse_time(start), None if end is None else parse_time(end), now)
    assert len(found) == len(words)
    assert all(word in one for word, one in zip(words, found, strict=True))
