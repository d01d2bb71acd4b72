"""Two mounts of one server and user share a journal: neither settles what the other is asking for."""

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from exportfs.errors import ExportfsError
from tests.support.fake_server import TIMEOUT, FakeServer
from tests.tree.new.on_a_clock import LONG, Begin, look, play, write
from tests.tree.new.test_exactly_once_model import OPTIONS

pytestmark = pytest.mark.promise("T12", "W12")


@pytest.fixture
def server() -> FakeServer:
    return FakeServer(delay=0.01)


def test_who_begins_while_another_asks_writes_nothing_of_it(server: FakeServer, tmp_path: Path) -> None:
    """The same request under another name was taken for the retry of a failure that nobody had met."""
    server.starts = iter(["slow", "ok"])

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        first = await begin()
        nursery.start_soon(write, first, "a.json")
        await trio.sleep(1)
        second = await begin()
        assert second.ledger.records.unresolved()
        assert server.started == []
        await look(second, TIMEOUT)
        assert server.started == [OPTIONS[1]]
        assert second.ledger.records.unresolved() == []
        third = await begin()
        await write(third, "b.json")
        assert server.started == [OPTIONS[1]] * 2

    play(server, tmp_path, story)


def test_who_waits_in_vain_drops_no_record_of_another(server: FakeServer, tmp_path: Path) -> None:
    """The server fills something in, so the session is not known by its options."""
    server.starts = iter(["slow", "ok"])

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        first = await begin()
        nursery.start_soon(write, first, "a.json")
        await trio.sleep(1)
        second = await begin()
        await trio.sleep(TIMEOUT)
        (session,) = server.sessions.values()
        server.put(replace(session, options=OPTIONS[2]))
        await look(second, LONG)
        third = await begin()
        await write(third, "a.json")
        assert server.started == [OPTIONS[1]]

    play(server, tmp_path, story)


def test_the_answer_of_one_is_not_taken_for_the_other_s(server: FakeServer, tmp_path: Path) -> None:
    """One request was lost on its way, the same through the other mount was not: there is one session, and it is the
    other's."""
    server.starts = iter(["lost before", "ok"])

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        first, second = await begin(), await begin()
        failed = trio.Event()

        async def lost() -> None:
            with pytest.raises(ExportfsError, match="unknown"):
                await write(first, "a.json")
            failed.set()

        nursery.start_soon(lost)
        await trio.sleep(0.2)
        await write(second, "a.json")
        await failed.wait()
        assert server.started == [OPTIONS[1]]
        assert first.ledger.links == {}

    play(server, tmp_path, story)
