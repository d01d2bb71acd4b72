"""From Options back to the JSON that new/ takes, and a first request to start from."""

import base64
import json
import math
import re
import struct
from datetime import datetime
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from exportfs.requests.fill import DURATION, is_map
from exportfs.requests.summary import read_options
from exportfs.timestamps import to_rfc3339

_UNPRINTABLE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
"""What could act on a terminal or turn the text around; C0 is escaped by JSON itself."""

_FLOAT_MAX = 3.4028234663852886e38

_CAMERA = "hosts/Server/DeviceIpint.1/SourceEndpoint.video:0:0"


def to_json(options: bytes, *, indent: int | None = 2) -> str:
    """The protobuf JSON form (camelCase) of serialized Options, as `parse` takes it.

    For valid options `parse` gives the same bytes again. Of any others it shows what there is: out-of-range
    enum values as numbers, NaN as a string; only fields that the contract does not know are left out.
    Raises Corrupt where the bytes are no Options at all.
    """
    text = json.dumps(_message(read_options(options)), indent=indent, ensure_ascii=False, allow_nan=False)
    # These can only stand within strings.
    return _UNPRINTABLE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def template(*, camera: str | None, archive: str | None, begin: datetime, end: datetime) -> str:
    """A valid request to start from: the footage between two aware times, as MP4.

    `camera` and `archive` are access points; without a camera a made-up one stands in, without an archive
    the server's default is used. Raises ValueError for a time without a zone.
    """
    usable = camera is not None and camera.strip() and camera.isprintable()
    source: dict[str, Any] = {"origin": camera if usable else _CAMERA}
    if archive and archive.strip() and archive.isprintable():
        source["storages"] = [archive]
    request = {
        "archive": {
            "sources": [source],
            "startTimestamp": to_rfc3339(begin),
            "endTimestamp": to_rfc3339(end),
        },
        "stream": {"format": "MP4"},
    }
    return json.dumps(request, indent=2, ensure_ascii=False) + "\n"


def _message(message: Any) -> Any:
    if message.DESCRIPTOR.full_name == DURATION:
        return _duration(message.seconds, message.nanos)
    result: dict[str, Any] = {}
    for field in sorted(message.DESCRIPTOR.fields, key=lambda field: field.number):
        value = getattr(message, field.name)
        if is_map(field):
            if value:
                result[field.json_name] = {key: _message(value[key]) for key in sorted(value)}
        elif field.is_repeated:
            if value:
                result[field.json_name] = [_value(field, item) for item in value]
        elif message.HasField(field.name) if field.has_presence else _is_set(value):
            result[field.json_name] = _value(field, value)
    return result


def _is_set(value: Any) -> bool:
    # Minus zero is set: protobuf sends it.
    return bool(value) or (isinstance(value, float) and math.copysign(1, value) < 0)


def _value(field: FieldDescriptor, value: Any) -> Any:
    if field.message_type is not None:
        return _message(value)
    if field.cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        known = field.enum_type.values_by_number.get(value) if field.enum_type else None
        return known.name if known is not None else value
    if field.cpp_type in (FieldDescriptor.CPPTYPE_INT64, FieldDescriptor.CPPTYPE_UINT64):
        return str(value)  # The mapping's: JavaScript's numbers hold only 53 bits.
    if field.type == FieldDescriptor.TYPE_BYTES:
        return base64.b64encode(value).decode("ascii")
    if isinstance(value, float):
        return _float(value, single=field.cpp_type == FieldDescriptor.CPPTYPE_FLOAT)
    return value


def _float(value: float, *, single: bool) -> Any:
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "Infinity" if value > 0 else "-Infinity"
    if single:
        # The shortest decimal that is the same 32-bit float: 0.1, not 0.10000000149011612.
        for digits in range(6, 10):
            short = float(f"{value:.{digits}g}")
            # Other readers refuse what exceeds the greatest 32-bit float before it is rounded.
            if _same_single(short, value) and abs(short) <= _FLOAT_MAX:
                return short
    return value


def _same_single(text: float, value: float) -> bool:
    try:
        return bool(struct.pack("<f", text) == struct.pack("<f", value))
    except OverflowError:
        return False


def _duration(seconds: int, nanos: int) -> str:
    total = seconds * 1_000_000_000 + nanos
    whole, fraction = divmod(abs(total), 1_000_000_000)
    digits = (
        f".{fraction:09d}" if fraction % 1000 else f".{fraction // 1000:06d}" if fraction % 1_000_000 else ""
    )
    if fraction and not digits:
        digits = f".{fraction // 1_000_000:03d}"
    return f"{'-' if total < 0 else ''}{whole}{digits}s"
