"""Blocks in memory: what is found is what was put there, and they take no more room than they may."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exportfs.config import KIB, MIB
from exportfs.content.cache import Block, BlockCache
from exportfs.content.tuning import BEHIND, SMALL

SIZES = 16 * KIB, SMALL, 128 * KIB, MIB
FILES = "f", "g"
FILE_SIZE = 2 * MIB + 5000
BYTES = {file: memoryview(random.Random(file).randbytes(FILE_SIZE)) for file in FILES}


def block(file: str, size: int, index: int, length: int | None = None) -> Block:
    start = index * size
    return Block(start, BYTES[file][start : start + (size if length is None else length)])


PUTS = st.lists(
    st.tuples(
        st.sampled_from(FILES),
        st.sampled_from(SIZES),
        st.integers(0, FILE_SIZE - 1),
        st.sampled_from((None, None, 5000, 9000)),
        st.booleans(),
    ),
    max_size=12,
)


@pytest.mark.promise("R6")
@given(PUTS, st.sampled_from((256 * KIB, 2 * MIB, 64 * MIB)))
def test_whatever_is_put_and_read(puts: list[tuple[str, int, int, int | None, bool]], capacity: int) -> None:
    """Blocks of several sizes side by side, of some only the beginning, some read to their end."""
    cache = BlockCache(capacity)
    for file, size, offset, length, through in puts:
        index = offset // size
        made = block(file, size, index, length)
        cache.put(file, size, index, made)
        if through:
            cache.read_through(file, made)
        assert cache.used <= capacity
    for file, size, offset, length, _ in puts:
        made = block(file, size, offset // size, length)
        for at in (made.start, made.end - 1, made.end, offset):
            found = cache.find(file, at)
            if found is not None:
                assert found.start <= at < found.end
                assert found.data == BYTES[file][found.start : found.end]
            elif capacity == 64 * MIB:  # there is room for all
                assert not made.start <= at < made.end


def test_the_largest_is_found() -> None:
    cache = BlockCache(64 * MIB)
    for size in (128 * KIB, MIB, 16 * KIB):
        cache.put("f", size, 0, block("f", size, 0))
    found = cache.find("f", 100)
    assert found is not None
    assert len(found.data) == MIB


def test_a_beginning_takes_nothing_away() -> None:
    cache = BlockCache(64 * MIB)
    size = SIZES[0]
    for length, longest in ((5000, 5000), (9000, 9000), (5000, 9000), (None, size), (5000, size)):
        cache.put("f", size, 1, block("f", size, 1, length))
        assert cache.find("f", size + longest - 1) is not None
        assert cache.used == longest
    found = cache.find("f", size + 10000)
    assert found is not None
    assert len(found.data) == size


def test_nor_from_a_block_that_was_read_through() -> None:
    cache, whole = BlockCache(64 * MIB), block("f", MIB, 1)
    cache.put("f", MIB, 1, whole)
    cache.read_through("f", whole)
    cache.put("f", MIB, 1, block("f", MIB, 1, 5000))
    assert cache.find("f", MIB + 10000) == whole


def test_what_has_no_room_is_not_kept() -> None:
    cache = BlockCache(MIB)
    cache.put("f", MIB, 0, block("f", MIB, 0))
    assert (cache.find("f", 0), cache.used, cache.blocks) == (None, 0, 0)


def test_what_was_read_through_makes_room() -> None:
    """A copy of a large file walks through little of the memory."""
    capacity = 256 * MIB
    cache, data = BlockCache(capacity), memoryview(bytes(MIB))
    for index in range(100):
        read = Block(index * MIB, data)
        cache.put("f", MIB, index, read)
        cache.read_through("f", read)
    assert BEHIND - MIB < cache.used <= BEHIND < capacity // 8
    assert cache.blocks == cache.used // MIB
    assert cache.find("f", 99 * MIB) is not None  # a short step back
    assert cache.find("f", 0) is None


def test_small_ones_stay_when_a_large_file_is_copied() -> None:
    cache, data = BlockCache(16 * MIB), memoryview(bytes(MIB))
    cache.put("f", SIZES[0], 0, block("f", SIZES[0], 0))
    for index in range(100):
        cache.put("g", MIB, index, Block(index * MIB, data))
    assert cache.find("f", 0) is not None
    assert cache.used == SIZES[0] + (cache.blocks - 1) * MIB
