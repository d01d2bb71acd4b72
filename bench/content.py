"""The files that every subject serves: random, in memory, and known to whoever compares."""

import mmap
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30
STEP = 4 * MIB


def make_file(path: Path, size: int) -> None:
    """Random bytes: nothing on the way can compress them, deduplicate them or guess them."""
    with path.open("wb", buffering=0) as out:
        left = size
        while left:
            left -= out.write(secrets.token_bytes(min(STEP, left)))


class Content:
    """A file's bytes, mapped. Slices are compared as bytes, because memoryviews compare one by one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = path.stat().st_size
        with path.open("rb") as source:
            self.map = mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)

    def matches(self, data: bytes, offset: int) -> bool:
        return data == self.map[offset : offset + len(data)]

    def difference(self, path: str | Path) -> str | None:
        """What is wrong with a copy, or None."""
        at = 0
        with open(path, "rb", buffering=0) as copy:
            for data in _pieces(copy.fileno()):
                if not self.matches(data, at) or at + len(data) > self.size:
                    return f"{path}: wrong bytes in {at}..{at + len(data)}"
                at += len(data)
        return None if at == self.size else f"{path}: {at} bytes instead of {self.size}"

    def close(self) -> None:
        self.map.close()


def _pieces(descriptor: int) -> Iterator[bytes]:
    while data := os.read(descriptor, STEP):
        yield data
