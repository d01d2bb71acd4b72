"""What reading may take of the memory, as tables, and that downloads keep to it."""

import pytest
import trio

from exportfs.config import KIB, MIB
from exportfs.content.budget import Budget
from exportfs.content.reader import Reader
from tests.support.fake_source import FakeSource


@pytest.mark.parametrize(
    ("cache", "readers", "block", "ahead"),
    [
        (256, 1, MIB, 16 * MIB),
        (256, 32, MIB, 4 * MIB),
        (16, 1, MIB, 2 * MIB),
        (16, 4, MIB, 2 * MIB),
        (16, 8, 512 * KIB, MIB),
        (16, 32, 256 * KIB, 256 * KIB),
        (1, 1, 128 * KIB, 128 * KIB),
    ],
)
def test_what_readers_have_together_fits_into_the_cache(
    cache: int, readers: int, block: int, ahead: int
) -> None:
    budget = Budget(cache * MIB, max_downloads=4)
    assert (budget.block(readers), budget.ahead(readers)) == (block, ahead)


@pytest.mark.parametrize(
    ("cache", "downloads", "block", "near", "streams", "spared"),
    [
        (256, 4, MIB, True, 4, 4),
        (256, 4, MIB, False, 4, 4),  # never fewer than what eight readers need
        (256, 1, MIB, True, 1, 0),
        (256, 16, MIB, True, 16, 40),
        (256, 64, MIB, True, 24, 64),
        (16, 4, MIB, True, 4, 4),
        (16, 16, 512 * KIB, True, 4, 4),
        (16, 64, 64 * KIB, True, 5, 4),
        (16, 64, MIB, False, 4, 4),
    ],
)
def test_so_many_streams_fit_beside_the_cache(
    cache: int, downloads: int, block: int, near: bool, streams: int, spared: int
) -> None:
    budget = Budget(cache * MIB, downloads)
    assert budget.streams(block, near=near) == streams
    assert budget.spared == spared * MIB


async def test_no_more_streams_run_than_there_is_memory_for(autojump_clock: trio.abc.Clock) -> None:
    async with trio.open_nursery() as nursery:
        source = FakeSource(nursery, {f"{number}": 64 * MIB for number in range(16)}, fast=True)
        library = source.library(cache_size=16 * MIB, max_downloads=16)
        readers = [library.open(source.key(name)) for name in source.sizes]
        most = Budget(16 * MIB, 16).streams(256 * KIB, near=True)
        assert most < 16

        async def read(reader: Reader) -> None:
            for offset in range(0, 8 * MIB, MIB):
                assert len(await reader.read(offset, MIB)) == MIB

        async with trio.open_nursery() as reading:
            reading.start_soon(library.reap)
            async with trio.open_nursery() as all_of_them:
                for reader in readers:
                    all_of_them.start_soon(read, reader)
            reading.cancel_scope.cancel()
        assert source.most_running <= most
        nursery.cancel_scope.cancel()
