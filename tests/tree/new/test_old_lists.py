"""What a list of sessions cannot know: what has begun since it was asked for. A lost answer is not settled by it."""

from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from exportfs.errors import TimedOut
from exportfs.model import Listing
from tests.support.fake_server import FakeServer
from tests.tree.new.on_a_clock import Begin, look, play, write
from tests.tree.new.test_exactly_once_model import OPTIONS

SECONDS = 200.0


class ThinLine(FakeServer):
    """Lists take so many seconds once they do, and something comes all the time."""

    thin = False

    async def list_sessions(self, moved: Callable[[], None] = lambda: None) -> Listing:
        listing = await super().list_sessions(moved)
        if self.thin:
            for _ in range(int(SECONDS)):
                await trio.sleep(1.0)
                moved()
        return listing


@pytest.mark.promise("W12")
def test_a_list_that_was_asked_for_before_the_session_was_there(tmp_path: Path) -> None:
    """It came when the time was over, and the request was given up: written again, it started a second export. So did
    a list that was on its way when the mount was stopped, as by a laptop that sleeps."""
    server = ThinLine(starts=iter(["late", "ok"]), delay=0.01)

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        with pytest.raises(TimedOut, match="is unknown"):
            await write(mounted, "a.json")
        server.thin = True
        await look(mounted, 5 * SECONDS)
        assert mounted.ledger.links == {"a": "hosts/Server/0"}
        assert mounted.ledger.errors == {}
        assert server.started == [OPTIONS[1]]

    play(server, tmp_path, story)


@pytest.mark.promise("W12")
def test_a_list_that_was_asked_for_late_enough_settles_it(tmp_path: Path) -> None:
    server = ThinLine(starts=iter(["lost before", "ok"]), delay=0.01)

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        with pytest.raises(Exception, match="is unknown"):
            await write(mounted, "a.json")
        server.thin = True
        await look(mounted, 4 * SECONDS)
        assert "did not start this export" in mounted.ledger.errors["a.json"]

    play(server, tmp_path, story)
