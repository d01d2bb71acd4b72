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
    blocks, total, start = -(-size // chunk), 0, first
    if known is not None and first < until:
        total, start = PREFIX + known, first + 1
    stop = min(until, blocks)
    if start < stop:
        # Not block by block: thousands may be wanted, and it is asked for with each of them.
        total += (stop - start) * wire_size(0, chunk) + _numbers(stop) - _numbers(start)
        if stop == blocks:
            total += wire_size(0, size - (blocks - 1) * chunk) - wire_size(0, chunk)
    return total + END_SLACK if until > max(start, blocks) else total


def _numbers(until: int) -> int:
    """Bytes that the numbers of all blocks before this one take, each with what says that it is one; 0 is not said."""
    total, most = max(0, until - 1), 1
    while most < until:
        total += until - most
        most <<= 7
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
