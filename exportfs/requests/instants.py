"""Timestamps in a request: taken in two forms, sent in the server's."""

from datetime import datetime, tzinfo

from google.protobuf.descriptor import FieldDescriptor

from exportfs import timestamps
from exportfs.requests.collect import quoted
from exportfs.requests.scalars import WrongError
from exportfs.zones import UnknownZone, check_local_zone

EXAMPLE = "2026-05-11T08:08:14.064Z"

FIELDS = frozenset(
    {
        ("axxonsoft.bl.mmexport.ArchiveMode", "start_timestamp"),
        ("axxonsoft.bl.mmexport.ArchiveMode", "end_timestamp"),
        ("axxonsoft.bl.primitive.TimeRange", "begin_time"),
        ("axxonsoft.bl.primitive.TimeRange", "end_time"),
        ("axxonsoft.bl.mmexport.ExternalFrame", "timestamp"),
    }
)
"""Message and field of all timestamps in Options; by their type they are but strings."""


def is_timestamp(field: FieldDescriptor) -> bool:
    message = field.containing_type
    return message is not None and (message.full_name, field.name) in FIELDS


def read_timestamp(text: str, zone: tzinfo | None) -> str:
    """The timestamp in the server's form; one that has it already passes as it is, and so does an empty one.

    Raises WrongError: no timestamp, no such date, or a local time, of which it cannot be known when it is.
    `zone` is for the explanation only; None is this machine's.
    """
    if not text or timestamps.in_server_form(text):
        return text
    instant = timestamps.parse_rfc3339(text)
    if instant is not None:
        return timestamps.to_server(instant)
    local = timestamps.parse_local(text)
    if local is None:
        if timestamps.looks_like(text) and timestamps.in_leap_second(text):
            raise WrongError(
                f"{quoted(text)} is a leap second, which the server's clock does not have; give the second before or "
                "after it"
            )
        if timestamps.looks_like(text):
            raise WrongError(f"there is no such date, time or offset: {quoted(text)}")
        raise WrongError(
            f'must be a timestamp such as "{EXAMPLE}", or "20260511T080814.064" in UTC, not {quoted(text)}'
        )
    raise WrongError(_without_offset(text, _readings(local, zone), timestamps.exists(local, zone)))


def _readings(local: datetime, zone: tzinfo | None) -> tuple[str, ...]:
    """What a local time may mean; nothing where this machine does not know its zone."""
    if zone is None:
        try:
            check_local_zone()
        except UnknownZone:
            return ()
    return tuple(timestamps.with_offset(when) for when in timestamps.instants(local, zone))


def _without_offset(text: str, meant: tuple[str, ...], exists: bool) -> str:
    said = f"{quoted(text)} has no offset from UTC, so it is not certain when it is"
    if len(meant) == 2:
        change = "comes twice" if exists else "is left out"
        return f"{said}: the clocks change and this time {change}; give an offset: {meant[0]} or {meant[1]}"
    utc = text.replace(" ", "T") + "Z"
    if not meant or meant[0].endswith("+00:00"):
        return f"{said}; give an offset, such as {utc} for UTC"
    return f"{said}; give an offset, such as {meant[0]} (this machine's zone) or {utc} (UTC)"
