"""What the kernel is told to drop from its page cache."""

import errno
import os
import struct
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from pyfuse3 import FUSEError

from exportfs.errors import Unwanted
from exportfs.fuse import operations
from exportfs.fuse.leftovers import MOST, Leftovers
from exportfs.fuse.operations import ExportOperations
from exportfs.fuse.pages import drop_attributes, drop_pages
from exportfs.vfs.node import Owner
from exportfs.vfs.status import Activity


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


FAR = 1 << 30


class Leaving:
    """A filesystem in which nobody wants what is read below FAR any more."""

    ahead = False

    def may_be_ahead(self, offset: int, length: int) -> bool:
        return self.ahead

    async def read(self, handle: int, offset: int, length: int) -> bytes:
        if offset < FAR:
            raise Unwanted("reading went on elsewhere")
        return bytes(length)

    async def release(self, handle: int) -> None:
        pass


class Scene:
    """File 42 is open as 7; what the kernel is told to drop is noted."""

    def __init__(self) -> None:
        self.activity = Activity(lambda: 0.0, lambda: 0.0)
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
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setattr(operations, "reads_directly", lambda pid, ino: False)
    return Scene()


def test_an_unwanted_read_leaves_no_pages_without_bytes(scene: Scene) -> None:
    scene.refused(4096, 8192)
    scene.answered(FAR)
    assert scene.dropped == []
    trio.run(scene.operations.release, 7)
    assert scene.dropped == [(42, 4096, 8192)]
    assert not scene.operations.leftovers
    assert scene.activity.status(lambda ino: None)["recent_errors"] == []


def test_nothing_is_dropped_while_the_file_is_open_anywhere(scene: Scene) -> None:
    """The kernel would wait for pages that are being read, and a process that is killed then never ends."""
    scene.operations.opened[8] = 42, 1
    scene.refused(4096, 8192)
    trio.run(scene.operations.release, 7)
    assert scene.dropped == []
    # That another file is open makes no difference.
    for other in (9, 10):
        scene.operations.opened[other] = 43, 1
    trio.run(scene.operations.release, 9)
    assert scene.dropped == []
    trio.run(scene.operations.release, 8)
    assert scene.dropped == [(42, 4096, 8192)]


def test_pages_that_somebody_came_back_to_are_not_dropped(scene: Scene) -> None:
    scene.refused(FAR - 4 * 4096, 8 * 4096)
    scene.refused(4096, 8192)
    scene.answered(FAR)
    scene.answered(FAR + 2 * 4096)
    trio.run(scene.operations.release, 7)
    assert scene.dropped == [
        (42, FAR - 4 * 4096, 4 * 4096),
        (42, FAR + 4096, 4096),
        (42, FAR + 3 * 4096, 4096),
        (42, 4096, 8192),
    ]


def test_where_somebody_came_back_to_all_of_it_nothing_is_left() -> None:
    leftovers = Leftovers(lambda ino, offset, length: None)
    leftovers.refused(42, 4096, 8192)
    leftovers.asked(43, 0, FAR)
    assert leftovers
    leftovers.asked(42, 0, FAR)
    assert not leftovers


def test_the_oldest_places_are_forgotten() -> None:
    dropped: list[int] = []
    leftovers = Leftovers(lambda ino, offset, length: dropped.append(offset))
    for place in range(MOST + 3):
        leftovers.refused(42, place * 8192, 4096)
    leftovers.closed(42)
    assert dropped == [place * 8192 for place in range(3, MOST + 3)]


@pytest.mark.parametrize(
    ("at_first", "looks", "refused"),
    [
        (False, [False], True),
        (False, [None], True),  # it is being closed
        (False, [True], False),
        (None, [], False),  # it was opened by a thread that has ended, or given away
        (True, [], False),
        ("fast", [False], True),  # nobody looked at first
        ("fast", [None], False),
        ("fast", [True], False),
    ],
)
def test_who_may_read_past_the_kernels_cache_is_never_refused(
    scene: Scene,
    monkeypatch: pytest.MonkeyPatch,
    at_first: bool | str | None,
    looks: list[bool | None],
    refused: bool,
) -> None:
    answers: list[bool | None] = [*looks]
    filesystem: Any = scene.operations.filesystem
    if not isinstance(at_first, str):
        answers.insert(0, at_first)
        filesystem.ahead = True
    monkeypatch.setattr(operations, "reads_directly", lambda pid, ino: answers.pop(0))
    tries = 0

    async def read(handle: int, offset: int, length: int) -> bytes:
        nonlocal tries
        tries += 1
        if tries == 1:
            raise Unwanted("reading went on elsewhere")
        return bytes(length)

    filesystem.read = read
    if refused:
        scene.refused(4096, 8192)
    else:
        assert trio.run(scene.operations.read, 7, 4096, 8192) == bytes(8192)
        # What may be so once may be so again: it is not asked about any more.
        tries = 0
        assert trio.run(scene.operations.read, 7, 4096, 8192) == bytes(8192)
    assert answers == []
    trio.run(scene.operations.release, 7)
    assert scene.operations.direct == {}


def test_the_message(pipe: tuple[int, int]) -> None:
    drop_pages(pipe[1], 42, 4096, 8192)
    assert struct.unpack("=IiQQqq", os.read(pipe[0], 100)) == (40, 2, 0, 42, 4096, 8192)


def test_a_message_that_the_kernel_does_not_take_is_no_failure(pipe: tuple[int, int]) -> None:
    drop_pages(pipe[0], 42, 4096, 8192)


def test_attributes_alone(pipe: tuple[int, int]) -> None:
    drop_attributes(pipe[1], 42)
    assert struct.unpack("=IiQQqq", os.read(pipe[0], 100)) == (40, 2, 0, 42, -1, 0)
