"""Pages that refused requests of the kernel's read-ahead have left in its cache without their bytes.

It would ask for them one by one, so it is told to drop them: but only once nobody reads them. The notification waits in
the kernel, uninterruptibly, for each page that is being read. A process that is killed meanwhile does not end as long
as it waits, so /dev/fuse stays open, so the page is never answered: all who read on the mount hang for ever.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from exportfs.vfs.status import Operation

SETTLED = 0.005
"""Seconds after a refusal by which who waited for one of its pages has asked for it again: a request of the kernel's,
made by whom our answer wakes."""
LARGEST = 1 << 20
"""Bytes of the largest request."""


@dataclass(frozen=True, slots=True)
class _Left:
    """What one refused request was to read, and when it was refused."""

    offset: int
    end: int
    at: float


class Leftovers:
    """What is left, of all files. `drop` has the kernel forget pages: of an inode, from an offset, so many bytes."""

    def __init__(self, drop: Callable[[int, int, int], None], clock: Callable[[], float]) -> None:
        self.drop = drop
        self._clock = clock
        self._left: dict[int, list[_Left]] = {}

    def __bool__(self) -> bool:
        return bool(self._left)

    def refused(self, ino: int, offset: int, length: int) -> None:
        """The answer to this request will be that it was refused."""
        self._left.setdefault(ino, []).append(_Left(offset, offset + length, self._clock()))

    def asked(self, ino: int, offset: int, length: int) -> None:
        """Somebody reads this: what was left around it is his, page by page."""
        self._keep(
            ino,
            [one for one in self._left.get(ino, ()) if offset + length <= one.offset or one.end <= offset],
        )

    def answered(self, ino: int, others: Iterable[Operation]) -> None:
        """Reading has gone on in this file: what is left of it and nobody has come back to is dropped. others: calls
        under way."""
        left = self._left.get(ino)
        if left is None:
            return
        now = self._clock()
        reads = [
            each.offset
            for each in others
            if each.name == "read" and each.ino == ino and each.offset is not None
        ]
        later = []
        for one in left:
            if now - one.at < SETTLED or any(one.offset - LARGEST < read < one.end for read in reads):
                later.append(one)
            else:
                self.drop(ino, one.offset, one.end - one.offset)
        self._keep(ino, later)

    def closed(self, ino: int) -> None:
        """Nobody has this file open any more, or in his memory."""
        for one in self._left.pop(ino, ()):
            self.drop(ino, one.offset, one.end - one.offset)

    def _keep(self, ino: int, left: list[_Left]) -> None:
        if left:
            self._left[ino] = left
        else:
            self._left.pop(ino, None)
