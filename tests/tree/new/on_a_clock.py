"""Mounts' `new/` on a clock that jumps, told as a story."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio
import trio.testing

from tests.support.fake_server import FakeServer
from tests.tree.new.test_exactly_once_model import CONTENTS, Mounted

LONG = 300.0
"""Seconds after which nothing is waited for any more."""
Begin = Callable[[], Awaitable[Mounted]]


def play(server: FakeServer, folder: Path, story: Callable[[trio.Nursery, Begin], Awaitable[None]]) -> None:
    """On a clock that jumps."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            server.nursery = nursery

            async def begin() -> Mounted:
                mounted = Mounted(server, folder / "journal", nursery)
                await mounted.start()
                return mounted

            await story(nursery, begin)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


async def write(mounted: Mounted, name: str) -> None:
    """Raises what close() fails with."""
    _, handle = await mounted.new.create(name, 0o644, os.O_WRONLY)
    await handle.write(0, CONTENTS[1])
    try:
        await handle.flush()
    finally:
        await handle.release()


async def look(mounted: Mounted, seconds: float) -> None:
    """As somebody who lists sessions/ now and then."""
    for _ in range(int(seconds)):
        await trio.sleep(1)
        mounted.catalogue.look()
