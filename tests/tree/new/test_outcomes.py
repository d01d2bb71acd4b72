"""What `.metrics` counts of requests, by what becomes of them: new/ on a mock clock, against a server in memory."""

import contextlib
import itertools
import os
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from exportfs.errors import ExportfsError, Unreachable
from exportfs.metrics import Outcome
from exportfs.sessions import starter
from tests.support.fake_server import TIMEOUT, FakeServer
from tests.tree.new.test_exactly_once_model import CONTENTS, Mounted


async def outcomes(mounted: Mounted, content: bytes, later: float = 0.0) -> list[Outcome]:
    """Of a request that is written and closed, and of what comes in so many seconds."""
    counted = mounted.new._context.requests.outcomes
    before = dict(counted)
    _, handle = await mounted.new.create("a.json", 0o644, os.O_WRONLY)
    await handle.write(0, content)
    for close in (handle.flush, handle.release):
        with contextlib.suppress(ExportfsError):
            await close()
    await trio.sleep(later)
    return [outcome for outcome in Outcome for _ in range(counted[outcome] - before[outcome])]


@pytest.mark.promise("T18")
@pytest.mark.parametrize(
    ("answer", "at_once", "later"),
    [
        ("ok", [Outcome.STARTED], []),
        ("lost after", [Outcome.STARTED], []),
        ("refused", [Outcome.REFUSED], []),
        ("limit", [Outcome.REFUSED], []),
        ("unsent", [Outcome.FAILED], []),
        ("lost before", [Outcome.UNKNOWN], [Outcome.ABANDONED]),
        ("late", [Outcome.UNKNOWN], [Outcome.ADOPTED]),
    ],
)
async def test_outcomes(
    autojump_clock: MockClock, tmp_path: Path, answer: str, at_once: list[Outcome], later: list[Outcome]
) -> None:
    server = FakeServer(starts=itertools.repeat(answer))
    async with trio.open_nursery() as nursery:
        server.nursery = nursery
        mounted = Mounted(server, tmp_path / "journal", nursery)
        await mounted.start()
        assert await outcomes(mounted, CONTENTS[1]) == at_once
        counted = mounted.new._context.requests.outcomes
        await trio.sleep(300)
        assert [outcome for outcome in Outcome if counted[outcome]] == sorted(
            {*at_once, *later}, key=list(Outcome).index
        )
        assert sum(counted.values()) == len(at_once) + len(later)
        nursery.cancel_scope.cancel()


@pytest.mark.promise("T18")
async def test_what_is_wrong_in_itself(autojump_clock: MockClock, tmp_path: Path) -> None:
    server = FakeServer()
    async with trio.open_nursery() as nursery:
        mounted = Mounted(server, tmp_path / "journal", nursery)
        await mounted.start()
        assert await outcomes(mounted, b'{"archive": {}}') == [Outcome.INVALID]
        nursery.cancel_scope.cancel()


@pytest.mark.promise("W12")
async def test_who_waits_hears_of_a_lost_answer_however_late_the_look_ends(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The machine is busy, or the journal does not answer just then: the waiting ended first, and said that the server
    had not answered yet."""
    monkeypatch.setattr(starter, "LOOK_PAUSE", 0.01)
    server = FakeServer(starts=itertools.repeat("lost before"), delay=0.01)
    async with trio.open_nursery() as nursery:
        mounted = Mounted(server, tmp_path / "journal", nursery)
        await mounted.start()
        hangs_from = trio.current_time() + TIMEOUT * starter.FOUND - 0.1

        def hang() -> None:
            if trio.current_time() > hangs_from:
                monkeypatch.setattr(mounted.journal, "_aside", lambda work, after: None)

        server.on_list = hang
        _, handle = await mounted.new.create("a.json", 0o644, os.O_WRONLY)
        await handle.write(0, CONTENTS[1])
        with pytest.raises(Unreachable, match="whether the export was started is unknown"):
            await handle.flush()
        nursery.cancel_scope.cancel()
