"""How large the blocks are that we ask for.

Large blocks cost half the CPU of small ones; a seek wants one small block. Which sizes a server serves is unknown
(recommended: 16 to 64 KiB). A size that it refuses, or answers with shorter blocks, is first avoided for that one file
(`Sizes`), since it may be the file that is wrong; only when a smaller size then works is the larger one not asked for
again (`Chunks`). On a slow line a large block is a long time without anything to show, and the more to be sent again
when the line breaks: there blocks are as small as they have to be to come about every second.
"""

from exportfs.config import KIB

LADDER = (1024 * KIB, 512 * KIB, 256 * KIB, 64 * KIB, 32 * KIB, 16 * KIB)
"""Bytes. 2 MiB measured no better than 1 MiB; more than 4 MiB would need every client's leave."""
SEEK = 32 * KIB
"""Bytes. Of the recommended 16 to 64 KiB the one with the fewest bytes sent for a read of 64 KiB that costs one round
trip; measured, docs/design/reading.md."""
WRONG_BEFORE_DOWN = 2
"""A block of the wrong length can be a fault; twice in a row at one size it is the size."""

SLOW = 2.0
"""Seconds: a block that takes longer is too large for the line."""
QUICK = 0.2
"""Seconds: so many blocks in a row, each within this, and larger ones are tried again."""
QUICK_BEFORE_UP = 8


class Chunks:
    """The largest size that works, as far as is known. One for the whole mount: the server is one."""

    def __init__(self, cache_size: int) -> None:
        # A block that fills the cache pushes out what was read ahead before it is read.
        self._sizes = [size for size in LADDER if size * 8 <= cache_size] or [LADDER[-1]]
        self._down = 0
        """Steps below the largest, for a slow line."""
        self._quick = 0

    @property
    def stream(self) -> int:
        """Bytes in a block of sequential reading."""
        return self._sizes[min(self._down, len(self._sizes) - 1)]

    @property
    def seek(self) -> int:
        """Bytes in a block of a first read."""
        return min(SEEK, self.stream)

    def right(self, size: int, took: float) -> None:
        """A block of this size came as it should, after so many seconds."""
        if took > SLOW:
            self._slow(size, 1)
        elif self._down and size == self.stream:
            self._quick = self._quick + 1 if took < QUICK else 0
            if self._quick >= QUICK_BEFORE_UP:
                self._down -= 1
                self._quick = 0

    def stalled(self, size: int) -> None:
        """Not even one block of this size came before the download was given up."""
        self._slow(size, 2)

    def largest(self, size: int) -> None:
        """No larger size works: larger ones were refused, and this one was served."""
        self._sizes = [smaller for smaller in self._sizes if smaller <= size] or [LADDER[-1]]
        self._down = self._quick = 0

    def _slow(self, size: int, steps: int) -> None:
        if size == self.stream:
            self._down = min(self._down + steps, len(self._sizes) - 1)
            self._quick = 0


class Sizes:
    """The sizes for one file: those of the mount, unless the server objected to them here."""

    def __init__(self, chunks: Chunks) -> None:
        self._chunks = chunks
        self._most: int | None = None
        self._wrong: dict[int, int] = {}

    @property
    def stream(self) -> int:
        """Bytes in a block of sequential reading."""
        return min(self._chunks.stream, self._most or LADDER[0])

    @property
    def seek(self) -> int:
        """Bytes in a block of a first read."""
        return min(self._chunks.seek, self._most or LADDER[0])

    def right(self, size: int, took: float) -> None:
        """A block of this size came as it should."""
        self._wrong.clear()
        if self._most is not None and size == self._most:
            self._chunks.largest(size)
            self._most = None
        self._chunks.right(size, took)

    def wrong_length(self, size: int, got: int) -> None:
        """A block of this size came with another length; shorter ones as from a server that has a limit."""
        self._wrong[size] = self._wrong.get(size, 0) + 1
        if self._wrong[size] >= WRONG_BEFORE_DOWN and got < size:
            self._below(min(size, got + 1))

    def refused(self, size: int) -> bool:
        """The server does not serve this size; whether a smaller one is worth a try."""
        if size <= LADDER[-1]:
            self._most = None  # so it is not the size, and the others are as good as they were
            return False
        self._below(size)
        return True

    def _below(self, size: int) -> None:
        self._most = next((smaller for smaller in LADDER if smaller < size), LADDER[-1])
