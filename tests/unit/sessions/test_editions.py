"""Which export an id stands for, as tables."""

from dataclasses import replace

import pytest

from exportfs.model import ResultFile, Session, State
from exportfs.sessions.editions import MOST_REMEMBERED, Editions
from tests.support.fake_server import SUMMARY, session

FILE = ResultFile("a.mp4", 1000, "20260511T080411", "20260511T080421")
DONE = session("1", State.COMPLETED, FILE)
RUNNING = session("1", State.RUNNING)
OTHER = replace(DONE, summary=replace(SUMMARY, start="20260512T080411"))
AGENT = replace(DONE, summary=replace(SUMMARY, agent="hosts/Server/MMExportAgent.0"))
LARGER = session("1", State.COMPLETED, replace(FILE, size=2000))
LATER = session("1", State.COMPLETED, replace(FILE, max_timestamp="20260511T080431"))


@pytest.mark.promise("R8")
@pytest.mark.parametrize(
    ("before", "now", "listed", "gone"),
    [
        (DONE, DONE, 0, 0),
        (DONE, RUNNING, 1, 1),
        (DONE, OTHER, 1, 1),
        (DONE, AGENT, 0, 0),
        (RUNNING, DONE, 0, 0),
        (RUNNING, OTHER, 0, 0),
        # What a listing corrects is a matter of the file; who comes back with other results is another one.
        (DONE, LARGER, 0, 1),
        (DONE, LATER, 0, 1),
    ],
)
def test_edition(before: Session, now: Session, listed: int, gone: int) -> None:
    editions = Editions()
    assert editions.of(before, None) == 0
    assert editions.of(now, before) == listed
    editions = Editions()
    editions.of(before, None)
    editions.gone(before)
    assert editions.of(now, None) == gone
    assert editions.of(replace(DONE, id="2"), None) == 0


@pytest.mark.promise("R8")
def test_numbers_go_on_however_many_sessions_went() -> None:
    editions = Editions()
    editions.gone(DONE)
    assert editions.of(RUNNING, None) == 1
    editions.gone(DONE)
    for number in range(MOST_REMEMBERED):
        editions.gone(replace(DONE, id=f"other-{number}"))
    assert editions.of(RUNNING, None) == 1
