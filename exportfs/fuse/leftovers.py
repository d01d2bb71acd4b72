"""Pages that refused requests of the kernel's read-ahead have left in its cache without their bytes.

It asks for them one by one, so it is told to drop them: but only once the file is open nowhere. The notification waits
in the kernel, uninterruptibly, for each page that is being read, and a process that is killed meanwhile does not end as
long as it waits: so /dev/fuse stays open, so the page is never answered, and all who read on the mount hang for ever.
Of a file that is open nowhere nothing is being read: the kernel closes it for us only once its last read was answered.
And since the notification is written in trio's thread, nobody is told meanwhile that he has opened it.
"""

from collections.abc import Callable

MOST = 64
"""Places that are remembered, of one file: what is forgotten costs a little time, if anybody comes there."""


class Leftovers:
    """What is left, of all files. `drop` has the kernel forget pages: of an inode, from an offset, so many bytes."""

    def __init__(self, drop: Callable[[int, int, int], None]) -> None:
        self.drop = drop
        self._left: dict[int, list[tuple[int, int]]] = {}
        """Of inodes, from where to where; the latest last."""

    def __bool__(self) -> bool:
        return bool(self._left)

    def refused(self, ino: int, offset: int, length: int) -> None:
        """The answer to this request will be that it was refused."""
        left = self._left.setdefault(ino, [])
        left.append((offset, offset + length))
        del left[:-MOST]

    def asked(self, ino: int, offset: int, length: int) -> None:
        """Somebody reads this: it is not left any more."""
        left = self._left.get(ino)
        if left is None:
            return
        end = offset + length
        if all(end <= begin or until <= offset for begin, until in left):
            return
        kept = []
        for begin, until in left:
            if end <= begin or until <= offset:
                kept.append((begin, until))
                continue
            if begin < offset:
                kept.append((begin, offset))
            if end < until:
                kept.append((end, until))
        del kept[:-MOST]
        if kept:
            self._left[ino] = kept
        else:
            del self._left[ino]

    def closed(self, ino: int) -> None:
        """Nobody has this file open any more, or in his memory."""
        for begin, end in self._left.pop(ino, ()):
            self.drop(ino, begin, end - begin)
