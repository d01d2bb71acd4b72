"""Blocks of results in memory, bounded in bytes.

Small blocks come from heads, tails and seeks, where players return again and again; large ones from sequential
reading, which the kernel's page cache keeps anyway. Each kind has its own share, so that copying a large file does
not push out the index of a playing one.
"""

from collections.abc import Hashable
from dataclasses import dataclass

from cachetools import LRUCache

from exportfs.config import KIB

SMALL = 64 * KIB
"""Bytes; blocks up to this size count as small."""
SMALL_SHARE = 1 / 8


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes of a file from `start` on; `data` may be a view, but never of anything larger than its own block."""

    start: int
    data: memoryview

    @property
    def end(self) -> int:
        return self.start + len(self.data)


class BlockCache:
    """Least recently used blocks go first. `capacity` in bytes."""

    def __init__(self, capacity: int) -> None:
        small = int(capacity * SMALL_SHARE)
        self.capacity = capacity
        self._small: LRUCache[tuple[Hashable, int, int], Block] = LRUCache(small, getsizeof=_size)
        self._large: LRUCache[tuple[Hashable, int, int], Block] = LRUCache(capacity - small, getsizeof=_size)
        self._sizes: list[int] = []
        self.hits = 0
        self.misses = 0

    def put(self, file: Hashable, chunk_size: int, index: int, block: Block) -> None:
        """Keeps block number `index` of a file cut into blocks of `chunk_size` bytes."""
        if chunk_size not in self._sizes:
            self._sizes = sorted([*self._sizes, chunk_size], reverse=True)
        cache = self._small if chunk_size <= SMALL else self._large
        if _size(block) <= cache.maxsize:
            cache[file, chunk_size, index] = block

    def find(self, file: Hashable, offset: int) -> Block | None:
        """The block that holds the byte at `offset`, the largest where there are several."""
        for size in self._sizes:
            cache = self._small if size <= SMALL else self._large
            block = cache.get((file, size, offset // size))
            if block is not None and offset < block.end:
                return block
        return None

    @property
    def used(self) -> int:
        """Bytes held."""
        return int(self._small.currsize + self._large.currsize)

    @property
    def blocks(self) -> int:
        return len(self._small) + len(self._large)


def _size(block: Block) -> int:
    return len(block.data)
