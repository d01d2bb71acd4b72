"""The texts of the files in `cameras/`: pure."""

import json
from collections.abc import Mapping, Sequence
from datetime import datetime

from exportfs.cameras.footage import HOUR, MINUTE, SECOND, Footage
from exportfs.cameras.footage_names import from_unix_ms
from exportfs.naming import readable
from exportfs.record import ArchiveJson, CameraJson, StreamJson
from exportfs.site import Archive, Camera, Interval, Stream

ACCESS: Mapping[int, str] = {
    10: "forbidden",
    15: "archive only",
    20: "monitoring while protected",
    30: "monitoring",
    40: "archive",
    50: "monitoring and archive",
    60: "full",
}
"""`ECameraAccess` in words."""


def camera_record(camera: Camera) -> bytes:
    """`camera.json`. What belongs to a camera is null as long as nobody has looked into it."""
    known = camera.detailed
    record: CameraJson = {
        "label": printable(camera.label),
        "name": printable(camera.name),
        "id": printable(camera.id),
        "access_point": printable(camera.access_point),
        "node": printable(camera.node),
        "enabled": camera.enabled,
        "active": camera.active,
        "access": ACCESS.get(camera.access),
        "exportable": camera.exportable,
        "recorded": camera.has_archives,
        "streams": [_stream(one) for one in camera.streams] if known else None,
        "microphones": [_stream(one) for one in camera.microphones] if known else None,
        "archives": [_archive(one) for one in camera.archives] if known else None,
        "comment": printable(camera.comment),
    }
    return (json.dumps(record, ensure_ascii=False, indent=2) + "\n").encode()


def _stream(stream: Stream) -> StreamJson:
    return {"access_point": printable(stream.access_point), "name": printable(stream.name)}


def _archive(archive: Archive) -> ArchiveJson:
    return {
        "name": printable(archive.name),
        "access_point": printable(archive.access_point),
        "default": archive.default,
        "embedded": archive.embedded,
        "active": archive.active,
    }


def footage_text(footage: Footage) -> bytes:
    """A `footage` file: a line that begins with `#`, and one for each interval."""
    name = printable(footage.archive.name)
    kind = "exact" if footage.zoom.exact else f"coarse: gaps under {_gap(footage.zoom.gap)} are not shown"
    whole = "complete" if footage.complete else "cut: there is more after the last line"
    lines = [f"# {name} ({printable(footage.archive.access_point)}); {kind}; {whole}"]
    lines += [interval_line(one) for one in footage.intervals]
    return ("\n".join(lines) + "\n").encode()


def interval_line(interval: Interval) -> str:
    """Begin, end and length: `2026-05-11T10:04:11.155+02:00 2026-05-11T11:00:00.000+02:00 55:48.845`."""
    begin, end = interval
    return f"{local_time(begin)} {local_time(end)} {length(end - begin)}"


def local_time(unix_ms: int) -> str:
    """RFC 3339 with this machine's offset, to the millisecond where it does not end at a second."""
    return _local(from_unix_ms(unix_ms)).isoformat(timespec="milliseconds" if unix_ms % SECOND else "seconds")


def _local(moment: datetime) -> datetime:
    try:
        return moment.astimezone()
    except (OverflowError, ValueError, OSError):  # the ends of the calendar
        return moment


def length(milliseconds: int) -> str:
    """`55:48.845`, `25:00:00`: hours where there are any."""
    rest, millis = divmod(milliseconds, SECOND)
    rest, seconds = divmod(rest, 60)
    hours, minutes = divmod(rest, 60)
    front = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{front}:{seconds:02}" + (f".{millis:03}" if millis else "")


def _gap(milliseconds: int) -> str:
    return f"{milliseconds // HOUR} h" if milliseconds >= HOUR else f"{milliseconds // MINUTE} min"


def printable(text: str) -> str:
    """Bytes that were not UTF-8 as U+FFFD, and nothing that acts on a terminal or breaks a line."""
    if text.isprintable():  # nearly always, and a hundred times as fast
        return text
    return "".join(" " if char < " " or char in "\x7f\u2028\u2029" else char for char in readable(text))


def labels(cameras: Sequence[Camera]) -> list[str]:
    """For people and records."""
    return [printable(camera.label) for camera in cameras]
