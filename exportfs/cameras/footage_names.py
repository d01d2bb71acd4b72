"""Names of footage files, and the interval that each asks for: pure but for this machine's time zone."""

import re
from datetime import UTC, datetime, timedelta

from exportfs.site import Interval
from exportfs.timestamps import instants, parse_local, parse_rfc3339
from exportfs.zones import check_local_zone

NAME = "footage"
_DAY = re.compile(r"footage@(\d{4}-\d\d-\d\d)", re.ASCII)
_BETWEEN = re.compile(r"footage@(.+?)--(.+)")
_TO_THE_MINUTE = re.compile(r"(\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d)([Zz]|[+-]\d\d:?\d\d)?", re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def asked_for(name: str, everything: Interval) -> Interval | None:
    """The interval of `footage` (everything), `footage@2026-05-11` (a local day) or `footage@FROM--TO`, in Unix
    milliseconds; None for any other name. FROM and TO are RFC 3339, or local times without an offset.

    Raises UnknownZone for local times where this machine does not know its zone."""
    if name == NAME:
        return everything
    day = _DAY.fullmatch(name)
    if day is not None:
        return _day(day[1])
    between = _BETWEEN.fullmatch(name)
    if between is None:
        return None
    begin, end = moments(between[1]), moments(between[2])
    # A local time that comes twice: the longer interval.
    return (begin[0], end[-1]) if begin and end and begin[0] < end[-1] else None


def _day(text: str) -> Interval | None:
    midnight = parse_local(f"{text}T00:00:00")
    if midnight is None or midnight.year == 9999:
        return None
    check_local_zone()
    begin, end = (instants(moment) for moment in (midnight, midnight + timedelta(days=1)))
    return (unix_ms(begin[0]), unix_ms(end[0])) if begin and end else None


def moments(text: str) -> tuple[int, ...]:
    """What a time means, in Unix milliseconds: two where the clocks are changed, none where it is not a time. Raises
    UnknownZone."""
    short = _TO_THE_MINUTE.fullmatch(text)
    if short is not None:
        text = f"{short[1]}:00{short[2] or ''}"
    exact = parse_rfc3339(text)
    if exact is not None:
        return (unix_ms(exact),)
    local = parse_local(text)
    if local is None:
        return ()
    check_local_zone()
    return tuple(unix_ms(one) for one in instants(local))


def unix_ms(moment: datetime) -> int:
    """Of an aware time, without floating point."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


def from_unix_ms(milliseconds: int) -> datetime:
    """An aware time, UTC; the nearest there is where the calendar ends before."""
    try:
        return _EPOCH + timedelta(milliseconds=milliseconds)
    except OverflowError:
        return datetime.max.replace(tzinfo=UTC) if milliseconds > 0 else datetime.min.replace(tzinfo=UTC)
