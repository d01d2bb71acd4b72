"""Blocks of results in memory, bounded in bytes.

Three kinds of blocks have a share of their own. Small ones come from heads, tails and seeks, where players return
again and again: they stay longest. Large ones come from sequential reading; ahead of the reader they are what keeps
it going, behind it they are hardly read again: the kernel's page cache has them. So few are kept behind, for short
steps back, and copying a large file neither pushes out the index of a playing one nor walks through all the memory
that we may use, which costs a fifth of the speed (docs/design/reading.md).
"""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import TypeAlias

from cachetools import LRUCache

from exportfs.content.tuning import BEHIND, SMALL, SMALL_SHARE


@dataclass(frozen=True, slots=True)
class Block:
    """Bytes of a file from `start` on; `data` may be a view, but never of anything larger than its own block."""

    start: int
    data: memoryview

    @property
    def end(self) -> int:
        return self.start + len(self.data)


Blocks: TypeAlias = LRUCache[tuple[Hashable, int, int], Block]


class BlockCache:
    """Least recently used blocks go first, of each kind. `capacity` in bytes."""

    def __init__(self, capacity: int) -> None:
        small, behind = int(capacity * SMALL_SHARE), min(BEHIND, capacity // 8)
        self.capacity = capacity
        self._small: Blocks = LRUCache(small, getsizeof=_size)
        self._ahead: Blocks = LRUCache(capacity - small - behind, getsizeof=_size)
        self._behind: Blocks = LRUCache(behind, getsizeof=_size)
        self._sizes: list[int] = []
        self.hits = 0
        self.misses = 0

    def put(self, file: Hashable, chunk_size: int, index: int, block: Block) -> None:
        """Keeps block number `index` of a file cut into blocks of `chunk_size` bytes."""
        if chunk_size not in self._sizes:
            self._sizes = sorted([*self._sizes, chunk_size], reverse=True)
        cache = self._small if chunk_size <= SMALL else self._ahead
        if _size(block) < chunk_size:  # a beginning only, where somebody else may have had all
            key = (file, chunk_size, index)
            held = cache.get(key) or self._behind.get(key)
            if held is not None and _size(held) > _size(block):
                return
        if _size(block) <= cache.maxsize:
            cache[file, chunk_size, index] = block

    def read_through(self, file: Hashable, block: Block) -> None:
        """A reader has reached the end of this block."""
        size = len(block.data)
        if size > SMALL:
            key = (file, size, block.start // size)
            if self._ahead.pop(key, None) is not None and size <= self._behind.maxsize:
                self._behind[key] = block

    def find(self, file: Hashable, offset: int) -> Block | None:
        """The block that holds the byte at `offset`, the largest where there are several."""
        for size in self._sizes:
            key = (file, size, offset // size)
            block = self._small.get(key) if size <= SMALL else self._ahead.get(key) or self._behind.get(key)
            if block is not None and offset < block.end:
                return block
        return None

    @property
    def used(self) -> int:
        """Bytes held."""
        return int(self._small.currsize + self._ahead.currsize + self._behind.currsize)

    @property
    def blocks(self) -> int:
        return len(self._small) + len(self._ahead) + len(self._behind)


def _size(block: Block) -> int:
    return len(block.data)
