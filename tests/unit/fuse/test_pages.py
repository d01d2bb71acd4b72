"""What the kernel is told to drop from its page cache."""

import errno
import os
import struct
import threading
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from pyfuse3 import FUSEError

from exportfs.errors import Unwanted
from exportfs.fuse.operations import ExportOperations
from exportfs.fuse.pages import Pages
from exportfs.vfs.node import Owner
from exportfs.vfs.status import Activity


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


class Guessing:
    """A filesystem of which nobody wants what is read."""

    async def read(self, handle: int, offset: int, length: int) -> bytes:
        raise Unwanted("nobody came")


def test_an_unwanted_read_leaves_no_pages_without_bytes() -> None:
    activity = Activity(lambda: 0.0, lambda: 0.0)
    filesystem: Any = Guessing()
    operations = ExportOperations(filesystem, Owner(0, 0, 0o022), activity, timeout=5)
    operations.opened[7] = 42, 1
    dropped: list[tuple[int, int, int]] = []
    operations.drop_pages = lambda *place: dropped.append(place)
    with pytest.raises(FUSEError) as caught:
        trio.run(operations.read, 7, 4096, 8192)
    assert caught.value.errno == errno.EAGAIN
    assert dropped == [(42, 4096, 8192)]
    assert activity.status(lambda ino: None)["recent_errors"] == []


def test_the_message(pipe: tuple[int, int]) -> None:
    Pages(pipe[1]).drop(42, 4096, 8192)
    assert struct.unpack("=IiQQqq", os.read(pipe[0], 100)) == (40, 2, 0, 42, 4096, 8192)


def test_nothing_is_written_once_it_is_closed(pipe: tuple[int, int]) -> None:
    """The descriptor may be that of another file by then."""
    pages = Pages(pipe[1])
    pages.close()
    pages.drop(42, 4096, 8192)
    for thread in threading.enumerate():
        if thread.name == "pages":
            thread.join()
    os.set_blocking(pipe[0], False)
    with pytest.raises(BlockingIOError):
        os.read(pipe[0], 100)
