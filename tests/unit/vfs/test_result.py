"""An open result whose session goes, or becomes another, at one moment or another: no byte is given that may be of
something else, and nothing is kept alive by what did not open."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
import trio.testing

from exportfs.errors import Corrupt, Gone
from exportfs.model import ResultFile, State
from exportfs.sessions.catalogue import Catalogue
from exportfs.sessions.keepalive import KeepAliveConfig
from exportfs.sessions.keeper import Keeper
from exportfs.vfs.context import Context
from exportfs.vfs.sessions.directory import Result
from tests.support.fake_server import SUMMARY, TIMEOUT, FakeServer, session
from tests.support.fake_source import FakeSource, content

SIZE, FILE, ID = 1 << 20, "f", "session"
KEPT = KeepAliveConfig(keep=900.0)


def listed(catalogue: Catalogue, *files: ResultFile, end: str = "") -> None:
    """So the server lists the session now."""
    found = session(ID, State.COMPLETED, *files, summary=replace(SUMMARY, end=end))
    catalogue.apply([found], trio.current_time())


def destroyed(catalogue: Catalogue) -> None:
    catalogue.destroyed(ID)


def of_another_size(catalogue: Catalogue) -> None:
    listed(catalogue, ResultFile(FILE, SIZE - 1))


def of_another_export(catalogue: Catalogue) -> None:
    listed(catalogue, ResultFile(FILE, SIZE), end="20260511T090411")


HOW = pytest.mark.parametrize("becomes", [destroyed, of_another_size, of_another_export])


@asynccontextmanager
async def result(size: int = SIZE, sends: int = SIZE) -> AsyncIterator[tuple[Result, FakeSource]]:
    """Of a session that has completed; announced with one size, and sent with another."""
    async with trio.open_nursery() as nursery:
        server, source = FakeServer(), FakeSource(nursery, {FILE: sends}, delay=1.0)
        catalogue = Catalogue(server, refresh=5.0, timeout=TIMEOUT)
        listed(catalogue, ResultFile(FILE, size))
        context = Context.__new__(Context)  # of which a result uses these three alone
        parts = {
            "catalogue": catalogue,
            "keeper": Keeper(server, catalogue, KEPT, lambda _: False, timeout=TIMEOUT),
            "library": source.library(),
        }
        for name, part in parts.items():
            object.__setattr__(context, name, part)
        entry = catalogue.get(ID)
        assert entry is not None
        yield Result(1, context, ID, ResultFile(FILE, size), entry.edition), source
        nursery.cancel_scope.cancel()


@pytest.mark.promise("R8", "R10")
@HOW
async def test_what_comes_after_that_is_not_given(
    becomes: Callable[[Catalogue], None], autojump_clock: trio.testing.MockClock
) -> None:
    async with result() as (node, _):
        handle = await node.open(os.O_RDONLY)
        async with trio.open_nursery() as reading:

            async def read() -> None:
                with pytest.raises(Gone):
                    await handle.read(SIZE // 2, 4096)

            reading.start_soon(read)
            await trio.sleep(0.5)
            becomes(node.context.catalogue)


@pytest.mark.promise("R8", "R10")
@HOW
async def test_nothing_is_asked_for_after_that(
    becomes: Callable[[Catalogue], None], autojump_clock: trio.testing.MockClock
) -> None:
    """Nor given, though it is in memory."""
    async with result() as (node, source):
        handle = await node.open(os.O_RDONLY)
        assert await handle.read(0, 4096) == content(FILE, 0, 4096)
        becomes(node.context.catalogue)
        asked = len(source.fetches)
        for offset in (0, SIZE // 2):
            with pytest.raises(Gone):
                await handle.read(offset, 4096)
        with pytest.raises(Gone):
            await node.open(os.O_RDONLY)
        assert len(source.fetches) == asked


@pytest.mark.promise("R10")
async def test_what_is_in_memory_is_given_when_the_session_is_gone(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with result() as (node, _):
        handle = await node.open(os.O_RDONLY)
        await handle.read(0, 4096)
        node.context.catalogue.remove(ID)
        assert await handle.read(0, 4096) == content(FILE, 0, 4096)
        assert node.attributes().size == SIZE  # for who has it open
        await handle.release()
        with pytest.raises(Gone):
            node.attributes()


@pytest.mark.promise("K2", "R6")
async def test_what_cannot_be_opened_is_not_open(autojump_clock: trio.testing.MockClock) -> None:
    """Announced without any bytes, of which the server has some: it is kept for as long as after a close."""
    async with result(size=0, sends=100) as (node, _):
        with pytest.raises(Corrupt):
            await node.open(os.O_RDONLY)
        keeper = node.context.keeper
        assert keeper.kept(ID)
        await trio.sleep(KEPT.keep + 1)
        assert not keeper.kept(ID)
