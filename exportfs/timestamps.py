"""Instants as text: the server's form, RFC 3339, and local times that are neither.

The server's form is UTC in ISO 8601 basic form with an optional fraction and no zone
(observed: `20260511T080814.064000`). Nothing here goes through floating point.
"""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

_SERVER = re.compile(
    r"(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})"
    r"T(?P<hour>[0-9]{2})(?P<minute>[0-9]{2})(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?"
)
_EXTENDED = re.compile(
    r"(?P<year>[0-9]{4})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
    r"[Tt ](?P<hour>[0-9]{2}):(?P<minute>[0-9]{2}):(?P<second>[0-9]{2})(?:[.,](?P<fraction>[0-9]+))?"
)
_OFFSET = re.compile(r" ?(?:[Zz]|(?P<sign>[+-])(?P<hours>[0-9]{2})(?::?(?P<minutes>[0-9]{2}))?)")


def _naive(match: re.Match[str]) -> datetime | None:
    """The date and time that matched, or None where the calendar has no such thing."""
    year, month, day, hour, minute, second, fraction = match.groups()
    # Cut, not rounded: 59.9999999 must not become the next minute.
    micros = int(fraction[:6].ljust(6, "0")) if fraction else 0
    try:
        return datetime(int(year), int(month), int(day), int(hour), int(minute), int(second), micros)
    except ValueError:
        return None


def _offset(text: str) -> timedelta | None:
    match = _OFFSET.fullmatch(text)
    if match is None:
        return None
    if match["sign"] is None:
        return timedelta(0)
    hours, minutes = int(match["hours"]), int(match["minutes"] or 0)
    if hours > 23 or minutes > 59:
        return None
    offset = timedelta(hours=hours, minutes=minutes)
    return -offset if match["sign"] == "-" else offset


def in_server_form(text: str) -> bool:
    """Whether a timestamp is in the server's form as it is."""
    match = _SERVER.fullmatch(text)
    return match is not None and _naive(match) is not None


def parse_server(text: str) -> datetime | None:
    """The instant (aware, UTC) of a timestamp in the server's form, or in RFC 3339, should one write that; None for
    anything else.

    Digits of the fraction beyond microseconds are cut off.
    """
    match = _SERVER.fullmatch(text)
    if match is None:
        return parse_rfc3339(text)
    naive = _naive(match)
    return naive.replace(tzinfo=UTC) if naive else None


def to_server(when: datetime) -> str:
    """An aware `when` in the server's form, with six digits of fraction where there is one.

    Raises ValueError for a `when` without a zone, OverflowError outside the years 1 to 9999 of UTC.
    """
    utc = _utc(when)
    fraction = f".{utc.microsecond:06d}" if utc.microsecond else ""
    return f"{utc.year:04d}{utc:%m%dT%H%M%S}{fraction}"


def parse_rfc3339(text: str) -> datetime | None:
    """The instant (aware, UTC) of an RFC 3339 timestamp; None for anything else, also without an offset.

    Also taken: ISO 8601 basic form with an offset (`20260511T080814Z`, as in the names of session
    directories), offsets without colon or minutes. Digits beyond microseconds are cut off.
    """
    match = _EXTENDED.match(text) or _SERVER.match(text)
    naive = _naive(match) if match else None
    if match is None or naive is None:
        return None
    offset = _offset(text[match.end() :])
    if offset is None:
        return None
    try:
        return naive.replace(tzinfo=timezone(offset)).astimezone(UTC)
    except OverflowError:
        return None


def to_rfc3339(when: datetime) -> str:
    """An aware `when` in UTC as RFC 3339, with milliseconds, or microseconds where these say more.

    `2026-05-11T08:08:14Z`, `2026-05-11T08:08:14.064Z`. Raises as `to_server` does.
    """
    utc = _utc(when)
    micros = utc.microsecond
    fraction = "" if not micros else f".{micros // 1000:03d}" if micros % 1000 == 0 else f".{micros:06d}"
    return f"{utc.year:04d}-{utc:%m-%dT%H:%M:%S}{fraction}Z"


def parse_local(text: str) -> datetime | None:
    """The naive date and time of an RFC 3339 timestamp that lacks its offset; None for anything else."""
    match = _EXTENDED.fullmatch(text)
    return _naive(match) if match else None


def instants(local: datetime, zone: tzinfo | None = None) -> tuple[datetime, ...]:
    """What a naive `local` time means in `zone` (None: this machine's), with its offset.

    One reading as a rule; two where the clocks are put back (the time comes twice) or forward (it never
    comes: read with the offset before and after the change), the earlier one first. Empty where the zone
    cannot tell.
    """
    found: set[timedelta] = set()
    for fold in (0, 1):
        try:
            offset = _utc_offset(local.replace(fold=fold), zone)
        except (OverflowError, ValueError, OSError):
            return ()
        if offset is None:
            return ()
        found.add(offset)
    # The greater the offset, the earlier it is.
    bare = local.replace(fold=0)
    return tuple(bare.replace(tzinfo=timezone(offset)) for offset in sorted(found, reverse=True))


def with_offset(when: datetime) -> str:
    """An aware `when` as RFC 3339 with its own offset, and a fraction only where there is one; in UTC where its offset
    is not one of whole minutes, which RFC 3339 cannot say (local mean time, before the zones)."""
    offset = when.utcoffset()
    if offset is None or offset % timedelta(minutes=1):
        return to_rfc3339(when)
    return when.isoformat(timespec="microseconds" if when.microsecond else "seconds")


def exists(local: datetime, zone: tzinfo | None = None) -> bool:
    """Whether clocks in `zone` ever show the naive `local` time."""
    try:
        offset = _utc_offset(local, zone)
        if offset is None:
            return True
        back = (local - offset).replace(tzinfo=UTC).astimezone(zone)
    except (OverflowError, ValueError, OSError):
        return True
    return back.replace(tzinfo=None) == local.replace(fold=0)


def looks_like(text: str) -> bool:
    """Whether a text has the shape of a timestamp, whatever its numbers are."""
    match = _EXTENDED.match(text) or _SERVER.match(text)
    if match is None:
        return False
    return match.end() == len(text) or _OFFSET.fullmatch(text, match.end()) is not None


def in_leap_second(text: str) -> bool:
    """Whether a timestamp's second is the 61st of its minute."""
    match = _EXTENDED.match(text) or _SERVER.match(text)
    return match is not None and match["second"] == "60"


def microseconds_cut(text: str) -> bool:
    """Whether a timestamp's fraction says more than microseconds hold."""
    match = _EXTENDED.match(text) or _SERVER.match(text)
    return match is not None and bool((match["fraction"] or "")[6:].strip("0"))


def _utc_offset(local: datetime, zone: tzinfo | None) -> timedelta | None:
    if zone is not None:
        return local.replace(tzinfo=zone).utcoffset()
    # astimezone() reads a naive time as the system's; its own offset is of no use within a gap.
    return local.replace(fold=0) - local.astimezone(UTC).replace(tzinfo=None)


def _utc(when: datetime) -> datetime:
    if when.utcoffset() is None:
        raise ValueError("an instant needs a time zone")
    return when.astimezone(UTC)
