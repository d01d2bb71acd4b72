"""JSON values taken as protobuf scalars, as the protobuf JSON mapping has it, but strictly.

Each function gives the value for the message or raises Wrong with what is wrong, to follow on a field's path.
"""

import base64
import binascii
import functools
import math
import re
import struct
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor

from exportfs.did_you_mean import nearest
from exportfs.requests.collect import is_string, kind, quoted
from exportfs.requests.json_text import Number

_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?")
_DURATION = re.compile(r"(?P<sign>-?)(?P<seconds>[0-9]{1,20})(?:\.(?P<fraction>[0-9]{1,9}))?s")
_BASE64 = re.compile(r"[A-Za-z0-9+/]*+={0,2}")
_LONGEST_DURATION = 315_576_000_000
"""Seconds either way: the limit of google.protobuf.Duration."""

_INTEGERS = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.CPPTYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 2**64 - 1),
}


class WrongError(ValueError):
    """The value does not fit the field; `str()` says why, without the field."""


def read_bool(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise WrongError(f"must be true or false (without quotes), not {kind(value)}")


def read_string(value: Any) -> str:
    if not is_string(value):
        raise WrongError(f"must be a string, not {kind(value)}")
    text: str = value
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise WrongError("holds half of a surrogate pair, which is not a character") from error
    return text


def read_bytes(value: Any) -> bytes:
    """Base64, standard or URL alphabet, with or without padding."""
    if not is_string(value):
        raise WrongError(f"must be a base64 string, not {kind(value)}")
    plain = value.replace("-", "+").replace("_", "/")
    if not _BASE64.fullmatch(plain):
        raise WrongError("is not base64: it holds other characters than A-Z a-z 0-9 + / and = at the end")
    bare = plain.rstrip("=")
    padding = "=" * (-len(bare) % 4)
    if plain != bare and plain != bare + padding:
        raise WrongError("is not base64: the padding at the end does not fit")
    try:
        return base64.b64decode(bare + padding, validate=True)
    except binascii.Error as error:
        raise WrongError("is not base64: its length is impossible, so a part is missing") from error


def _decimal(value: Any, what: str) -> Decimal:
    """The exact value of a JSON number, or of a string that holds one (the mapping allows both)."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise WrongError(f"must be {what}, not {kind(value)}")
    text = str(value)
    if not _NUMBER.fullmatch(text):
        raise WrongError(f"must be {what}, not {kind(value)}")
    # Exponents beyond anything a field holds would make integers of as many digits.
    exponent = re.search("[eE](.*)", text)
    if len(text) > 1000 or (exponent and len(exponent[1].lstrip("+-0")) > 3):
        raise WrongError(f"is out of range: {kind(value)}")
    return Decimal(text)


def read_integer(value: Any, low: int, high: int) -> int:
    number = _decimal(value, "a whole number")
    if number != number.to_integral_value():
        raise WrongError(f"must be a whole number, not {kind(value)}")
    if not low <= number <= high:
        raise WrongError(f"must be from {low} to {high}, not {number:f}"[:200])
    return int(number)


def read_double(value: Any) -> float:
    number = float(_decimal(value, "a number"))
    if math.isinf(number):
        raise WrongError(f"is out of range: {kind(value)}")
    return number


def read_float(value: Any) -> float:
    """Rounded to what a 32-bit float holds."""
    number = read_double(value)
    try:
        (single,) = struct.unpack("<f", struct.pack("<f", number))
    except OverflowError as error:
        raise WrongError(f"is out of range of a 32-bit float (±3.4e38): {kind(value)}") from error
    return float(single)


def read_enum(value: Any, enum: EnumDescriptor | None) -> int:
    """By name, or by number where the contract knows the number."""
    assert enum is not None
    if is_string(value):
        numbers = _numbers(enum)
        if value in numbers:
            return numbers[value]
        guess = nearest(value, numbers)
        hint = f"; did you mean {guess}?" if guess else ""
        raise WrongError(f"has no value {quoted(value)}; allowed are {_allowed(enum)}{hint}")
    if isinstance(value, bool) or not isinstance(value, int | Number):
        raise WrongError(f"must be one of {_allowed(enum)}, not {kind(value)}")
    try:
        number = read_integer(value, -(2**31), 2**31 - 1)
    except WrongError:
        number = -1
    if number not in enum.values_by_number:
        raise WrongError(
            f"has no value {kind(value).removeprefix('the number ')}; allowed are {_allowed(enum)}"
        )
    return number


@functools.cache
def _numbers(enum: EnumDescriptor) -> dict[str, int]:
    # Not values_by_name.get(): that raises SystemError for a lone surrogate (protobuf 7.36).
    return {value.name: value.number for value in enum.values}


def _allowed(enum: EnumDescriptor) -> str:
    return ", ".join(f"{value.name} ({value.number})" for value in enum.values)


def read_duration(value: Any) -> tuple[int, int]:
    """Seconds and nanoseconds of `"1.5s"`, with the same sign."""
    match = _DURATION.fullmatch(value) if is_string(value) else None
    if match is None:
        hint = f': write "{value}s"' if isinstance(value, int) and not isinstance(value, bool) else ""
        raise WrongError(f'must be a string of seconds such as "90s" or "1.5s", not {kind(value)}{hint}')
    seconds, nanos = int(match["seconds"]), int((match["fraction"] or "").ljust(9, "0"))
    if seconds > _LONGEST_DURATION or (seconds == _LONGEST_DURATION and nanos):
        raise WrongError(f"is longer than a duration can be ({_LONGEST_DURATION}s): {kind(value)}")
    sign = -1 if match["sign"] else 1
    return sign * seconds, sign * nanos


def read_scalar(value: Any, descriptor: FieldDescriptor) -> Any:
    """The value for a field that is not a message. Raises WrongError."""
    cpp_type = descriptor.cpp_type
    if cpp_type in _INTEGERS:
        return read_integer(value, *_INTEGERS[cpp_type])
    if cpp_type == FieldDescriptor.CPPTYPE_ENUM:
        return read_enum(value, descriptor.enum_type)
    if descriptor.type == FieldDescriptor.TYPE_BYTES:
        return read_bytes(value)
    return _READERS[cpp_type](value)


_READERS: dict[int, Callable[[Any], Any]] = {
    FieldDescriptor.CPPTYPE_BOOL: read_bool,
    FieldDescriptor.CPPTYPE_STRING: read_string,
    FieldDescriptor.CPPTYPE_FLOAT: read_float,
    FieldDescriptor.CPPTYPE_DOUBLE: read_double,
}
