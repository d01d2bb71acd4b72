"""Cuts serialized messages at their top level, without copying what they hold.

Two uses need it. A download block is megabytes of bytes in a wrapper: parsing it into a message copies it twice.
And one session with a string that is not UTF-8 would make a whole page of a listing unreadable, so sessions are
cut out and parsed one by one. Format: https://protobuf.dev/programming-guides/encoding/
"""

from collections.abc import Iterator

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class MalformedMessage(ValueError):
    """The bytes are no protobuf message."""


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """(field number, value) of each field: an int for varints, a view for length-delimited and fixed fields.

    Raises MalformedMessage.
    """
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise MalformedMessage("field number 0")
        if kind == _VARINT:
            value, position = _varint(message, position)
            yield number, value
            continue
        if kind == _BYTES:
            length, position = _varint(message, position)
        elif kind == _FIXED64:
            length = 8
        elif kind == _FIXED32:
            length = 4
        else:
            raise MalformedMessage(f"wire type {kind}")
        if position + length > end:
            raise MalformedMessage("a field reaches beyond the end")
        yield number, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    result = shift = 0
    try:
        while True:
            byte = message[position]
            position += 1
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return result & 0xFFFFFFFFFFFFFFFF, position
            shift += 7
            if shift > 63:
                raise MalformedMessage("a varint of more than ten bytes")
    except IndexError:
        raise MalformedMessage("a varint reaches beyond the end") from None


def file_chunk(message: bytes | bytearray) -> tuple[int, memoryview]:
    """(index, data) of a serialized FileChunk; the data is a view of the message. Raises MalformedMessage."""
    index, data = 0, memoryview(b"")
    for number, value in fields(memoryview(message)):
        if number == 1 and isinstance(value, int):
            index = value
        elif number == 2 and not isinstance(value, int):
            data = value
    return index, data


def file_chunk_head(message: memoryview) -> tuple[int, int, int] | None:
    """(index, bytes of data, offset of the data) by the beginning of a serialized FileChunk; None where it does not
    begin with these two, in this order, or more of it is needed to tell. Raises MalformedMessage."""
    index = position = 0
    for expected, kind in ((1, _VARINT), (2, _BYTES)):
        # A varint has ten bytes at most; what ends within one tells nothing yet.
        if len(message) < position + 11 or message[position] != expected << 3 | kind:
            return None
        value, position = _varint(message, position + 1)
        if expected == 1:
            index = value
    return index, value, position


def session_infos(message: bytes) -> tuple[list[memoryview], str]:
    """(serialized SessionInfos, next page token) of a serialized ListSessionsResponse. Raises MalformedMessage."""
    infos: list[memoryview] = []
    token = b""
    for number, value in fields(memoryview(message)):
        if isinstance(value, int):
            continue
        if number == 1:
            infos.append(value)
        elif number == 2:
            token = bytes(value)
    return infos, token.decode("utf-8", "surrogateescape")


def message(*parts: tuple[int, int | bytes]) -> bytes:
    """Serializes (field number, value) pairs: ints as varints, bytes length-delimited; proto3 defaults left out.

    Ids go back exactly as they came, also where they are not UTF-8, which generated messages refuse.
    """
    out = bytearray()
    for number, value in parts:
        if not value:
            continue
        if isinstance(value, int):
            out += _encode_varint(number << 3 | _VARINT) + _encode_varint(value)
        else:
            out += _encode_varint(number << 3 | _BYTES) + _encode_varint(len(value)) + value
    return bytes(out)


def _encode_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
