"""The catalogue, with servers that list whatever they like whenever they like."""

import logging
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exportfs.config import CONNECTION_QUIET
from exportfs.errors import ExportfsError, TimedOut, Unreachable
from exportfs.model import OptionsSummary, ResultFile, Session, SessionState, State
from exportfs.naming import encode
from exportfs.sessions.catalogue import (
    APPEARS,
    FAIL_FAST,
    IDLE_LEAST,
    IDLE_RATE,
    LOOKED,
    NEW_CONNECTION,
    OVERHEAD,
    STRETCH,
    Catalogue,
)
from exportfs.sessions.control import Actions
from exportfs.sessions.ledger import Records
from exportfs.waits import CALL, Wait
from tests.support.fake_server import SESSION_BYTES, SUMMARY, FakeServer, entry_of, session, watched
from tests.support.hostile import MIME_TYPES, texts

FILES = st.lists(
    st.builds(ResultFile, path=texts(3), size=st.integers(0, 2**64 - 1), mime_type=MIME_TYPES), max_size=3
).map(tuple)
ASKED_FOR = st.builds(OptionsSummary, origin=texts(2), start=st.one_of(st.just("20260511T080411"), texts(1)))


@st.composite
def histories(draw: st.DrawFn) -> list[list[Session]]:
    """Listings one after the other, of few ids and of exports asked for in two ways: all come again."""
    ids = draw(st.lists(texts(3).filter(bool), min_size=1, max_size=4, unique=True))
    ways = draw(st.tuples(ASKED_FOR, ASKED_FOR))
    exports = st.builds(
        lambda way, state, files: replace(
            session("", state, *files, summary=way), options=encode(f"{way.origin}\0{way.start}")
        ),
        st.sampled_from(ways),
        st.sampled_from([*State, State.COMPLETED, State.COMPLETED]),
        FILES,
    )
    listing = st.fixed_dictionaries({key: st.one_of(st.none(), exports, exports) for key in ids}).map(
        lambda made: [replace(one, id=key) for key, one in made.items() if one is not None]
    )
    return draw(st.lists(listing, min_size=2, max_size=4))


def catalogue_of(server: FakeServer, refresh: float = 5.0, timeout: float = 30.0) -> Catalogue:
    return watched(Catalogue(server, refresh=refresh, timeout=timeout))


@pytest.fixture
async def server() -> FakeServer:
    return FakeServer()


@pytest.fixture
async def catalogue(server: FakeServer, nursery: trio.Nursery) -> Catalogue:
    """Running, and listed once."""
    catalogue = catalogue_of(server)
    nursery.start_soon(catalogue.run)
    await catalogue.update()
    return catalogue


def to_be_shown(listed: Session, before: Session | None) -> Session:
    """What is to be known of a session that is listed, other than the order of its results. before: what was."""
    if before is None or before.state.state is not State.COMPLETED or before.options != listed.options:
        return listed
    return (
        replace(listed, state=before.state) if listed.state.state in (State.NONE, State.RUNNING) else listed
    )


def in_any_order(one: Session) -> tuple[Session, Counter[ResultFile]]:
    return replace(one, state=replace(one.state, files=())), Counter(one.state.files)


@pytest.mark.slow
@pytest.mark.promise("N4", "N10", "R4", "S9", "T2", "T7")
@settings(deadline=None, max_examples=100)
@given(histories())
@example([[session("/", State.COMPLETED, ResultFile("", 0))], [session("/", State.NONE)]])
@example(
    [[session("/", State.COMPLETED, ResultFile("", 0))], [replace(session("/", State.RUNNING), options=b"x")]]
)
def test_whatever_is_listed_shows_once_under_one_name(listings: list[list[Session]]) -> None:
    catalogue = catalogue_of(FakeServer())
    shown: dict[str, Session] = {}
    for number, listed in enumerate(listings):
        catalogue.apply(listed, float(number))
        shown = {
            one.id: to_be_shown(one, shown.get(one.id))
            for one in listed
            if one.state.state is not State.REMOVED
        }
        assert {entry.id for entry in catalogue} == set(shown)
        assert len(catalogue) == len(shown)
        for entry in catalogue:
            assert catalogue.named(entry.name) is entry is catalogue.get(entry.id)
            assert in_any_order(entry.session) == in_any_order(shown[entry.id])
            assert "/" not in entry.name
            assert len(entry.names) == len(entry.places) == len(entry.session.state.files)
            assert [entry.places[name] for name in entry.names] == list(range(len(entry.names)))


def test_versions_move_with_every_change_and_only_then() -> None:
    catalogue = catalogue_of(FakeServer())
    catalogue.apply([session("a", State.RUNNING)], 0.0)
    entry = entry_of(catalogue, "a")
    before = entry.version
    catalogue.apply([session("a", State.RUNNING)], 1.0)
    assert entry_of(catalogue, "a") is entry
    assert entry.version == before
    catalogue.apply([session("a", State.COMPLETED, ResultFile("x.mp4", 5))], 2.0)
    assert entry.version != before
    assert entry.names == ("x.mp4",)


@pytest.mark.promise("N9", "S4")
async def test_results_in_another_order_keep_their_names() -> None:
    catalogue = catalogue_of(FakeServer())
    first, second = ResultFile("a/x.mp4", 5, "video/mp4"), ResultFile("b/x.mp4", 6, "video/mp4")
    catalogue.apply([session("a", State.COMPLETED, first, second)], 0.0)
    entry = entry_of(catalogue, "a")
    before = entry.version
    catalogue.apply([session("a", State.COMPLETED, second, first)], 1.0)
    catalogue.state("a", session("a", State.COMPLETED, second, first).state)
    assert entry.places == {"x.mp4": 0, "x~2.mp4": 1}
    assert [file.path for file in entry.session.state.files] == ["a/x.mp4", "b/x.mp4"]
    assert (entry.names, entry.version) == (("x.mp4", "x~2.mp4"), before)
    catalogue.apply([session("a", State.COMPLETED, second)], trio.current_time() + 1)
    assert [file.path for file in entry.session.state.files] == ["b/x.mp4"]


@pytest.mark.promise("R8", "S9")
async def test_an_answer_without_a_state_takes_no_results_away() -> None:
    catalogue = catalogue_of(FakeServer())
    catalogue.apply([session("a", State.COMPLETED, ResultFile("x.mp4", 5))], 0.0)
    entry = entry_of(catalogue, "a")
    catalogue.state("a", session("a", State.NONE).state)
    assert (entry.completed, entry.names, entry.edition) == (True, ("x.mp4",), 0)
    catalogue.state("a", session("a", State.RUNNING).state)
    assert (entry.completed, entry.names, entry.edition) == (False, (), 1)


@pytest.mark.promise("T5")
async def test_one_listing_answers_all(
    autojump_clock: object, server: FakeServer, catalogue: Catalogue
) -> None:
    async with trio.open_nursery() as nursery:
        for _ in range(1000):
            nursery.start_soon(catalogue.fresh)
    assert server.listings == 1
    await trio.sleep(60)
    # The background's own, no more often than the interval needs.
    assert 12 <= server.listings <= 1 + 60 / (5 * 0.4)


@pytest.mark.promise("T5")
async def test_an_expensive_listing_is_repeated_less_often(
    autojump_clock: object, server: FakeServer, catalogue: Catalogue
) -> None:
    server.cost = 1.0
    await catalogue.update(since=trio.current_time())
    assert catalogue.period == STRETCH
    before = server.listings
    await trio.sleep(200)
    assert server.listings - before <= 200 / STRETCH + 1
    # Who looks still gets what is no older than the interval.
    begun = trio.current_time()
    server.put(session("a"))
    await trio.sleep(5)
    await catalogue.fresh()
    assert catalogue.get("a") is not None
    assert trio.current_time() - begun < 6


@pytest.mark.promise("T4")
async def test_a_change_shows_within_the_interval(
    autojump_clock: object, server: FakeServer, catalogue: Catalogue
) -> None:
    server.put(session("a"))
    await trio.sleep(4)
    await catalogue.fresh()
    assert catalogue.get("a") is not None
    del server.sessions["a"]
    await trio.sleep(4)
    await catalogue.fresh()
    assert catalogue.get("a") is None


@pytest.mark.promise("T4")
async def test_what_was_done_here_is_not_undone_by_a_listing_made_before(
    autojump_clock: object, server: FakeServer, catalogue: Catalogue
) -> None:
    server.put(session("old"))
    await catalogue.update(since=trio.current_time())

    def meanwhile() -> None:  # after the server has made its list, before it is here
        catalogue.remove("old")
        catalogue.add(session("new", State.RUNNING))
        server.on_list = lambda: None

    server.delay, server.on_list = 1.0, meanwhile
    since = trio.current_time()
    with trio.move_on_after(1.5):
        await catalogue.update(since=since)
    assert catalogue.get("old") is None
    assert catalogue.get("new") is not None
    # A later listing is believed, of what was started here after a while.
    del server.sessions["old"]
    await trio.sleep(10)
    assert [entry.id for entry in catalogue] == ["new"]
    await trio.sleep(APPEARS)
    assert len(catalogue) == 0


@pytest.mark.promise("E2")
async def test_a_failure_is_the_answer_for_a_moment(
    autojump_clock: object, server: FakeServer, catalogue: Catalogue
) -> None:
    server.fail = Unreachable("the server cannot be reached")
    with pytest.raises(Unreachable):
        await catalogue.update(since=trio.current_time())
    await trio.sleep(4.5)
    with pytest.raises(Unreachable):
        await catalogue.fresh()
    listings = server.listings
    for _ in range(100):
        with pytest.raises(Unreachable):
            await catalogue.fresh()
    assert server.listings == listings
    server.fail = None
    await trio.sleep(FAIL_FAST)
    await catalogue.fresh()
    assert catalogue.error is None


async def test_a_failure_and_its_end_are_told_once(
    autojump_clock: object, server: FakeServer, catalogue: Catalogue, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "exportfs.sessions")
    await catalogue.update(since=trio.current_time())
    server.fail = Unreachable("the line is dark")
    await trio.sleep(600)
    server.fail = None
    await trio.sleep(600)
    assert caplog.messages == [
        "could not list the sessions: the line is dark",
        "the sessions can be listed again",
    ]


@pytest.mark.promise("E3")
async def test_nobody_waits_longer_than_the_timeout(
    autojump_clock: object, server: FakeServer, catalogue: Catalogue
) -> None:
    await trio.sleep(1)
    server.delay = 10_000.0
    await trio.sleep(100)
    begun = trio.current_time()
    with pytest.raises(TimedOut):
        await catalogue.fresh()
    assert trio.current_time() - begun == pytest.approx(30.0)


@pytest.mark.promise("E2", "E3", "T5")
async def test_a_long_listing_is_waited_for_while_it_moves(
    autojump_clock: object, server: FakeServer, catalogue: Catalogue
) -> None:
    """And then shown for as long again: who goes down a path does not wait for one at each step."""
    await trio.sleep(1)
    server.put(session("a"))
    server.delay, server.pages = 10.0, 6
    begun = trio.current_time()
    await catalogue.update(since=begun)
    assert 60 <= trio.current_time() - begun <= 62
    assert catalogue.has("a")
    asked, listings = trio.current_time() - 60, server.listings
    for _ in range(5):
        await trio.sleep(11)
        before = trio.current_time()
        await catalogue.fresh()
        assert trio.current_time() == before
    assert server.listings == listings
    await trio.sleep_until(asked + 121)
    before = trio.current_time()
    await catalogue.fresh()
    assert trio.current_time() - before > 50
    assert server.listings == listings + 1


@pytest.mark.promise("E3")
async def test_a_call_that_waits_for_a_long_listing_gets_the_time(
    autojump_clock: object, server: FakeServer, catalogue: Catalogue
) -> None:
    await trio.sleep(1)
    server.delay, server.pages = 10.0, 6
    call = Wait(30, 45)
    CALL.set(call)
    begun = trio.current_time()
    with call.scope:
        await catalogue.update(since=begun)
    assert call.scope.cancelled_caught
    assert trio.current_time() - begun == pytest.approx(45)
    listing = trio.current_time()
    await catalogue.update()  # which is the same one, still under way
    assert trio.current_time() - listing < 20


async def test_actions_show_at_once(
    autojump_clock: object, server: FakeServer, catalogue: Catalogue, tmp_path: Path
) -> None:
    server.put(session("a", State.RUNNING), session("b"))
    await catalogue.update(since=trio.current_time())
    records = Records([], str)
    actions = Actions(server, catalogue, records)
    await actions.stop("a")
    assert entry_of(catalogue, "a").completed
    assert actions.was_stopped("a")
    await actions.destroy("b")
    assert catalogue.get("b") is None
    await actions.destroy("b")  # gone already is as good
    del server.sessions["a"]
    with pytest.raises(ExportfsError):
        await actions.stop("a")
    assert catalogue.get("a") is None


def test_a_state_for_a_session_that_is_not_there_is_passed_over() -> None:
    catalogue = catalogue_of(FakeServer())
    catalogue.state("a", SessionState(State.COMPLETED))
    assert len(catalogue) == 0


@pytest.mark.promise("S4")
async def test_an_answer_that_is_overtaken_is_older_news(autojump_clock: trio.testing.MockClock) -> None:
    server = FakeServer()
    catalogue = Catalogue(server, refresh=5.0, timeout=30.0)
    running, done = SessionState(State.RUNNING), SessionState(State.COMPLETED, True)
    catalogue.apply([session("a", State.RUNNING), session("b", State.RUNNING)], 0.0)
    # Polls of both are asked at 1; then one is stopped, and the other seen to end by a listing.
    catalogue.state("a", done)
    catalogue.apply([session("a"), session("b")], 2.0)
    for key in "ab":
        catalogue.state(key, running, asked=-1.0)
        assert entry_of(catalogue, key).completed
    # What was asked for later counts, whatever it says.
    catalogue.state("b", running, asked=3.0)
    assert not entry_of(catalogue, "b").completed
    # So does what the server did just now, though a poll was asked meanwhile.
    catalogue.state("b", done)
    assert entry_of(catalogue, "b").completed


@pytest.mark.promise("T4", "S9")
async def test_a_list_that_lags_behind_takes_away_nothing_that_was_started_here(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Who waits for it would be told that it is gone, and export it again."""
    catalogue = Catalogue(FakeServer(), refresh=5.0, timeout=30.0)
    for key in "abc":
        catalogue.add(session(key, State.RUNNING))
    await trio.sleep(10)
    catalogue.apply([], trio.current_time())
    assert len(catalogue) == 3
    catalogue.state("a", SessionState(State.COMPLETED, True))
    catalogue.remove("b")  # the answer to a question, or a `destroy`
    catalogue.apply([], trio.current_time())
    assert {entry.id for entry in catalogue} == {"a", "c"}
    # Once it has been listed it goes when it is listed no more; and it has to be listed some day.
    catalogue.apply([session("a")], trio.current_time())
    await trio.sleep(1)
    catalogue.apply([], trio.current_time())
    assert {entry.id for entry in catalogue} == {"c"}
    await trio.sleep(APPEARS)
    catalogue.apply([], trio.current_time())
    assert len(catalogue) == 0


@pytest.mark.promise("R4")
async def test_what_has_completed_does_not_run_again(autojump_clock: trio.testing.MockClock) -> None:
    """A list that lags behind would take its results away for a while."""
    catalogue = Catalogue(FakeServer(), refresh=5.0, timeout=30.0)
    catalogue.apply([session("a", State.RUNNING)], 0.0)
    result = ResultFile("f", 1, "")
    catalogue.state("a", SessionState(State.COMPLETED, True, "", (result,)))
    await trio.sleep(5)
    for state in (State.RUNNING, State.NONE):
        catalogue.apply([session("a", state)], trio.current_time())
        assert entry_of(catalogue, "a").session.state.files == (result,)
    # Another export under its id, of a server that started anew, has none of its results.
    catalogue.apply([replace(session("a", State.RUNNING), options=b"others")], trio.current_time())
    assert entry_of(catalogue, "a").session.state.files == ()
    catalogue.apply([session("a", State.REMOVED)], trio.current_time())
    assert catalogue.get("a") is None


@pytest.mark.promise("R8", "S9")
@pytest.mark.parametrize("lags", [True, False])
@pytest.mark.parametrize(
    "change", [{"agent": "hosts/S/A.0"}, {"kind": "mkv"}, {"start": "20260511T080411.000000"}]
)
async def test_the_first_list_may_write_options_otherwise(
    change: dict[str, Any], lags: bool, autojump_clock: trio.testing.MockClock
) -> None:
    """A question finds that what was started here has completed; the list that is first to have it shows the options
    as the server writes them: it is the same export, and whoever has a result open reads on."""
    catalogue = Catalogue(FakeServer(), refresh=5.0, timeout=30.0)
    asked = trio.current_time()
    await trio.sleep(1)
    sent = replace(session("a", State.RUNNING), options=b"as sent")
    entry = catalogue.add(sent)
    done = session("a", State.COMPLETED, ResultFile("f", 1)).state
    catalogue.state("a", done)
    version = entry.version
    listed = replace(sent, options=b"as listed", summary=replace(SUMMARY, **change))
    # One that was asked for before says nothing of it, though it comes later and has it.
    catalogue.apply([listed], asked)
    assert entry.session.options == b"as sent"
    await trio.sleep(1)
    catalogue.apply([listed if lags else replace(listed, state=done)], trio.current_time())
    assert (entry.session, entry.edition) == (replace(listed, state=done), 0)
    assert entry.version > version  # its records show the options
    # From then on the server's own words are known: others are another export's.
    catalogue.apply([replace(listed, options=b"others")], trio.current_time())
    assert (entry.completed, entry.edition) == (False, 1)


@pytest.mark.promise("R8", "S9")
@pytest.mark.parametrize(
    "change", [{"origin": "hosts/S/D.2/V:0:0"}, {"start": "20260512T080411"}, {"live": True}]
)
async def test_another_export_in_the_first_list(
    change: dict[str, Any], autojump_clock: trio.testing.MockClock
) -> None:
    """Of a server that started anew and gave the id again: not with other words, but with another name."""
    for lists in (State.RUNNING, State.COMPLETED):
        catalogue = Catalogue(FakeServer(), refresh=5.0, timeout=30.0)
        entry = catalogue.add(session("a", State.RUNNING))
        catalogue.state("a", session("a", State.COMPLETED, ResultFile("f", 1)).state)
        await trio.sleep(1)
        other = replace(session("a", lists, summary=replace(SUMMARY, **change)), options=b"others")
        catalogue.apply([other], trio.current_time())
        assert (entry.session, entry.edition) == (other, 1)


@pytest.mark.promise("T6")
async def test_a_session_that_gets_on_does_not_change_the_directory(
    autojump_clock: trio.testing.MockClock,
) -> None:
    now = [1000.0]
    catalogue = Catalogue(FakeServer(), refresh=5.0, timeout=30.0, wall=lambda: now[0])
    catalogue.apply([session("a", State.RUNNING)], trio.current_time())
    assert catalogue.named_at == 1000.0
    now[0] = 2000.0
    catalogue.apply([session("a", State.COMPLETED)], trio.current_time())
    assert catalogue.named_at == 1000.0
    catalogue.apply([], trio.current_time())
    assert catalogue.named_at == 2000.0


@pytest.mark.promise("T5")
@pytest.mark.parametrize("sessions", [0, 1, 50, 200, 500, 5000])
async def test_while_nobody_looks_listings_cost_little(
    sessions: int, autojump_clock: object, server: FakeServer, nursery: trio.Nursery
) -> None:
    catalogue = Catalogue(server, refresh=5.0, timeout=30.0)
    server.put(*(session(f"s{number}") for number in range(sessions)))
    nursery.start_soon(catalogue.run)
    await catalogue.update()
    await trio.sleep(2 * LOOKED)
    before = server.listings
    hours = 10
    await trio.sleep(hours * 3600)
    listings = server.listings - before
    each = sessions * SESSION_BYTES + OVERHEAD
    if hours * 3600 / listings > CONNECTION_QUIET:  # over a new connection each
        each += NEW_CONNECTION
    assert listings * each <= hours * 3600 * IDLE_RATE * 1.01
    assert listings > 0
    assert listings <= hours * 3600 / IDLE_LEAST + 1


@pytest.mark.promise("T4")
async def test_the_first_look_after_a_long_time_is_fresh(
    autojump_clock: object, server: FakeServer, nursery: trio.Nursery
) -> None:
    catalogue = Catalogue(server, refresh=5.0, timeout=30.0)
    nursery.start_soon(catalogue.run)
    await trio.sleep(1000)
    server.put(session("a"))
    await catalogue.fresh()
    assert catalogue.get("a") is not None
    # And the next ones need not wait: until nobody looks any more, listings are as often as they were.
    before = server.listings
    await trio.sleep(LOOKED - 1)
    assert server.listings - before >= (LOOKED - 1) // (5 * 0.4) - 1
    await trio.sleep(1000)
    assert server.listings - before <= LOOKED / (5 * 0.4) + 1000 / IDLE_LEAST + 1


async def test_a_look_at_what_memory_answers_brings_a_listing(
    autojump_clock: object, server: FakeServer, nursery: trio.Nursery
) -> None:
    catalogue = Catalogue(server, refresh=5.0, timeout=30.0)
    nursery.start_soon(catalogue.run)
    await trio.sleep(1000.5)
    server.put(session("a"))
    for _ in range(100):
        catalogue.look()
    await trio.testing.wait_all_tasks_blocked()
    assert catalogue.get("a") is not None


@pytest.mark.promise("T4")
async def test_the_kernel_keeps_nothing_that_is_older_than_the_interval(
    server: FakeServer, autojump_clock: trio.testing.MockClock
) -> None:
    catalogue = catalogue_of(server, refresh=5.0)
    catalogue.apply([], trio.current_time())
    assert catalogue.kernel_seconds == pytest.approx(5.0)
    await trio.sleep(3)
    assert catalogue.kernel_seconds == pytest.approx(2.0)
    # What is older is not shown, or the last that was heard of a server that is away.
    await trio.sleep(1)
    assert catalogue.kernel_seconds == pytest.approx(1.0)
    await trio.sleep(100)
    assert catalogue.kernel_seconds == pytest.approx(1.0)
