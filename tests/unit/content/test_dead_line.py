"""Many who read over a line on which nothing comes any more: nobody waits for longer than one alone would."""

import pytest
import trio
from trio.testing import MockClock

from exportfs.config import KIB, MIB
from exportfs.errors import TimedOut
from tests.support.fake_source import FakeSource, Trouble, content

TIMEOUT = 30.0


@pytest.mark.promise("E3")
@pytest.mark.parametrize("readers", [2, 8])
async def test_readers_do_not_give_one_another_time(
    autojump_clock: MockClock, nursery: trio.Nursery, readers: int
) -> None:
    """More than the window and the slots have room for: those that come last in the sharing are no less stuck."""
    names = [f"f{number}" for number in range(readers)]
    source = FakeSource(nursery, dict.fromkeys(names, 100 * MIB), fast=False, always=Trouble("stall"))
    library = source.library(timeout=TIMEOUT)
    nursery.start_soon(library.reap)
    took = []

    async def read(name: str, begins: float) -> None:
        await trio.sleep(begins)
        with pytest.raises(TimedOut):
            await library.open(source.key(name)).read(0, 128 * KIB)
        took.append(trio.current_time() - begins)

    async with trio.open_nursery() as all_of_them:
        for number, name in enumerate(names):
            all_of_them.start_soon(read, name, number * 4.0)
    assert max(took) <= TIMEOUT + 0.1
    source.always = None
    assert bytes(await library.open(source.key(names[0])).read(50 * MIB, KIB)) == content(
        names[0], 50 * MIB, KIB
    )
    nursery.cancel_scope.cancel()
