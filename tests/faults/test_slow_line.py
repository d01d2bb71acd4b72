"""A line that is slow, or shared by many, is not a fault: everything comes, if late."""

import pytest
import trio
import trio.testing

from exportfs.content.download import FileKey
from exportfs.content.library import Library
from tests.support.fake_source import FakeSource, Trouble, content

KIB = 1024
TIMEOUT = 30.0


async def copy(library: Library, key: FileKey, longest: list[float]) -> None:
    reader, offset = library.open(key), 0
    while offset < key.size:
        begun = trio.current_time()
        data = await reader.read(offset, 128 * KIB)
        longest.append(trio.current_time() - begun)
        assert data == content(key.file_id, offset, len(data))
        offset += len(data)
    reader.close()


async def copies(rate: float, sizes: list[int]) -> tuple[float, float, float]:
    """Seconds of all and of the longest read, and bytes sent for each byte of them."""
    longest: list[float] = []
    async with trio.open_nursery() as nursery:
        files = {f"file-{number}": size for number, size in enumerate(sizes)}
        source = FakeSource(nursery, files, rate=rate, fast=False)
        library = source.library(timeout=TIMEOUT)
        nursery.start_soon(library.reap)
        async with trio.open_nursery() as readers:
            for name in files:
                readers.start_soon(copy, library, source.key(name), longest)
        seconds = trio.current_time()
        nursery.cancel_scope.cancel()
    return seconds, max(longest), source.sent / sum(sizes)


@pytest.mark.parametrize(("rate", "readers"), [(30_000, 1), (64_000, 4), (2_000_000, 4)])
def test_slow(rate: float, readers: int) -> None:
    size = 4 << 20
    clock = trio.testing.MockClock(autojump_threshold=0)
    seconds, longest, share = trio.run(copies, rate, [size] * readers, clock=clock)
    assert longest <= TIMEOUT
    assert share < 1.5, "much is sent twice"
    assert seconds < 1.2 * size * readers / rate + 5


def test_many_readers_wait_for_their_turn() -> None:
    clock = trio.testing.MockClock(autojump_threshold=0)
    _, longest, share = trio.run(copies, 1_000_000, [1 << 20] * 64, clock=clock)
    assert longest <= 4 * TIMEOUT  # the handler ends it after that
    assert share < 1.5


@pytest.mark.parametrize("downloads", [1, 2])
def test_a_read_does_not_wait_behind_a_slow_download(downloads: int) -> None:
    """A download that has brought nothing yet is trusted with any distance; once it proves slow, it no longer is."""

    async def play() -> float:
        async with trio.open_nursery() as nursery:
            source = FakeSource(nursery, {"file": 2 << 20}, fast=False)
            source.troubles.append(Trouble("slow"))  # a second a block, for this one download
            library = source.library(cache_size=128 * KIB, max_downloads=downloads, timeout=TIMEOUT)
            key = source.key("file")
            first, second = library.open(key), library.open(key)
            nursery.start_soon(first.read, 0, 300_000)
            await trio.testing.wait_all_tasks_blocked()
            begun = trio.current_time()
            assert await second.read(120 * 16 * KIB, 1) == content("file", 120 * 16 * KIB, 1)
            waited = trio.current_time() - begun
            nursery.cancel_scope.cancel()
        return waited

    # One block shows it; where there is but one slot, it becomes free after its turn of two seconds.
    assert trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0)) < 4
