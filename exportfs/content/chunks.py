"""How large the blocks are that we ask for.

Large blocks cost half the CPU of small ones; a seek wants one small block. Which sizes a server serves is unknown
(recommended: 16 to 64 KiB), so a size that it refuses, or answers with shorter blocks, is not asked for again.
"""

from exportfs.config import KIB
from exportfs.errors import ExportfsError, InvalidArgument

LADDER = (1024 * KIB, 512 * KIB, 256 * KIB, 64 * KIB, 32 * KIB, 16 * KIB)
"""Bytes. 2 MiB measured no better than 1 MiB; more than 4 MiB would need every client's leave."""
SEEK = 32 * KIB
"""Bytes. Of the recommended 16 to 64 KiB the one with the fewest bytes sent for a read of 64 KiB that costs one round
trip; measured, docs/design/reading.md."""
WRONG_BEFORE_DOWN = 2
"""A block of the wrong length can be a fault; twice in a row at one size it is the size."""


class Chunks:
    """The largest size that works, as far as is known. One for the whole mount: the server is one."""

    def __init__(self, cache_size: int) -> None:
        # A block that fills the cache pushes out what was read ahead before it is read.
        self._sizes = [size for size in LADDER if size * 8 <= cache_size] or [LADDER[-1]]
        self._wrong = 0

    @property
    def stream(self) -> int:
        """Bytes in a block of sequential reading."""
        return self._sizes[0]

    @property
    def seek(self) -> int:
        """Bytes in a block of a first read."""
        return min(SEEK, self.stream)

    def wrong_length(self, size: int) -> None:
        """Blocks of this size came with another length."""
        if size != self._sizes[0]:
            return
        self._wrong += 1
        if self._wrong >= WRONG_BEFORE_DOWN:
            self._down()

    def right(self, size: int) -> None:
        """A block of this size came as it should."""
        if size == self._sizes[0]:
            self._wrong = 0

    def refused(self, size: int, error: ExportfsError) -> bool:
        """Whether a smaller size is worth a try after this error."""
        if not isinstance(error, InvalidArgument) or len(self._sizes) == 1:
            return False
        if size == self._sizes[0]:
            self._down()
        return True

    def _down(self) -> None:
        if len(self._sizes) > 1:
            self._sizes.pop(0)
        self._wrong = 0
