"""Instants as text."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exportfs import timestamps
from exportfs.did_you_mean import nearest
from exportfs.requests.instants import read_timestamp
from exportfs.requests.scalars import WrongError

BERLIN = ZoneInfo("Europe/Berlin")
instants = st.datetimes(timezones=st.just(UTC))


@settings(deadline=None)
@given(instants)
def test_round_trips(when: datetime) -> None:
    assert timestamps.parse_server(timestamps.to_server(when)) == when
    assert timestamps.parse_rfc3339(timestamps.to_rfc3339(when)) == when
    assert timestamps.parse_rfc3339(timestamps.to_server(when) + "Z") == when


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("20260511T080814", datetime(2026, 5, 11, 8, 8, 14, tzinfo=UTC)),
        ("20260511T080814.064000", datetime(2026, 5, 11, 8, 8, 14, 64000, tzinfo=UTC)),
        ("20260511T080814.064", datetime(2026, 5, 11, 8, 8, 14, 64000, tzinfo=UTC)),
        ("20260511T080814,5", datetime(2026, 5, 11, 8, 8, 14, 500000, tzinfo=UTC)),
        ("20260511T235959.9999999", datetime(2026, 5, 11, 23, 59, 59, 999999, tzinfo=UTC)),
        ("00010101T000000", datetime(1, 1, 1, tzinfo=UTC)),
        ("", None),
        ("20260511T080814.", None),
        ("20260230T080814", None),
        ("20260511T240000", None),
        ("20260511T080860", None),
        ("00000101T000000", None),
        ("20260511T080814Z", datetime(2026, 5, 11, 8, 8, 14, tzinfo=UTC)),
        ("2026-05-11T10:08:14.5+02:00", datetime(2026, 5, 11, 8, 8, 14, 500000, tzinfo=UTC)),
        ("20260511T080814\n", None),
        ("\u0662\u0660\u0662\u06660511T080814", None),
        ("2026-05-11T08:08:14", None),
        ("not-a-date-time", None),
    ],
)
def test_parse_server(text: str, expected: datetime | None) -> None:
    assert timestamps.parse_server(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-05-11T08:08:14.064Z", "20260511T080814.064000"),
        ("2026-05-11t08:08:14z", "20260511T080814"),
        ("2026-05-11 08:08:14+00:00", "20260511T080814"),
        ("2026-05-11T08:08:14-00:00", "20260511T080814"),
        ("2026-05-11T10:08:14+02:00", "20260511T080814"),
        ("2026-05-11T10:08:14+0200", "20260511T080814"),
        ("2026-05-11T10:08:14 +02", "20260511T080814"),
        ("2026-05-10T23:08:14.5-09:30", "20260511T083814.500000"),
        ("2026-12-31T23:30:00.000001-01:00", "20270101T003000.000001"),
        ("2026-05-11T08:08:14.1234567Z", "20260511T080814.123456"),
        ("20260511T080411Z", "20260511T080411"),
        ("20260511T100411.5+02:00", "20260511T080411.500000"),
        ("2026-05-11T08:08:14", None),
        ("20260511T080411", None),
        ("2026-05-11T08:08Z", None),
        ("2026-05-11", None),
        ("2026-02-29T08:08:14Z", None),
        ("2026-05-11T08:08:60Z", None),
        ("2026-05-11T08:08:14+24:00", None),
        ("2026-05-11T08:08:14+02:60", None),
        ("0001-01-01T00:00:00+01:00", None),
        ("9999-12-31T23:59:59-01:00", None),
        ("2026-05-11T08:08:14Zx", None),
        ("1747000000", None),
    ],
)
def test_parse_rfc3339(text: str, expected: str | None) -> None:
    found = timestamps.parse_rfc3339(text)
    assert (None if found is None else timestamps.to_server(found)) == expected


def test_to_rfc3339() -> None:
    when = datetime(2026, 5, 11, 10, 8, 14, 64000, tzinfo=timezone(timedelta(hours=2)))
    assert timestamps.to_rfc3339(when) == "2026-05-11T08:08:14.064Z"
    assert timestamps.to_rfc3339(when.replace(microsecond=0)) == "2026-05-11T08:08:14Z"
    assert timestamps.to_rfc3339(when.replace(microsecond=64001)) == "2026-05-11T08:08:14.064001Z"
    assert timestamps.to_server(when) == "20260511T080814.064000"


def test_without_a_zone_there_is_no_instant() -> None:
    for write in (timestamps.to_server, timestamps.to_rfc3339):
        with pytest.raises(ValueError, match="time zone"):
            write(datetime(2026, 5, 11))


ONCE = (datetime(2026, 5, 11, 8, 8, 14), ("2026-05-11T08:08:14+02:00",), True)
TWICE = (
    datetime(2026, 10, 25, 2, 30),
    ("2026-10-25T02:30:00+02:00", "2026-10-25T02:30:00+01:00"),
    True,
)
NEVER = (datetime(2026, 3, 29, 2, 30), ("2026-03-29T02:30:00+02:00", "2026-03-29T02:30:00+01:00"), False)


@pytest.mark.parametrize(("local", "meant", "exists"), [ONCE, TWICE, NEVER])
def test_readings(local: datetime, meant: tuple[str, ...], exists: bool) -> None:
    assert tuple(map(timestamps.with_offset, timestamps.instants(local, BERLIN))) == meant
    assert timestamps.exists(local, BERLIN) is exists


@pytest.fixture
def system_in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("system_in_berlin")
@pytest.mark.parametrize(("local", "meant", "exists"), [ONCE, TWICE, NEVER])
def test_readings_of_the_systems_zone(local: datetime, meant: tuple[str, ...], exists: bool) -> None:
    assert tuple(map(timestamps.with_offset, timestamps.instants(local))) == meant
    assert timestamps.exists(local) is exists


@settings(deadline=None)
@given(st.datetimes(), st.sampled_from([None, UTC, BERLIN, ZoneInfo("America/St_Johns")]))
def test_readings_never_fail(local: datetime, zone: ZoneInfo | None) -> None:
    found = timestamps.instants(local, zone)
    assert len(found) <= 2
    assert all(len(timestamps.with_offset(when)) <= 32 for when in found if 1 < when.year < 9999)
    assert timestamps.exists(local, zone) in (True, False)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("archve", "archive"),
        ("start_timestamp", "startTimestamp"),
        ("STARTTIMESTAMP", "startTimestamp"),
        ("xyz", None),
        ("", None),
        ("archive" * 20, None),
    ],
)
def test_nearest(word: str, expected: str | None) -> None:
    assert nearest(word, ["archive", "live", "startTimestamp"]) == expected


@pytest.mark.parametrize("text", ["2016-12-31T23:59:60Z", "2017-01-01T00:59:60+01:00", "20161231T235960"])
def test_a_leap_second_is_refused_as_what_it_is(text: str) -> None:
    with pytest.raises(WrongError, match="leap second"):
        read_timestamp(text, UTC)
