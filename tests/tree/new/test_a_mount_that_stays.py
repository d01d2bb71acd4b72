"""A gateway's mount serves for months: what it knows of requests goes once their sessions have been gone for a day."""

import json
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import trio

from exportfs.errors import NotFound, Unreachable
from exportfs.sessions import starter
from exportfs.sessions.journal_file import JournalFile
from exportfs.sessions.ledger import records
from tests.support.fake_server import FakeServer
from tests.tree.new.drop import request
from tests.tree.new.on_a_clock import Begin, play
from tests.tree.new.test_exactly_once_model import Mounted

HOUR = 3600.0


@pytest.fixture(autouse=True)
def a_shorter_day(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two hours, by a wall clock that goes with trio's."""
    begun = time.time()
    monkeypatch.setattr(records, "KEPT", 2 * HOUR)
    monkeypatch.setattr(starter, "time", SimpleNamespace(time=lambda: begun + trio.current_time()))
    monkeypatch.setattr(starter, "WATCH_EVERY", 60.0)


async def ask(mounted: Mounted, number: int) -> None:
    """Raises what close() fails with."""
    name = f"{number}.json"
    try:
        handle = await (await mounted.new.lookup(name)).open(os.O_WRONLY | os.O_TRUNC)
    except NotFound:
        _, handle = await mounted.new.create(name, 0o644, os.O_WRONLY)
    await handle.write(0, json.dumps(request(number)).encode())
    try:
        await handle.flush()
    finally:
        await handle.release()


def test_nothing_is_known_for_ever(tmp_path: Path) -> None:
    """Each request was kept as long as the mount, in memory and in the journal, and looked through at the next one."""
    server = FakeServer()

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        for number in range(3):
            await ask(mounted, number)
        for session_id in list(server.sessions)[:2]:
            server.sessions.pop(session_id)
        await trio.sleep(2 * HOUR)
        assert len(mounted.ledger.records.all) == 3
        await trio.sleep(3 * HOUR)
        (left,) = mounted.ledger.records.all
        assert [left.session_id] == list(server.sessions)
        assert left.gone == 0.0
        assert not mounted.ledger.records._unknown_since
        # What is still there starts nothing once more, and what has gone does.
        await ask(mounted, 2)
        assert len(server.started) == 3
        await ask(mounted, 0)
        assert len(server.started) == 4
        assert {one.session_id for one in JournalFile(tmp_path / "journal").load()} == set(server.sessions)

    play(server, tmp_path, story)


@pytest.mark.promise("W3")
def test_while_the_server_is_away_nothing_is_dropped(tmp_path: Path) -> None:
    """Or its sessions are not listed for a while, as of one that is just starting."""
    server = FakeServer()

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        await ask(mounted, 0)
        there = dict(server.sessions)
        server.sessions.clear()
        await trio.sleep(1.5 * HOUR)
        server.fail = Unreachable("the server cannot be reached")
        await trio.sleep(5 * HOUR)
        (kept,) = mounted.ledger.records.all
        assert kept.gone
        server.fail = None
        server.sessions.update(there)
        await trio.sleep(1.5 * HOUR)
        await ask(mounted, 0)
        assert len(server.started) == 1
        assert [one.gone for one in mounted.ledger.records.all] == [0.0]

    play(server, tmp_path, story)
