"""Points in time as people type them: RFC 3339, or the clock on the wall here."""

import re
from datetime import date, datetime, timedelta

import click

from exportfs.timestamps import exists, instants, to_rfc3339, with_offset
from exportfs.units import human_duration
from exportfs.zones import UnknownZone, check_local_zone

CLOCK_SKEW = timedelta(minutes=1)
"""How far a server's clock may be ahead of ours before its present is our future."""
LONGEST_MEMORY = timedelta(days=3653)
"""Ten years: what is older is asked about. Archives hold weeks, some of them years."""

_FORM = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?)\s*([Zz]|[+-]\d\d:\d\d)?", re.ASCII
)
_RELATIVE = re.compile(
    r"(today|yesterday)[Tt ]\s*(\d\d?:\d\d(?::\d\d(?:[.,]\d{1,9})?)?)", re.ASCII | re.IGNORECASE
)
_DAY = re.compile(r"\d{4}-\d\d-\d\d|today|yesterday", re.ASCII | re.IGNORECASE)
_CLOCK = re.compile(r"\d\d?:\d\d(:\d\d)?", re.ASCII)
_SERVER_FORM = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)((?:\.\d+)?)Z?", re.ASCII)


def parse_time(text: str, today: date | None = None) -> datetime:
    """An aware time of `2026-05-11T10:04:11+02:00`, or of this machine's local time, `2026-05-11 10:04`, `today 10:04`
    or `yesterday 10:04`. `today`: the local date, for tests.

    ValueError, with a sentence, for what is not a time, for a local time that a change of the clocks has made
    ambiguous or has skipped, and for local time where this machine does not know its zone.
    """
    match = _FORM.fullmatch(_dated(text.strip(), today))
    if not match:
        raise ValueError(_no_time(text))
    day, clock, offset = match.groups()
    # The fraction: microseconds are the finest that Python has, and finer than any footage.
    clock = re.sub(r"[.,](\d+)", lambda fraction: "." + (fraction[1] + "000000")[:6], clock)
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}")
        if offset is None:
            return _local(moment, text)
        return datetime.fromisoformat(f"{day}T{clock}{'+00:00' if offset in 'Zz' else offset}")
    except (ValueError, OverflowError) as error:
        if isinstance(error, _Sentence):
            raise
        raise _Sentence(f"invalid time {text!r}: not in the calendar: {error}") from None


class _Sentence(ValueError):
    """A ValueError that says all there is to say."""


def _dated(text: str, today: date | None) -> str:
    """`yesterday 9:00` with the date in place of the word: of the calendar, not 24 hours ago."""
    match = _RELATIVE.fullmatch(text)
    if match is None:
        return text
    day = datetime.now().date() if today is None else today
    if match[1].lower() == "yesterday":
        day -= timedelta(days=1)
    clock = match[2] if match[2].index(":") == 2 else f"0{match[2]}"
    return f"{day.isoformat()} {clock}"


def _no_time(text: str) -> str:
    if _DAY.fullmatch(text.strip()):
        return f"invalid time {text!r}: give the time of day, too, as in '{text.strip()} 10:04'"
    if _CLOCK.fullmatch(text.strip()):
        clock = text.strip()
        return f"invalid time {text!r}: give the date, too, as in 'today {clock}' or '2026-05-11 {clock}'"
    server = _SERVER_FORM.fullmatch(text.strip())
    if server:
        year, month, day, hour, minute, second, fraction = server.groups()
        rfc3339 = f"{year}-{month}-{day}T{hour}:{minute}:{second}{fraction}Z"
        return f"invalid time {text!r}: this is the server's form, in UTC; write {rfc3339}"
    return (
        f"invalid time {text!r}: give RFC 3339, as in 2026-05-11T10:04:11+02:00, or local time, as in "
        "'2026-05-11 10:04:11', 'today 10:04' or 'yesterday 10:04'"
    )


def _local(moment: datetime, text: str) -> datetime:
    try:
        check_local_zone()
    except UnknownZone as error:
        raise _Sentence(f"{text!r} is local time, and {error}") from None
    # As clocks show it: what is skipped is read as just before, and as just after the change.
    meant = [instant.astimezone() for instant in instants(moment)]
    if not meant:
        raise _Sentence(f"{text!r} is out of the range of local time; give an offset")
    if len(meant) == 1:
        return meant[0]
    both = " or ".join(form(one) for one in meant)
    if exists(moment):
        raise _Sentence(f"{text!r} happens twice, as the clocks are set back; write {both}")
    raise _Sentence(f"{text!r} does not exist, as the clocks are set forward; write {both}")


def form(moment: datetime) -> str:
    """RFC 3339 with the moment's own offset; a fraction only where there is one."""
    return with_offset(moment)


def understood(start: datetime, end: datetime | None) -> str:
    """A line that says which footage was understood: in local time with its offset, and in UTC.

    Where this machine does not know its zone, local time is what was typed.
    """
    try:
        zone = check_local_zone()
    except UnknownZone:
        zone, local = "as given", (start, end)
    else:
        local = (start.astimezone(), None if end is None else end.astimezone())
    utc = [to_rfc3339(moment) for moment in (start, end) if moment is not None]
    here = [form(moment) for moment in local if moment is not None]
    return f"footage of {' to '.join(here)} ({zone}), in UTC {' to '.join(utc)}"


def doubts(start: datetime, end: datetime | None, now: datetime) -> list[str]:
    """What may be a mistake in typing, a sentence each: years far off, and the future."""
    found = []
    last = start if end is None else end
    if last > now + CLOCK_SKEW:
        found.append(f"{form(last)} is in the future, {_ago(last - now)} from now")
    if start < now - LONGEST_MEMORY:
        found.append(f"{form(start)} is {_ago(now - start)} ago")
    return found


def _ago(span: timedelta) -> str:
    if span >= timedelta(days=730):
        return f"{span.days // 365} years"
    return human_duration(span.total_seconds())


class _Time(click.ParamType):  # type: ignore[type-arg] # generic in newer versions only
    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        if not isinstance(value, str):
            return value
        try:
            return parse_time(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


TIME = _Time()
