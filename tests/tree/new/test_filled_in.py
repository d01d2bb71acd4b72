"""A server that lists more than was asked for (the agent's own defaults), and loses an answer: no second export."""

from dataclasses import replace
from pathlib import Path

import pytest
import trio

from exportfs.errors import ExportfsError, Interrupted
from exportfs.requests import summarize
from exportfs.wire import export
from tests.support.fake_server import FakeServer
from tests.tree.new.on_a_clock import LONG, Begin, look, play, write
from tests.tree.new.test_exactly_once_model import OPTIONS

pytestmark = pytest.mark.promise("W12")


def settings(options: export.Options) -> None:
    options.settings.add().timezone = 60


class FillingServer(FakeServer):
    """Fills something in before it lists a session."""

    def _start(self, options: bytes) -> str:
        session_id = super()._start(options)
        filled = self.filled(options)
        self.put(replace(self.sessions[session_id], options=filled, summary=summarize(filled)))
        return session_id

    def filled(self, options: bytes) -> bytes:
        message = export.Options.FromString(options)
        settings(message)
        return message.SerializeToString()


def test_what_may_have_been_started_is_not_asked_for_again(tmp_path: Path) -> None:
    server = FillingServer(delay=0.01, starts=iter(["lost after", "ok"]))

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        for again in (False, True):  # as after a crash
            mounted = await begin()
            if not again:
                with pytest.raises(ExportfsError, match="unknown"):
                    await write(mounted, "a.json")
            await look(mounted, LONG)
            (entry,) = mounted.catalogue
            with pytest.raises(Interrupted, match=f"{entry.name} has appeared since"):
                await write(mounted, "b.json")
            assert mounted.ledger.links == {}
        assert server.started == [OPTIONS[1]]
        # Once it is gone nobody has it.
        server.sessions.clear()
        await look(mounted, LONG)
        await write(mounted, "c.json")
        assert server.started == [OPTIONS[1]] * 2

    play(server, tmp_path, story)


def test_the_error_names_what_may_be_it(tmp_path: Path) -> None:
    server = FillingServer(delay=0.01, starts=iter(["lost after"]))

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        with pytest.raises(ExportfsError, match="unknown"):
            await write(mounted, "a.json")
        await look(mounted, LONG)
        (entry,) = mounted.catalogue
        assert entry.name in mounted.ledger.errors["a.json"]

    play(server, tmp_path, story)


@pytest.mark.parametrize("listed_before", [True, False])
def test_what_was_there_before_leaves_no_doubt(tmp_path: Path, listed_before: bool) -> None:
    """Nor does what differs in its interval."""
    server = FillingServer(delay=0.01, starts=iter(["lost before", "ok"]))
    theirs = export.Options.FromString(server.filled(OPTIONS[1]))
    if not listed_before:
        theirs.archive.end_timestamp = "20260511T080499"
    options = theirs.SerializeToString()

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        if listed_before:
            FakeServer._start(server, options)
        with pytest.raises(ExportfsError, match="unknown"):
            await write(mounted, "a.json")
        if not listed_before:
            FakeServer._start(server, options)
        await look(mounted, LONG)
        await write(mounted, "b.json")
        assert server.started == [options, OPTIONS[1]]

    play(server, tmp_path, story)
