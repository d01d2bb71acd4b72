"""Instants and intervals in this machine's time, as pages show them."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo

from exportfs.timestamps import to_rfc3339
from exportfs.zones import UnknownZone, check_local_zone


@dataclass(frozen=True, slots=True)
class Moment:
    """One instant for a page."""

    machine: str
    """RFC 3339 in UTC, for `datetime=`."""
    local: str
    """`2026-05-11 10:04:11 +02:00`; in UTC where this machine does not know its zone."""
    utc: str
    """`2026-05-11 08:04:11 UTC`"""


@dataclass(frozen=True, slots=True)
class Interval:
    """From one instant to another; either may be unknown."""

    begin: Moment | None
    end: Moment | None

    @property
    def until(self) -> Moment | None:
        """The end as one says it behind the beginning: without the day where that is the same."""
        begin, end = self.begin, self.end
        if begin is None or end is None:
            return end
        day, _, clock = end.local.partition(" ")
        return replace(end, local=clock) if begin.local.partition(" ")[0] == day else end


def zone() -> tzinfo | None:
    """For `astimezone`: None is the zone of this machine; UTC where it does not know its own."""
    try:
        check_local_zone()
    except UnknownZone:
        return UTC
    return None


def moment(when: datetime, into: tzinfo | None = None) -> Moment:
    """An aware instant, for a page. `into`: as `zone` gives it."""
    utc = when.astimezone(UTC)
    try:
        local = when.astimezone(into)
    except (OverflowError, ValueError, OSError):
        local = utc
    return Moment(to_rfc3339(utc), _clock(local), f"{_plain(utc)} UTC")


def maybe(when: datetime | None, into: tzinfo | None = None) -> Moment | None:
    """As `moment`; None of None."""
    return None if when is None else moment(when, into)


def day_of(when: datetime, into: tzinfo | None = None) -> str:
    """`2026-05-11`: the day on which it is that time there."""
    try:
        local = when.astimezone(into)
    except (OverflowError, ValueError, OSError):
        local = when.astimezone(UTC)
    return f"{local.year:04d}-{local:%m-%d}"


def _plain(when: datetime) -> str:
    fraction = f".{when.microsecond // 1000:03d}" if when.microsecond else ""
    return f"{when.year:04d}-{when:%m-%d %H:%M:%S}{fraction}"


def _clock(when: datetime) -> str:
    offset = when.utcoffset()
    if not offset:
        return f"{_plain(when)} UTC" if when.tzname() in ("UTC", None) else f"{_plain(when)} +00:00"
    text = when.isoformat()[-6:]
    return f"{_plain(when)} {text}"
