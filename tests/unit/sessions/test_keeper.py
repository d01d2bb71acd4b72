"""The keeper, with a server in memory and a clock that jumps."""

import logging
import math
import re
from itertools import pairwise

import pytest
import trio
import trio.testing

from exportfs.errors import AccessDenied, ExportfsError, TimedOut, Unreachable
from exportfs.model import OptionsSummary, State
from exportfs.sessions.catalogue import Catalogue
from exportfs.sessions.keepalive import (
    COMPLETED_LIMIT,
    LIVE_LIMIT,
    RETRY_CYCLE,
    RUNNING_LIMIT,
    KeepAliveConfig,
)
from exportfs.sessions.keeper import Keeper
from tests.support.fake_server import LIVE, SUMMARY, FakeServer, entry_of, session, watched

CONFIG = KeepAliveConfig(keep=900.0, refresh=5.0)
TIMEOUT = 30.0
Clock = trio.testing.MockClock


class Kept:
    """A keeper at work, and what it needs."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.server = FakeServer()
        self.catalogue = watched(Catalogue(self.server, refresh=5.0, timeout=TIMEOUT))
        self.started: set[str] = set()
        self.keeper = Keeper(self.server, self.catalogue, CONFIG, self.started.__contains__, timeout=TIMEOUT)
        nursery.start_soon(self.keeper.run)

    def put(
        self, session_id: str, state: State, *, started: bool = False, summary: OptionsSummary = SUMMARY
    ) -> None:
        self.server.put(session(session_id, state, summary=summary))
        self.catalogue.apply(list(self.server.sessions.values()), trio.current_time())
        if started:
            self.started.add(session_id)
            self.keeper.watch(session_id)

    def put_live(self, prefix: str, count: int) -> list[str]:
        """Running exports of ours that the server stops first; the ids."""
        ids = [f"{prefix}{number}" for number in range(count)]
        for session_id in ids:
            self.put(session_id, State.RUNNING, started=True, summary=LIVE)
        return ids

    def longest_wait(self, session_ids: list[str], since: float = 0.0) -> float:
        """Between two questions about one of these sessions, from `since` until now."""
        longest = 0.0
        for session_id in session_ids:
            times = [since, *(when for when in self.asked(session_id) if when > since), trio.current_time()]
            longest = max(longest, *(b - a for a, b in pairwise(times)))
        return longest

    def asked(self, session_id: str) -> list[float]:
        return [when for when, asked in self.server.asked if asked == session_id]


@pytest.fixture
async def kept(nursery: trio.Nursery) -> Kept:
    return Kept(nursery)


@pytest.mark.promise("K1", "K3")
async def test_running_sessions_of_ours_are_asked_about(autojump_clock: Clock, kept: Kept) -> None:
    kept.put("ours", State.RUNNING, started=True)
    kept.put("theirs", State.RUNNING)
    await trio.sleep(300)
    asked = kept.asked("ours")
    assert 60 <= len(asked) <= 151
    assert max(b - a for a, b in pairwise(asked)) <= 4
    assert kept.asked("theirs") == []
    kept.put("ours", State.COMPLETED)
    await trio.sleep(5)
    before = len(kept.asked("ours"))
    await trio.sleep(300)
    assert len(kept.asked("ours")) == before


@pytest.mark.slow
@pytest.mark.promise("K2")
async def test_an_open_file_keeps_its_session(autojump_clock: Clock, kept: Kept) -> None:
    """A paused player: open, and not read for longer than the server keeps what nobody asks about."""
    kept.put("a", State.COMPLETED)
    kept.keeper.opened("a")
    await trio.sleep(1.5 * COMPLETED_LIMIT)
    asked = kept.asked("a")
    assert asked[0] <= 1200
    assert max(b - a for a, b in pairwise(asked)) <= 1200
    assert trio.current_time() - asked[-1] <= 1200
    assert kept.keeper.kept("a")
    kept.keeper.closed("a")
    closed = trio.current_time()
    await trio.sleep(899)
    assert kept.keeper.kept("a")
    await trio.sleep(2)
    assert not kept.keeper.kept("a")
    last = kept.asked("a")[-1]
    assert last - closed == pytest.approx(900, abs=15)
    await trio.sleep(2 * 1200)
    assert kept.asked("a")[-1] == last


@pytest.mark.promise("K2")
async def test_every_read_prolongs(autojump_clock: Clock, kept: Kept) -> None:
    kept.put("a", State.COMPLETED)
    kept.keeper.opened("a")
    kept.keeper.closed("a")
    await trio.sleep(600)
    kept.keeper.read("a")
    await trio.sleep(600)
    assert kept.keeper.kept("a")


@pytest.mark.promise("K3")
async def test_nothing_else_is_kept(autojump_clock: Clock, kept: Kept) -> None:
    kept.put("a", State.COMPLETED)
    kept.put("b", State.COMPLETED, started=True)
    for _ in range(100):
        kept.keeper.kept("a")
        kept.keeper.expires_in("a")
        await trio.sleep(10)
    assert kept.server.asked == []


@pytest.mark.promise("K6")
async def test_what_a_question_learns_shows(autojump_clock: Clock, kept: Kept) -> None:
    kept.put("a", State.RUNNING, started=True)
    kept.put("b", State.COMPLETED)
    kept.server.put(session("a", State.COMPLETED))
    del kept.server.sessions["b"]
    kept.keeper.opened("b")
    await trio.sleep(3)
    assert entry_of(kept.catalogue, "a").completed
    assert kept.catalogue.get("b") is None
    kept.keeper.closed("b")
    await trio.sleep(3)
    assert not kept.keeper.kept("b")


async def test_polls_name_their_session(
    autojump_clock: Clock, kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "exportfs.sessions")
    kept.server.failing = {"refused": (0.0, Unreachable("no way")), "silent": (math.inf, Unreachable(""))}
    for name in ("fine", "refused", "silent"):
        kept.put(name, State.RUNNING, started=True)
    await trio.sleep(60)
    assert "keep-alive poll of session fine" in caplog.messages
    assert "keep-alive poll of session refused failed: no way" in caplog.messages
    assert any(
        re.fullmatch(r"keep-alive poll of session silent timed out after [\d.]+ s", line)
        for line in caplog.messages
    )


async def test_what_fails_for_long_is_told_once(
    autojump_clock: Clock, kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    """And that it works again: a night without a line is not a thousand lines."""
    caplog.set_level(logging.INFO, "exportfs.sessions")
    kept.put("a", State.RUNNING, started=True)
    kept.server.fail = Unreachable("gone for a night")
    await trio.sleep(1800)
    kept.server.fail = None
    await trio.sleep(60)
    polls = [line for line in caplog.messages if line.startswith("keep-alive poll")]
    assert polls == [
        "keep-alive poll of session a failed: gone for a night",
        "keep-alive poll of session a succeeded again",
    ]


@pytest.mark.promise("K5", "T18")
async def test_a_question_that_fails_is_repeated(autojump_clock: Clock, kept: Kept) -> None:
    kept.put("a", State.RUNNING, started=True)
    kept.server.fail = Unreachable("gone for a while")
    await trio.sleep(60.5)  # between two looks: no question is under way
    failed = len(kept.asked("a"))
    assert failed >= 15
    assert kept.keeper.failing == 1
    kept.server.fail = None
    await trio.sleep(60)
    asked = len(kept.asked("a"))
    assert asked > failed
    assert kept.keeper.failing == 0
    assert (kept.keeper.polls.ended, kept.keeper.polls.failed) == (asked, failed)


@pytest.mark.slow
@pytest.mark.promise("K5")
async def test_many_sessions_share_the_calls(autojump_clock: Clock, kept: Kept) -> None:
    for number in range(500):
        kept.server.put(session(f"s{number}"))
    kept.put("last", State.COMPLETED)
    for entry in kept.catalogue:
        kept.keeper.opened(entry.id)
    # At ten calls a second each has its turn every 50 s; the limit of two lost questions is 1,200 s.
    await trio.sleep(200)
    assert {asked for _, asked in kept.server.asked} == set(kept.server.sessions)
    assert kept.longest_wait(list(kept.server.sessions)) <= 60
    assert len(kept.server.asked) <= 200 * 11


@pytest.mark.promise("K5")
async def test_four_questions_at_a_time(autojump_clock: Clock, kept: Kept) -> None:
    kept.server.delay = 3.0
    for number in range(50):
        kept.put(f"s{number}", State.RUNNING, started=True)
    await trio.sleep(60)
    assert {asked for _, asked in kept.server.asked} == set(kept.server.sessions)
    assert kept.server.most_running == 4


@pytest.mark.promise("K1")
async def test_a_listing_that_misses_a_session_does_not_end_its_life(
    autojump_clock: Clock, kept: Kept
) -> None:
    kept.put("ours", State.RUNNING, started=True)
    await trio.sleep(30)
    kept.catalogue.apply([], trio.current_time())
    assert kept.catalogue.get("ours") is None
    before = len(kept.asked("ours"))
    await trio.sleep(600)
    assert len(kept.asked("ours")) > before + 10
    kept.catalogue.apply(list(kept.server.sessions.values()), trio.current_time())
    await trio.sleep(60)
    assert trio.current_time() - kept.asked("ours")[-1] <= 5


@pytest.mark.promise("K1", "K4")
async def test_what_no_list_has_had_is_kept_until_it_ends(autojump_clock: Clock, kept: Kept) -> None:
    """A mount that is restarted knows of it from its journal, and its first lists may miss it."""
    kept.started.add("ours")
    kept.keeper.watch("ours")
    kept.server.put(session("ours", State.RUNNING))
    await trio.sleep(600)
    assert kept.longest_wait(["ours"]) <= 5
    kept.server.put(session("ours", State.COMPLETED))
    await trio.sleep(5)
    before = len(kept.asked("ours"))
    await trio.sleep(600)
    assert len(kept.asked("ours")) == before


@pytest.mark.promise("K2")
async def test_lists_that_miss_what_is_open_do_not_end_its_life(autojump_clock: Clock, kept: Kept) -> None:
    """For longer than it would be kept if it were closed."""
    kept.put("theirs", State.COMPLETED)
    kept.keeper.opened("theirs")
    kept.catalogue.apply([], trio.current_time())
    await trio.sleep(2 * CONFIG.keep)
    kept.catalogue.apply(list(kept.server.sessions.values()), trio.current_time())
    assert kept.keeper.kept("theirs")
    kept.keeper.closed("theirs")
    await trio.sleep(2 * CONFIG.keep)
    assert not kept.keeper.kept("theirs")
    kept.keeper.opened("theirs")
    await trio.sleep(2 * CONFIG.keep)
    assert kept.keeper.kept("theirs")


@pytest.mark.promise("S3", "S8")
async def test_when_it_expires_as_far_as_is_known(autojump_clock: Clock, kept: Kept) -> None:
    kept.put("a", State.COMPLETED)
    await trio.sleep(1000)
    assert kept.keeper.expires_in("nothing") is None
    assert kept.keeper.expires_in("a") is None
    kept.keeper.opened("a")
    assert kept.keeper.expires_in("a") == COMPLETED_LIMIT
    kept.keeper.closed("a")
    assert [entry.id for entry in kept.keeper.known()] == ["a"]
    await trio.sleep(100)
    assert kept.keeper.expires_in("a") == CONFIG.keep + COMPLETED_LIMIT - 100
    await trio.sleep(CONFIG.keep)
    left = COMPLETED_LIMIT - (trio.current_time() - kept.asked("a")[-1])
    assert kept.keeper.expires_in("a") == left


async def test_a_session_that_the_server_says_is_gone_is_not_asked_about_again(
    autojump_clock: Clock, kept: Kept
) -> None:
    kept.put("ours", State.RUNNING, started=True)
    await trio.sleep(30)
    kept.server.sessions.clear()
    await trio.sleep(30)
    before = len(kept.asked("ours"))
    await trio.sleep(600)
    assert len(kept.asked("ours")) == before


@pytest.mark.promise("K3")
@pytest.mark.parametrize("state", [State.RUNNING, State.COMPLETED])
async def test_a_session_that_was_destroyed_here_is_not_kept_by_questions(
    autojump_clock: Clock, kept: Kept, state: State
) -> None:
    """Though a player has it open still, and the server has not come to deleting it yet."""
    kept.put("ours", state, started=True)
    kept.keeper.opened("ours")
    await trio.sleep(30.5)  # between two looks: no question is under way
    kept.catalogue.destroyed("ours")
    before = len(kept.asked("ours"))
    assert before
    await trio.sleep(600)
    assert len(kept.asked("ours")) == before
    kept.keeper.closed("ours")
    await trio.sleep(600)
    assert len(kept.asked("ours")) == before


REFUSED = (0.01, AccessDenied("no"))
HANGS = (TIMEOUT - 1, Unreachable("this node is down"))
NEVER_ENDS = (float("inf"), TimedOut("never raised"))


@pytest.mark.slow
@pytest.mark.promise("K1", "K5")
@pytest.mark.parametrize(
    "kinds",
    [(REFUSED,), (HANGS,), (NEVER_ENDS,), (REFUSED, HANGS, NEVER_ENDS)],
    ids=["refused", "hanging", "endless", "mixed"],
)
@pytest.mark.parametrize(("failing", "healthy"), [(1, 1), (10, 3), (9, 10), (20, 20)])
async def test_sessions_that_fail_hold_up_no_others(
    autojump_clock: Clock, kept: Kept, kinds: list[tuple[float, ExportfsError]], failing: int, healthy: int
) -> None:
    """They fail from the start, when none has been asked about, and sort before and after the healthy ones.

    Six minutes: who fails is known after a RETRY_CYCLE, and then each cycle is like the one before.
    """
    bad = [*kept.put_live("a", failing - failing // 2), *kept.put_live("z", failing // 2)]
    good = kept.put_live("m", healthy)
    kept.server.failing = {one: kinds[number % len(kinds)] for number, one in enumerate(bad)}
    await trio.sleep(6 * RETRY_CYCLE)
    assert kept.longest_wait(good) <= 60
    assert kept.longest_wait(bad) <= 100
    # As soon as it is known who fails, the others are as well off as ever.
    assert kept.longest_wait(good, since=3 * RETRY_CYCLE) <= 8
    assert kept.server.most_running <= 4


@pytest.mark.slow
@pytest.mark.promise("K1", "K5")
@pytest.mark.parametrize("kind", [REFUSED, HANGS], ids=["refused", "hanging"])
async def test_very_many_sessions_that_begin_to_fail_hold_up_no_others(
    autojump_clock: Clock, kept: Kept, kind: tuple[float, ExportfsError]
) -> None:
    bad, good = kept.put_live("a", 200), kept.put_live("m", 20)
    await trio.sleep(60)  # 22 s are a turn
    kept.server.failing = dict.fromkeys(bad, kind)
    await trio.sleep(2 * 280)
    assert kept.longest_wait(good) <= 200
    assert kept.longest_wait(bad) <= 280
    assert kept.server.most_running <= 4


@pytest.mark.promise("K1", "K5")
async def test_one_lost_question_among_many_that_hang(autojump_clock: Clock, kept: Kept) -> None:
    bad, good = kept.put_live("a", 40), kept.put_live("m", 5)
    kept.server.failing = dict.fromkeys(bad, HANGS)
    await trio.sleep(600)
    kept.server.failing["m0"] = REFUSED
    await trio.sleep(5)
    del kept.server.failing["m0"]
    since = trio.current_time()
    await trio.sleep(600)
    assert kept.longest_wait(good, since) <= 75


@pytest.mark.promise("K5")
@pytest.mark.parametrize("kind", [REFUSED, HANGS], ids=["refused", "hanging"])
async def test_sessions_that_failed_are_asked_about_soon_after(
    autojump_clock: Clock, kept: Kept, kind: tuple[float, ExportfsError]
) -> None:
    ids = kept.put_live("a", 100)
    kept.server.failing = dict.fromkeys(ids, kind)
    await trio.sleep(500)
    kept.server.failing.clear()
    since = trio.current_time()
    await trio.sleep(35)
    assert {asked for when, asked in kept.server.asked if when > since} == set(ids)
    # At their own pace again: a hundred share ten calls a second.
    await trio.sleep(60)
    assert kept.longest_wait(ids, since + 35) <= 15


@pytest.mark.promise("K5")
async def test_a_question_that_breaks_holds_up_no_others(autojump_clock: Clock, kept: Kept) -> None:
    kept.put_live("a", 3)
    kept.server.failing["a0"] = (0.01, RuntimeError("nobody foresaw this"))
    await trio.sleep(60)
    assert kept.longest_wait(["a0", "a1", "a2"]) <= 5


@pytest.mark.slow
@pytest.mark.promise("K1", "K5")
async def test_while_nobody_looks_questions_are_as_rare_as_the_server_allows(
    autojump_clock: Clock, kept: Kept
) -> None:
    kept.catalogue._looked = -math.inf
    live = kept.put_live("live", 100)
    kept.put("other", State.RUNNING, started=True)
    seconds = RUNNING_LIMIT
    await trio.sleep(seconds)
    assert kept.longest_wait(live) <= LIVE_LIMIT / 3 + 5
    assert all(len(kept.asked(session_id)) <= seconds / (LIVE_LIMIT / 3) + 1 for session_id in live)
    assert 3 <= len(kept.asked("other")) <= 4
