"""Two mounts of one server and user share a journal: neither settles what the other is asking for."""

import contextlib
import itertools
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st

from exportfs.errors import ExportfsError
from exportfs.sessions.journal_file import JournalFile
from exportfs.sessions.ledger import Put, Record
from exportfs.sessions.starter import SETTLED_AFTER
from tests.support.fake_server import TIMEOUT, FakeServer
from tests.tree.new.on_a_clock import LONG, Begin, look, play, write
from tests.tree.new.test_exactly_once_model import MARKS, OPTIONS, SHM, Mounted

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
    """One request was lost on its way. Were the same sent through the other mount meanwhile, the one session that there
    is could be either's."""
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
        with pytest.raises(ExportfsError, match="still unknown"):
            await write(second, "a.json")
        await failed.wait()
        assert server.started == []
        await look(second, SETTLED_AFTER + 2 * TIMEOUT)
        await write(second, "b.json")
        await look(first, LONG)
        assert server.started == [OPTIONS[1]]
        assert first.ledger.links == {}

    play(server, tmp_path, story)


@pytest.mark.parametrize("name", ["a.json", "b.json"])
def test_who_was_told_of_a_failure_asks_again_through_the_other(
    server: FakeServer, tmp_path: Path, name: str
) -> None:
    """Which has been there all along: while it is unknown what became of it nothing is sent, as in the first."""
    server.starts = iter(["late"])

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        first, second = await begin(), await begin()
        with pytest.raises(ExportfsError, match="unknown"):
            await write(first, "a.json")
        with pytest.raises(ExportfsError, match="still unknown"):
            await write(second, name)
        assert "still unknown" in second.ledger.errors[name]
        await trio.sleep(LONG)
        await write(second, "c.json")
        assert server.started == [OPTIONS[1]]
        assert second.ledger.links["c"] == "hosts/Server/0"

    play(server, tmp_path, story)


def test_what_turned_up_after_a_failure_is_the_retry_s_also_there(server: FakeServer, tmp_path: Path) -> None:
    server.starts = iter(["late", "ok"])

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        first, second = await begin(), await begin()
        with pytest.raises(ExportfsError, match="unknown"):
            await write(first, "a.json")
        await look(first, LONG)
        await write(second, "b.json")
        assert server.started == [OPTIONS[1]]
        assert second.ledger.links == {"b": "hosts/Server/0"}
        # Somebody has heard of it now: from here on each asks for its own.
        await trio.sleep(LONG)
        await write(second, "c.json")
        assert server.started == [OPTIONS[1]] * 2

    play(server, tmp_path, story)


def test_both_ask_at_the_same_time(server: FakeServer, tmp_path: Path) -> None:
    """One after the other: each has an answer, and a session of its own."""

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        first, second = await begin(), await begin()
        async with trio.open_nursery() as both:
            both.start_soon(write, first, "a.json")
            both.start_soon(write, second, "a.json")
        assert server.started == [OPTIONS[1]] * 2
        assert first.ledger.links != second.ledger.links

    play(server, tmp_path, story)


def test_the_other_waits_until_it_is_known(server: FakeServer, tmp_path: Path) -> None:
    """The first never hears anything, and its request never reached the server."""
    server.starts = iter(["hang", "ok"])

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        first, second = await begin(), await begin()
        failed: list[str] = []

        async def ask(mounted: Mounted) -> None:
            with pytest.raises(ExportfsError, match="unknown"):
                await write(mounted, "a.json")
            failed.append("a.json")

        async with trio.open_nursery() as both:
            both.start_soon(ask, first)
            both.start_soon(ask, second)
        assert failed == ["a.json"] * 2
        assert server.started == []
        # Given up by the one, and with it by the other.
        await look(first, SETTLED_AFTER + TIMEOUT + 10)
        await look(second, 10)
        await write(second, "b.json")
        assert server.started == [OPTIONS[1]]

    play(server, tmp_path, story)


def test_a_mount_that_is_gone_is_not_waited_for_long_after(server: FakeServer, tmp_path: Path) -> None:
    server.starts = iter(["late"])

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        file = JournalFile(tmp_path / "journal")
        second = await begin()
        record = Record("key", "x.json", MARKS[1], True, "", (), at=time.time() - 2 * TIMEOUT)
        file.append([Put(record)])
        began = trio.current_time()
        with pytest.raises(ExportfsError, match="still unknown"):
            await write(second, "a.json")
        assert trio.current_time() - began < 1
        assert not server.started

    play(server, tmp_path, story)


LOOKS = 10.0
"""Seconds between two looks once all steps are done."""
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["write", "write", "write", "kill", "look"]),
        st.integers(0, 2),
        st.sampled_from([0.0, 0.1, 3.0, 10.0, 40.0, 130.0]),
    ),
    max_size=12,
)
OUTCOMES = st.lists(st.sampled_from(["ok", "slow", "late", "lost before", "lost after", "hang"]), max_size=12)


class Owing(FakeServer):
    """Knows of sessions that are still to come."""

    owes = 0

    async def _start_late(self, options: bytes, seconds: float) -> None:
        self.owes += 1
        await super()._start_late(options, seconds)
        self.owes -= 1


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, outcomes=OUTCOMES)
@example(steps=[("write", 0, 0.1), ("kill", 0, 0.0), ("write", 1, 40.0)], outcomes=["late"])
def test_whatever_is_done_through_three(steps: list[tuple[str, int, float]], outcomes: list[str]) -> None:
    """One request under ever new names, by three mounts that are killed at times: each session that the server starts
    is the answer to somebody, and while it is unknown whether there is one, nobody starts another."""
    server = Owing(delay=0.01, starts=itertools.chain(outcomes, itertools.repeat("ok")))
    given_ids: list[str] = []
    too_early: list[set[str]] = []

    def sent(options: bytes) -> None:
        open_now = (set(server.sessions) - set(given_ids)) | ({"late"} if server.owes else set())
        if open_now:
            too_early.append(open_now)

    server.on_start = sent

    async def story(nursery: trio.Nursery, journal: Path) -> None:
        mounts: list[tuple[Mounted, trio.CancelScope]] = []

        async def live(task_status: trio.TaskStatus[tuple[Mounted, trio.CancelScope]]) -> None:
            async with trio.open_nursery() as own:
                mounted = Mounted(server, journal, own)
                await mounted.start()
                task_status.started((mounted, own.cancel_scope))
                await trio.sleep_forever()

        async def write_there(mounted: Mounted, name: str) -> None:
            with contextlib.suppress(ExportfsError):
                await write(mounted, name)
                given_ids.append(mounted.ledger.links[name.removesuffix(".json")])

        for _ in range(3):
            mounts.append(await nursery.start(live))
        for number, (step, which, pause) in enumerate(steps):
            mounted, scope = mounts[which]
            match step:
                case "write":
                    mounted.new._context.start_soon(write_there, mounted, f"{number}.json")
                case "kill":
                    scope.cancel()
                    mounts[which] = await nursery.start(live)
                case "look":
                    mounted.catalogue.look()
            await trio.sleep(pause)
        for _ in range(int(LONG / LOOKS)):
            await trio.sleep(LOOKS)
            for mounted, _ in mounts:
                mounted.catalogue.look()
        server.starts = itertools.repeat("ok")
        await write(mounts[0][0], "last.json")
        given_ids.append(mounts[0][0].ledger.links["last"])

    with tempfile.TemporaryDirectory(dir=SHM) as folder:

        async def main() -> None:
            async with trio.open_nursery() as nursery:
                server.nursery = nursery
                await story(nursery, Path(folder) / "journal")
                nursery.cancel_scope.cancel()

        trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert set(given_ids) == set(server.sessions)
    assert too_early == []
