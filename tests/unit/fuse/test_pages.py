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
from exportfs.fuse import operations
from exportfs.fuse.leftovers import SETTLED
from exportfs.fuse.operations import ExportOperations
from exportfs.fuse.pages import Pages
from exportfs.vfs.node import Owner
from exportfs.vfs.status import Activity, Operation


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


FAR = 1 << 30


class Leaving:
    """A filesystem in which nobody wants what is read below FAR any more."""

    async def read(self, handle: int, offset: int, length: int) -> bytes:
        if offset < FAR:
            raise Unwanted("reading went on elsewhere")
        return bytes(length)

    async def release(self, handle: int) -> None:
        pass


class Scene:
    """File 42 is open as 7; what the kernel is told to drop is noted."""

    def __init__(self) -> None:
        self.now = 0.0
        self.activity = Activity(lambda: self.now, lambda: 0.0)
        filesystem: Any = Leaving()
        self.operations = ExportOperations(filesystem, Owner(0, 0, 0o022), self.activity, timeout=5)
        self.operations.opened[7] = 42, 1
        self.dropped: list[tuple[int, int, int]] = []
        self.operations.leftovers.drop = lambda *place: self.dropped.append(place)

    def refused(self, offset: int, length: int) -> None:
        with pytest.raises(FUSEError) as caught:
            trio.run(self.operations.read, 7, offset, length)
        assert caught.value.errno == errno.EAGAIN

    def answered(self, offset: int, *, handle: int = 7) -> None:
        assert trio.run(self.operations.read, handle, offset, 4096) == bytes(4096)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_an_unwanted_read_leaves_no_pages_without_bytes(scene: Scene) -> None:
    scene.refused(4096, 8192)
    assert scene.dropped == []  # who waits for one of them may be about to ask for it
    scene.now += SETTLED
    scene.answered(FAR)
    assert scene.dropped == [(42, 4096, 8192)]
    scene.now += SETTLED
    scene.answered(FAR)
    assert len(scene.dropped) == 1
    assert scene.activity.status(lambda ino: None)["recent_errors"] == []


def test_who_reads_past_the_kernels_cache_is_refused_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would see the error."""
    asked: list[tuple[int, int]] = []

    async def read(handle: int, offset: int, length: int) -> bytes:
        if not asked:
            raise Unwanted("reading went on elsewhere")
        return bytes(length)

    def reads_directly(pid: int, ino: int) -> bool:
        asked.append((pid, ino))
        return True

    monkeypatch.setattr(scene.operations.filesystem, "read", read)
    monkeypatch.setattr(operations, "reads_directly", reads_directly)
    scene.answered(4096)
    assert asked == [(1, 42)]
    assert not scene.operations.leftovers


def test_what_was_just_refused_stays_for_a_moment(scene: Scene) -> None:
    scene.refused(4096, 8192)
    scene.answered(FAR)
    assert scene.dropped == []
    scene.now += SETTLED
    scene.answered(FAR)
    assert scene.dropped == [(42, 4096, 8192)]


def test_pages_that_somebody_came_back_to_are_not_dropped(scene: Scene) -> None:
    """The kernel would wait for those that are being read, and a process that is killed then never ends."""
    scene.refused(FAR - 8192, 8192)
    scene.refused(4096, 8192)
    scene.now += SETTLED
    scene.refused(FAR - 4096, 4096)
    scene.answered(FAR)
    assert scene.dropped == [(42, 4096, 8192)]


def test_pages_near_a_read_under_way_are_not_dropped(scene: Scene) -> None:
    scene.refused(4096, 8192)
    scene.now += SETTLED
    scene.activity.operations[99] = Operation("read", 1, 42, 0, scene.now)
    scene.answered(FAR)
    assert scene.dropped == []
    del scene.activity.operations[99]
    scene.answered(FAR)
    assert scene.dropped == [(42, 4096, 8192)]


def test_the_reads_of_another_file_tell_nothing(scene: Scene) -> None:
    scene.operations.opened[8] = 43, 1
    scene.refused(4096, 8192)
    scene.now += SETTLED
    scene.answered(FAR, handle=8)
    assert scene.dropped == []


def test_the_last_close_drops_at_once(scene: Scene) -> None:
    scene.operations.opened[8] = 42, 1
    scene.refused(4096, 8192)
    trio.run(scene.operations.release, 7)
    assert scene.dropped == []
    trio.run(scene.operations.release, 8)
    assert scene.dropped == [(42, 4096, 8192)]
    assert not scene.operations.leftovers


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
