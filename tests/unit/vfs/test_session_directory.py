"""A session's directory, which the kernel asks for as often as anybody passes through it."""

from unittest.mock import Mock

import pytest
import trio
import trio.testing

from exportfs.model import ResultFile, State
from exportfs.sessions.catalogue import Catalogue
from exportfs.vfs.context import Context
from exportfs.vfs.sessions import records
from exportfs.vfs.sessions.directory import SessionDirectory
from tests.support.fake_server import TIMEOUT, FakeServer, session

FIRST, LATER = "20260511T080000", "20260511T080100"
MOMENT = 1_778_486_400
ID = "session"


@pytest.mark.promise("R4")
async def test_times_of_results_are_read_when_they_change(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: trio.testing.MockClock
) -> None:
    """Of 5,000 results it takes 20 ms, in which the mount does nothing else: so not with each look."""
    read = Mock(wraps=records.footage_end)
    monkeypatch.setattr(records, "footage_end", read)
    catalogue = Catalogue(FakeServer(), refresh=5.0, timeout=TIMEOUT)
    context = Context.__new__(Context)  # of which a directory's attributes need this alone
    object.__setattr__(context, "catalogue", catalogue)

    def ends(*moments: str) -> int:
        files = [
            ResultFile(f"{number}.jpg", 1, max_timestamp=moment) for number, moment in enumerate(moments)
        ]
        catalogue.apply([session(ID, State.COMPLETED, *files)], trio.current_time())
        return {directory.attributes().mtime_ns for _ in range(3)}.pop() // 10**9

    directory = SessionDirectory(1, context, ID)
    assert ends(FIRST) == MOMENT
    assert ends(FIRST) == MOMENT
    assert read.call_count == 1
    assert ends(FIRST, LATER) == MOMENT + 60
    assert read.call_count == 2
    await trio.sleep(100)
    assert ends(FIRST, LATER) == MOMENT + 60
    assert read.call_count == 2
