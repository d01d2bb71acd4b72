"""Destroying sessions, which the kernel lets wait for each other."""

import math
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from exportfs.errors import Interrupted, TimedOut
from exportfs.sessions.actions import WARY, WARY_FOR, Actions
from exportfs.sessions.catalogue import Catalogue
from exportfs.sessions.journal import Journal
from tests.sessions.fakes import FakeServer, session

TIMEOUT = 30.0


async def test_sessions_that_hang_do_not_add_up(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Those that the server can destroy are destroyed in between, and later a slow answer is waited for again."""
    server = FakeServer()
    names = [f"s{number}" for number in range(6)]
    server.put(*(session(name) for name in names))
    actions = Actions(server, Catalogue(server, refresh=5, timeout=TIMEOUT), Journal(tmp_path / "journal"))
    for name in names[:4]:
        server.failing[name] = math.inf, Interrupted("never")

    async def rmdir(name: str) -> None:
        with trio.fail_after(TIMEOUT):
            await actions.destroy(name)

    for name, error in zip(names[:4], [trio.TooSlowError, TimedOut, TimedOut, TimedOut], strict=True):
        with pytest.raises(error):
            await rmdir(name)
    assert trio.current_time() == pytest.approx(TIMEOUT + 3 * WARY)
    await rmdir("s4")
    assert set(server.sessions) == {*names[:4], "s5"}
    server.delay = TIMEOUT / 2
    await trio.sleep(WARY_FOR)
    await rmdir("s5")
    assert set(server.sessions) == set(names[:4])
