"""How large the blocks are that we ask for.

Large blocks cost half the CPU of small ones; a seek wants one small block. Which sizes a server serves is unknown
(recommended: 16 to 64 KiB), and so is the status with which it refuses one: INVALID_ARGUMENT, but also what its gRPC
answers where a message is too large for it, or whatever its code lets escape. So a size that was never yet served and
fails is avoided for that one file (`FileSizes`), since it may be the file that is wrong; only when another size then
works is it not asked for again (`BlockSizes`). A server may also raise sizes to a smallest one, and number by that:
then what comes is of another place, which its length tells, unless it is the end of the file and happens to be as long
as what was asked for (`ends_alike`). On a slow line a large block is a long time without anything to show, and the more
to be sent again when the line breaks: there blocks are as small as they have to be to come about every second.
"""

import logging
from collections.abc import Callable

from exportfs.content.line import Line
from exportfs.content.tuning import (
    BLOCK_QUICK,
    BLOCK_SLOW,
    LADDER,
    QUICK_BEFORE_UP,
    REFUSED_AFTER,
    WRONG_BEFORE_DOWN,
)
from exportfs.errors import (
    AccessDenied,
    Exhausted,
    ExportfsError,
    InvalidArgument,
    OutOfRange,
    TimedOut,
    Unreachable,
)

log = logging.getLogger(__name__)

_PASSING = (AccessDenied, Unreachable, TimedOut)
"""Login, connection and silence: these say nothing about a size."""


class BlockSizes:
    """The sizes that work, as far as is known. One for the whole mount: the server is one."""

    def __init__(self, cache_size: int, line: Line, most: Callable[[], int] | None = None) -> None:
        """most: bytes of the largest block that there is memory for at the moment."""
        self._line = line
        self._most = most or (lambda: cache_size)
        # A block that fills the cache pushes out what was read ahead before it is read.
        self._sizes = [size for size in LADDER if size * 8 <= cache_size] or [LADDER[-1]]
        self._down = 0
        """Steps below the largest, for a slow line."""
        self._quick = 0
        self._served: set[int] = set()
        self._doubts: dict[int, int] = {}

    @property
    def stream(self) -> int:
        """Bytes in a block of a wide stream."""
        return self.nearest(min(self._sizes[min(self._down, len(self._sizes) - 1)], self._most()))

    @property
    def seek(self) -> int:
        """Bytes in a block of a first read."""
        return self.nearest(min(self._line.seek_block, self.stream))

    @property
    def exact(self) -> int:
        """Bytes in a block of sequential reading by exact downloads."""
        return self.nearest(min(self._line.stream_block, self.stream))

    @property
    def sizes(self) -> list[int]:
        """All that were not refused, the largest first."""
        return self._sizes

    def nearest(self, size: int) -> int:
        """The largest that is no larger, or the smallest, of those that were not refused."""
        return next((smaller for smaller in self._sizes if smaller <= size), self._sizes[-1])

    def served(self, size: int) -> bool:
        """Whether a whole block of this size has ever come."""
        return size in self._served

    def right(self, size: int, took: float, *, whole: bool) -> None:
        """A block came as it should, after so many seconds; `whole`: with as many bytes as were asked for, and the file
        has more."""
        if whole:
            self._served.add(size)
            self._doubts.pop(size, None)
        if took > BLOCK_SLOW:
            self._slow(size, 1)
        elif self._down and size == self.stream:
            self._quick = self._quick + 1 if took < BLOCK_QUICK else 0
            if self._quick >= QUICK_BEFORE_UP:
                self._down -= 1
                self._quick = 0
                self._note("larger blocks are tried again: they came quickly")

    def longer(self, got: int) -> None:
        """A block came with so many bytes, more than were asked for: sizes below that are to be proved again."""
        self._served = {size for size in self._served if size >= got}

    def stalled(self, size: int) -> None:
        """Not even one block of this size came before the download was given up."""
        self._slow(size, 2)

    def worse(self, size: int, *, proof: bool) -> None:
        """This size failed where another one works; `proof`: in words or a way that leave no doubt."""
        self._doubts[size] = self._doubts.get(size, 0) + (REFUSED_AFTER if proof else 1)
        if self._doubts[size] >= REFUSED_AFTER and size in self._sizes and len(self._sizes) > 1:
            self._sizes.remove(size)
            self._served.discard(size)
            self._down = self._quick = 0
            self._note(f"blocks of {size >> 10} KiB are not asked for again: the server refuses them")

    def _slow(self, size: int, steps: int) -> None:
        if size == self.stream:
            before, self._down = self._down, min(self._down + steps, len(self._sizes) - 1)
            self._quick = 0
            if self._down != before:
                self._note(f"blocks of {size >> 10} KiB took too long")

    def _note(self, why: str) -> None:
        """For the field: a change of the largest block."""
        log.debug("streams have blocks of %d KiB from now on: %s", self.stream >> 10, why)


class FileSizes:
    """The sizes for one file: those of the mount, unless the server objected to them here."""

    def __init__(self, block_sizes: BlockSizes) -> None:
        self._block_sizes = block_sizes
        self._avoided: dict[int, bool] = {}
        """Sizes that failed since a block last came, and whether in a way that leaves no doubt."""
        self._wrong: dict[int, int] = {}

    @property
    def stream(self) -> int:
        """Bytes in a block of a wide stream."""
        return self._instead_of(self._block_sizes.stream)

    @property
    def exact(self) -> int:
        """Bytes in a block of sequential reading by exact downloads."""
        return self._instead_of(self._block_sizes.exact)

    @property
    def seek(self) -> int:
        """Bytes in a block of a first read."""
        return self._instead_of(self._block_sizes.seek)

    def right(self, size: int, took: float, *, whole: bool) -> None:
        """As `BlockSizes.right`."""
        self._wrong.clear()
        if size not in self._avoided:
            for other, proof in self._avoided.items():
                self._block_sizes.worse(other, proof=proof)
            self._avoided.clear()
        self._block_sizes.right(size, took, whole=whole)

    def doubtful(self, size: int, index: int, total: int) -> bool:
        """Whether a block of this size and number, of a file of `total` bytes, could be another place's though it is as
        long as it should be: the end of the file, as `ends_alike` says. Not once the server has served the size."""
        return not self._block_sizes.served(size) and ends_alike(size, size, index, total)

    def wrong_length(self, size: int, got: int, index: int, total: int) -> bool:
        """A block of this size and number came with another length: as from a server that has a largest, or a smallest
        one. Whether another size is to be tried at once."""
        if not self._block_sizes.served(size):
            served, sizes = self._block_sizes.served, self._block_sizes.sizes
            if got > size:
                return self._avoid({other: False for other in sizes if other < got and not served(other)})
            if ends_alike(size, got, index, total):
                return self._avoid({size: False})
            self._avoid(
                {other: False for other in sizes if other == size or (other > got and not served(other))}
            )
            return False
        if got > size:
            self._block_sizes.longer(got)
        self._wrong[size] = self._wrong.get(size, 0) + 1
        if self._wrong[size] >= WRONG_BEFORE_DOWN:
            sizes = self._block_sizes.sizes
            if got < size:
                self._avoid({other: True for other in sizes if other > got})
        return False

    def failed(self, size: int, error: ExportfsError, *, alone: bool) -> bool:
        """A download ended before its first block; `alone`: no other one ran.

        Whether another size is worth a try; where it is not, the sizes are as good as they were.
        """
        proof = names_size(error) or (
            isinstance(error, InvalidArgument) and not isinstance(error, OutOfRange)
        )
        if isinstance(error, _PASSING) or (self._block_sizes.served(size) and not proof):
            return False
        if isinstance(error, Exhausted) and not proof and not alone:
            return False  # so many at once were too many
        return self._avoid({size: proof})

    def _avoid(self, sizes: dict[int, bool]) -> bool:
        self._avoided |= sizes
        if all(size in self._avoided for size in self._block_sizes.sizes):
            refused = {size: True for size, proof in self._avoided.items() if proof}
            if refused and len(refused) < len(self._avoided):
                # The one that works failed once, by something that passes: the others are refused for sure.
                self._avoided = refused
                return True
            self._avoided.clear()  # so it is not the size
            return False
        return True

    def _instead_of(self, size: int) -> int:
        """The next smaller one that is not avoided, or the next larger one where there is none."""
        if not self._avoided:
            return size
        good = [
            other for other in self._block_sizes.sizes if other not in self._avoided
        ] or self._block_sizes.sizes
        return next((other for other in good if other <= size), good[-1])


def ends_alike(size: int, length: int, index: int, total: int) -> bool:
    """Whether the block of this number may be `length` bytes long since blocks are larger than `size`, and the file, of
    `total` bytes, ends with it."""
    if index <= 0:
        return False
    larger, rest = divmod(total - length, index)
    return not rest and larger > size


def names_size(error: ExportfsError) -> bool:
    """Whether an error says that a message was too large, as gRPC's libraries word it.

    C++ and Go "message larger than max", Java "message exceeds maximum size", Node "message with a size larger than",
    Rust "message length too large".
    """
    words = str(error).lower()
    return "message" in words and any(
        part in words for part in ("larger than", "exceeds", "too large", "too big")
    )
