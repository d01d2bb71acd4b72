"""What reading may take of the memory: `--cache-size` for blocks, and what is promised beside it for all else. Pure."""

from dataclasses import dataclass

from exportfs.config import STREAMS_WINDOW, STREAMS_WINDOW_NEAR
from exportfs.content.tuning import (
    AHEAD_MOST,
    BESIDE,
    BESIDE_SHARE,
    BLOCKS_UNDERWAY,
    LADDER,
    MANY_READERS_BLOCK,
    STREAMS_LEAST,
)


@dataclass(frozen=True, slots=True)
class Budget:
    """For a mount with a cache of so many bytes, and so many downloads at a time."""

    cache_size: int
    max_downloads: int

    @property
    def spared(self) -> int:
        """Bytes that blocks leave to downloads."""
        wanted = self.max_downloads * (STREAMS_WINDOW_NEAR + BLOCKS_UNDERWAY * self.block(1))
        return max(0, min(wanted - BESIDE, int(self.cache_size * BESIDE_SHARE)))

    def block(self, readers: int) -> int:
        """Bytes of the largest block where so many read in sequence: what all have read ahead is not to push out what
        others are about to read, but a small block costs more than that."""
        least = min(MANY_READERS_BLOCK, self.cache_size // 8)
        return min(LADDER[0], max(self.cache_size // max(8, 4 * readers), least))

    def ahead(self, readers: int) -> int:
        """Bytes that each of so many readers may have read ahead: together half of the cache."""
        return min(AHEAD_MOST, self.cache_size // (2 * max(self.max_downloads, readers)))

    def streams(self, block: int, *, near: bool) -> int:
        """Wide downloads at a time, in blocks of this size: each may have a window full of what the server has sent,
        and the block that comes."""
        each = (STREAMS_WINDOW_NEAR if near else STREAMS_WINDOW) + BLOCKS_UNDERWAY * block
        return min(self.max_downloads, max(STREAMS_LEAST, (BESIDE + self.spared) // each))
