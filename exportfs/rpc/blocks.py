"""Blocks on the wire: how many bytes they take, which is known before they come and what a stream's window is opened
for, and how they are read. Pure."""

import functools

from exportfs.config import KIB
from exportfs.errors import Corrupt
from exportfs.rpc.messages import PREFIX
from exportfs.rpc.wire_format import MalformedMessage, file_chunk

MOST_BESIDE = 4 * KIB
"""Bytes of a message that are not its block's and are kept with it nevertheless."""
END_SLACK = 64
"""Bytes that an empty last block may take, in which some servers end a file."""


def wire_size(index: int, length: int) -> int:
    """Bytes of a block on the wire, without what HTTP/2 adds and does not count."""
    return PREFIX + (1 + _varint_size(index) if index else 0) + 1 + _varint_size(length) + length


@functools.lru_cache(maxsize=256)  # asked for with each frame, and the same until a block has come
def wire_range(first: int, until: int, chunk: int, size: int, known: int | None) -> int:
    """The same of the blocks from `first` to before `until`, of a file of `size` bytes in blocks of `chunk`, and of its
    end where `until` lies beyond it. known: length of the first one's message, where it has come."""
    total, blocks = 0, -(-size // chunk)
    for index in range(first, until):
        if index == first and known is not None:
            total += PREFIX + known
        elif index < blocks:
            total += wire_size(index, min(chunk, size - index * chunk))
        else:
            total += END_SLACK
            break
    return total


def block_of(message: bytes | bytearray) -> tuple[int, memoryview]:
    """(number, data) of a block; the data is a view of the message. Raises Corrupt."""
    try:
        index, data = file_chunk(message)
    except MalformedMessage as error:
        raise Corrupt(f"a block cannot be read: {error}") from None
    if len(message) - len(data) > MOST_BESIDE:
        data = memoryview(bytes(data))  # who keeps it would keep all of that, and count only this
    return index, data


def _varint_size(value: int) -> int:
    return max(1, -(-value.bit_length() // 7))
