"""Inode numbers, and the nodes that the kernel knows.

A number follows from what it stands for, so it is the same after every remount. Those of files in new/ do not, and are
given anew by each mount; the generation beside them is the mount's own.
"""

import hashlib
import secrets
from collections.abc import Callable
from typing import TypeVar

from exportfs.errors import Gone
from exportfs.naming import encode
from exportfs.vfs.node import Node

ROOT, README, STATUS, NEW, SESSIONS, TEMPLATE, CAMERAS, INDEX, PAGES, METRICS = 1, 2, 3, 4, 5, 6, 7, 8, 9, 10
FIRST_IN_NEW = 1 << 20
"""Files in new/ live in memory and are numbered from here."""
_BIT = 1 << 62
"""Set in numbers made from hashes, so that they cannot meet the others; bit 63 stays clear for signed tools."""

_LATE = 1 << 61
"""Set in those of records: `cp` copies in the order of inode numbers, and what a record says of a session's use is
the same before and after a copy only if the record comes after the results."""
_HASH = _LATE - 1

MOST_REMEMBERED = 1000
"""Numbers whose meaning is remembered beyond their use."""

N = TypeVar("N", bound=Node)


class Inodes:
    """All nodes in use, by number and by what they stand for."""

    def __init__(self) -> None:
        self._nodes: dict[int, Node] = {}
        self._keys: dict[int, tuple[str, ...]] = {}
        self._lookups: dict[int, int] = {}
        self._pinned: set[int] = set()
        self._remembered: dict[int, tuple[str, ...]] = {}
        self._generation = secrets.randbits(32)
        """Of what this mount numbers by counting."""

    def __len__(self) -> int:
        return len(self._nodes)

    def pin(self, node: Node) -> None:
        """A node that is there until its directory says otherwise (`unpin`)."""
        node.generation = self._generation if node.ino >= FIRST_IN_NEW else 0
        self._nodes[node.ino] = node
        self._pinned.add(node.ino)

    def unpin(self, node: Node) -> None:
        """The node has no name any more; it goes when the kernel forgets it."""
        self._pinned.discard(node.ino)
        self._drop_unused(node.ino)

    def get(self, ino: int) -> Node:
        """The node of a number. Raises Gone."""
        try:
            return self._nodes[ino]
        except KeyError:
            raise Gone("no longer there") from None

    def find(self, ino: int) -> Node | None:
        """The node of a number, where there is one."""
        return self._nodes.get(ino)

    def number(self, key: tuple[str, ...]) -> int | None:
        """That of what stands for `key`, not numbered late, where the kernel was told of it."""
        number = _number(key)
        while (known := self._keys.get(number)) is not None:
            if known == key:
                return number if number in self._lookups else None
            number = number & ~_HASH | (number + 1) & _HASH
        return None

    def is_hash(self, ino: int) -> bool:
        """Whether the number is of those that follow from what they stand for."""
        return bool(ino & _BIT)

    def remembered(self, ino: int) -> tuple[str, ...] | None:
        """What a number stands for, or stood for when it was last in use, where that was to be remembered."""
        return self._remembered.get(ino)

    def intern(
        self, key: tuple[str, ...], make: Callable[[int], N], *, late: bool = False, remember: bool = False
    ) -> N:
        """The node that stands for `key`, made where there is none yet; `late`: numbered after all that are not;
        `remember`: what its number stands for, since no listing tells."""
        number = _number(key) | (_LATE if late else 0)
        while True:
            known = self._keys.get(number)
            if known == key:
                return self._nodes[number]  # type: ignore[return-value] # one key, one kind of node
            if known is None:
                break
            number = number & ~_HASH | (number + 1) & _HASH  # two hashes met; the later one moves on
        node = make(number)
        node.generation = _digest(key, 4)
        if remember:
            self._remembered[number] = key
            if len(self._remembered) > MOST_REMEMBERED:
                del self._remembered[next(iter(self._remembered))]
        self._keys[number] = key
        self._nodes[number] = node
        return node

    def looked_up(self, node: Node) -> None:
        """The kernel was told of the node once more."""
        self._lookups[node.ino] = self._lookups.get(node.ino, 0) + 1
        self._nodes.setdefault(node.ino, node)

    def forget(self, ino: int, count: int) -> None:
        """The kernel forgets so many of its lookups; after the last one an unpinned node goes."""
        left = self._lookups.get(ino, 0) - count
        if left > 0:
            self._lookups[ino] = left
            return
        self._lookups.pop(ino, None)
        self._drop_unused(ino)

    def sweep(self, node: Node) -> None:
        """Lets a node go that was made for a listing and not told to the kernel."""
        self._drop_unused(node.ino)

    def _drop_unused(self, ino: int) -> None:
        if ino not in self._pinned and ino not in self._lookups:
            self._keys.pop(ino, None)
            self._nodes.pop(ino, None)


def _number(key: tuple[str, ...]) -> int:
    return _BIT | _digest(key, 8) & _HASH


def _digest(key: tuple[str, ...], size: int) -> int:
    parts = [encode(part) for part in key]
    data = b"".join(len(part).to_bytes(8, "little") + part for part in parts)
    return int.from_bytes(hashlib.blake2b(data, digest_size=size).digest(), "little")
