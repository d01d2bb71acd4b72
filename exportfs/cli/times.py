"""Points in time as people type them: RFC 3339, or the clock on the wall here."""

import re
from datetime import UTC, datetime

import click

_FORM = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d(?::\d\d(?:[.,]\d{1,9})?)?)\s*([Zz]|[+-]\d\d:\d\d)?", re.ASCII
)
_SERVER_FORM = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)((?:\.\d+)?)Z?", re.ASCII)


def parse_time(text: str) -> datetime:
    """An aware time of `2026-05-11T10:04:11+02:00`, or of this machine's local time, `2026-05-11 10:04`.

    ValueError, with a sentence, for what is no time, and for a local time that a change of the clocks has
    made ambiguous or has skipped.
    """
    match = _FORM.fullmatch(text.strip())
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
        raise _Sentence(f"{text!r} is not in the calendar: {error}") from None


class _Sentence(ValueError):
    """A ValueError that says all there is to say."""


def _no_time(text: str) -> str:
    server = _SERVER_FORM.fullmatch(text.strip())
    if server:
        year, month, day, hour, minute, second, fraction = server.groups()
        rfc3339 = f"{year}-{month}-{day}T{hour}:{minute}:{second}{fraction}Z"
        return f"{text!r} is the server's form, in UTC; write {rfc3339}"
    return f"{text!r} is no time: write 2026-05-11T10:04:11+02:00, or local time: 2026-05-11 10:04:11"


def _local(moment: datetime, text: str) -> datetime:
    readings = [moment.replace(fold=fold).astimezone(UTC) for fold in (0, 1)]
    aware = [reading.astimezone() for reading in readings]
    if readings[0] == readings[1]:
        return aware[0]
    both = " or ".join(form(reading) for reading in sorted(aware))
    if all(reading.replace(tzinfo=None, fold=0) == moment for reading in aware):
        raise _Sentence(f"{text!r} happens twice, as the clocks are set back; write {both}")
    raise _Sentence(f"{text!r} does not exist, as the clocks are set forward; write {both}")


def form(moment: datetime) -> str:
    """RFC 3339 with the moment's own offset; a fraction only where there is one."""
    return moment.isoformat(timespec="microseconds" if moment.microsecond else "seconds")


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
