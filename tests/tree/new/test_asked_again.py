"""The same request comes again, or under another name, while the first is under way or its outcome unknown: what each
is told, and how long a session that turns up late is waited for, on a clock that jumps."""

import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from exportfs.errors import ExportfsError, TimedOut, Unreachable
from exportfs.model import Session, SessionState, State
from exportfs.requests import summarize
from exportfs.sessions.starter import SETTLED_AFTER
from exportfs.vfs.new import submissions
from tests.support.fake_server import TIMEOUT, FakeServer
from tests.tree.new.on_a_clock import LONG, Begin, look, play, write
from tests.tree.new.test_after_an_error import Asking, SlowLists, slow
from tests.tree.new.test_exactly_once_model import CONTENTS

pytestmark = pytest.mark.promise("W12")


def test_a_limit_until_no_time_is_left(tmp_path: Path) -> None:
    """Nothing was started: the error is the server's, and the same is sent again at once."""
    server = SlowLists(starts=iter(["limit", "ok"]))

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        asking = Asking(server, mounted)
        server.on_start = lambda _: setattr(server, "list_seconds", TIMEOUT)
        assert "RESOURCE_EXHAUSTED" in str(await asking.write("a.json", CONTENTS[1]))
        server.list_seconds = 0.0
        assert await asking.again("b.json", CONTENTS[1]) is None
        assert mounted.ledger.links == {"b": "hosts/Server/0"}

    play(server, tmp_path, story)


def test_a_limit_that_stays(tmp_path: Path) -> None:
    """The pauses grow: a server at its limit is not asked all the time."""
    server = FakeServer(starts=itertools.repeat("limit"))

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        asking = Asking(server, await begin())
        assert "RESOURCE_EXHAUSTED" in str(await asking.write("a.json", CONTENTS[1]))
        assert 5 <= asking.sent <= 10

    play(server, tmp_path, story)


def test_another_name_while_the_server_is_being_asked(tmp_path: Path) -> None:
    """It gets no answer in its time, and is not told that nothing was sent: its export may well be started."""
    server = FakeServer(starts=iter(["hang"]))

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        asking = Asking(server, mounted)
        nursery.start_soon(asking.write, "a.json", CONTENTS[1])
        await trio.sleep(1.0)
        error = await asking.write("b.json", CONTENTS[1])
        assert isinstance(error, TimedOut)
        assert "under another name; the same was sent before" in str(error)
        await trio.sleep(LONG)
        assert asking.sent == 1

    play(server, tmp_path, story)


def test_each_of_three_names_has_its_turn(tmp_path: Path) -> None:
    server = FakeServer(delay=0.5)  # an answer to StartSession takes five times that

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        asking = Asking(server, mounted)
        errors: list[ExportfsError | None] = []

        async def write(name: str) -> None:
            errors.append(await asking.write(name, CONTENTS[1]))

        async with trio.open_nursery() as writing:
            for name, pause in (("a.json", 1.0), ("b.json", 3.5), ("c.json", 0.0)):
                writing.start_soon(write, name)
                await trio.sleep(pause)
        assert errors == [None] * 3
        assert mounted.ledger.links == {name: f"hosts/Server/{n}" for n, name in enumerate("abc")}

    play(server, tmp_path, story)


def test_a_request_that_cannot_be_written_down(tmp_path: Path) -> None:
    server = FakeServer()

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        aside = mounted.journal._aside
        mounted.journal._aside = slow(nursery, TIMEOUT)
        asking = Asking(server, mounted)
        assert "nothing was sent" in str(await asking.write("a.json", CONTENTS[1]))
        mounted.journal._aside = aside
        await trio.sleep(LONG)
        assert asking.sent == 0
        assert await asking.again("b.json", CONTENTS[1]) is None

    play(server, tmp_path, story)


def test_who_has_given_up_before_anything_is_sent(tmp_path: Path) -> None:
    """The handler's own bound, while the record is being written: the same may be asked for at once."""
    server = FakeServer()

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        mounted.journal._aside = slow(nursery, 0.5)
        asking = Asking(server, mounted)
        with trio.move_on_after(0.3) as waiting:
            await write(mounted, "a.json")
        assert waiting.cancelled_caught
        assert "nothing was sent" in mounted.ledger.errors["a.json"]
        await trio.sleep(2.0)
        await write(mounted, "b.json")
        await trio.sleep(LONG)
        assert mounted.ledger.links == {"b": "hosts/Server/0"}
        assert asking.sent == 1

    play(server, tmp_path, story)


class Deaf(FakeServer):
    """Answers when it likes."""

    async def start_session(self, options: bytes, *, within: float) -> str:
        self.on_start(options)
        await trio.sleep(2 * TIMEOUT)
        return self._start(options)


def test_an_answer_that_nobody_waits_for_any_more(tmp_path: Path) -> None:
    """close() has not succeeded, nor is it told that nothing was sent; whatever asks for it has that session."""
    server = Deaf()

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        asking = Asking(server, mounted)
        assert "has not answered yet" in str(await asking.write("a.json", CONTENTS[1]))
        await trio.sleep(LONG)
        await write(mounted, "b.json")
        assert mounted.ledger.links == {"a": "hosts/Server/0", "b": "hosts/Server/0"}
        assert asking.sent == 1

    play(server, tmp_path, story)


def test_a_session_that_the_list_has_no_more(tmp_path: Path) -> None:
    """Only once the server says that it is gone the same request starts another one."""
    server = FakeServer()

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        asking = Asking(server, mounted)
        assert await asking.write("a.json", CONTENTS[1]) is None
        await look(mounted, 2 * SETTLED_AFTER)
        del server.sessions["hosts/Server/0"]
        await look(mounted, 2 * SETTLED_AFTER)
        file = mounted.new.file("a.json")
        assert file is not None

        async def once_more() -> None:
            handle = await file.open(os.O_WRONLY | os.O_TRUNC)
            await handle.write(0, CONTENTS[1])
            try:
                await handle.flush()
            finally:
                await handle.release()

        server.failing["hosts/Server/0"] = 0.0, Unreachable("the server cannot be reached")
        with pytest.raises(Unreachable, match="sent before"):
            await once_more()
        assert asking.sent == 1
        server.failing.clear()
        await once_more()
        assert mounted.ledger.links == {"a": "hosts/Server/1"}
        assert mounted.ledger.records.session_ids() == {"hosts/Server/1"}

    play(server, tmp_path, story)


@pytest.mark.parametrize("to", [None, "a.json~"])
def test_a_file_that_is_no_request_any_more_once_it_has_been_read(
    to: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = FakeServer()
    read = submissions._aside

    async def slowly(function: Callable[[bytes], Any], content: bytes) -> Any:
        await trio.sleep(1.0)
        return await read(function, content)

    monkeypatch.setattr(submissions, "_aside", slowly)

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        nursery.start_soon(write, mounted, "a.json")
        await trio.sleep(0.5)
        if to is None:
            mounted.new.unlink("a.json")
        else:
            await mounted.new.rename("a.json", to, replace=True)
        await trio.sleep(LONG)
        assert (server.started, mounted.ledger.links) == ([], {})

    play(server, tmp_path, story)


@pytest.mark.promise("E5")
def test_a_rename_that_fails_as_nobody_foresaw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mount goes on."""
    server = FakeServer()

    def breaks(*_: object, **__: object) -> None:
        raise RuntimeError("nobody foresaw this")

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        await write(mounted, "a.json~")
        with monkeypatch.context() as patch:
            patch.setattr(submissions, "parse", breaks)
            with pytest.raises(ExportfsError, match="unexpected error: RuntimeError"):
                await mounted.new.rename("a.json~", "a.json", replace=True)
        await write(mounted, "b.json")
        assert mounted.ledger.links == {"b": "hosts/Server/0"}

    play(server, tmp_path, story)


class Late(FakeServer):
    """Starts the export so many seconds after it was asked, of which nobody hears."""

    seconds = 0.0

    async def start_session(self, options: bytes, *, within: float) -> str:
        assert self.nursery is not None
        self.on_start(options)
        self.nursery.start_soon(self._start_late, options, self.seconds)
        await trio.sleep(within)
        raise Unreachable("the server cannot be reached")


def test_a_late_session_is_waited_for_from_when_its_answer_was_lost(tmp_path: Path) -> None:
    """Not from when it was asked for: who is told that nothing was started asks again, and has two."""
    server = Late()
    server.seconds = SETTLED_AFTER + TIMEOUT + 10

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        asking = Asking(server, mounted)
        assert "is unknown" in str(await asking.write("a.json", CONTENTS[1]))
        for _ in range(int(server.seconds)):
            await trio.sleep(1)
            mounted.catalogue.look()
            assert "did not start" not in mounted.ledger.errors.get("a.json", "")
        assert mounted.ledger.links == {"a": "hosts/Server/0"}

    play(server, tmp_path, story)


@pytest.mark.promise("W7")
@pytest.mark.parametrize(("starts", "again"), [("slow", "hosts/Server/1"), ("late", "hosts/Server/0")])
def test_a_file_that_was_removed_gets_no_link(starts: str, again: str, tmp_path: Path) -> None:
    """Neither when its answer comes nor when its session turns up. The same request again is a new one, but where
    nobody has heard of that session."""
    server = FakeServer(starts=itertools.chain([starts], itertools.repeat("ok")))

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        asking = Asking(server, mounted)
        nursery.start_soon(asking.write, "a.json", CONTENTS[1])
        await trio.sleep(1.0)
        mounted.new.unlink("a.json")
        await look(mounted, LONG)
        assert (len(server.started), mounted.ledger.links) == (1, {})
        await write(mounted, "a.json")
        assert mounted.ledger.links == {"a": again}

    play(server, tmp_path, story)


@pytest.mark.promise("W7")
def test_one_that_was_removed_while_its_earlier_session_was_looked_for(tmp_path: Path) -> None:
    """It has got that one, so the same under its name is a new request."""
    server = SlowLists(starts=iter(["late", "ok"]))

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        asking = Asking(server, mounted)
        assert "is unknown" in str(await asking.write("a.json", CONTENTS[1]))
        await trio.sleep(16.0)
        assert server.started  # and nobody has looked since
        server.list_seconds = 2.0
        nursery.start_soon(asking.again, "b.json", CONTENTS[1])
        await trio.sleep(1.0)
        mounted.new.unlink("b.json")
        await trio.sleep(LONG)
        assert mounted.ledger.links == {"a": "hosts/Server/0"}
        await write(mounted, "b.json")
        assert mounted.ledger.links == {"a": "hosts/Server/0", "b": "hosts/Server/1"}

    play(server, tmp_path, story)


def test_a_request_that_has_started_nothing_after_all(tmp_path: Path) -> None:
    """It says so, and may be sent again."""
    server = FakeServer(starts=iter(["lost before", "ok"]))

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        asking = Asking(server, mounted)
        assert "is unknown" in str(await asking.write("a.json", CONTENTS[1]))
        await look(mounted, LONG)
        assert "did not start this export" in mounted.ledger.errors["a.json"]
        await write(mounted, "b.json")
        assert mounted.ledger.links == {"b": "hosts/Server/0"}

    play(server, tmp_path, story)


@pytest.mark.promise("K1")
def test_a_session_that_turns_up_late_is_kept_alive(tmp_path: Path) -> None:
    server = FakeServer(starts=iter(["late"]))

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        nursery.start_soon(mounted.new._context.keeper.run)
        assert "is unknown" in str(await Asking(server, mounted).write("a.json", CONTENTS[1]))
        await trio.sleep(LONG)
        assert "hosts/Server/0" in {session_id for _, session_id in server.asked}

    play(server, tmp_path, story)


@pytest.mark.promise("K1", "T12")
def test_a_session_of_which_another_mount_hears_is_kept_alive_by_both(tmp_path: Path) -> None:
    """That one may be gone tomorrow, and this one has said that the session was started here."""
    server = FakeServer(starts=iter(["slow"]), delay=0.01)

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        first = await begin()
        nursery.start_soon(write, first, "a.json")
        await trio.sleep(1)
        second = await begin()
        nursery.start_soon(second.new._context.keeper.run)
        await look(second, LONG)
        assert second.ledger.links == {"a": "hosts/Server/0"}
        assert "hosts/Server/0" in {session_id for _, session_id in server.asked}

    play(server, tmp_path, story)


def test_a_session_whose_options_cannot_be_read_hides_none(tmp_path: Path) -> None:
    """Somebody's, of the same camera and interval, that were started in the same moment."""
    server = FakeServer(starts=iter(["lost after"]))

    def somebody_too(options: bytes) -> None:
        for n in range(8):  # they are looked at in the order of hashes
            server.put(Session(f"theirs/{n}", b"\xff", summarize(options), SessionState(State.RUNNING)))

    server.on_start = somebody_too

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        await write(mounted, "a.json")
        assert mounted.ledger.links == {"a": "hosts/Server/0"}

    play(server, tmp_path, story)


def test_a_file_that_was_removed_and_is_written_again_gets_the_late_session(tmp_path: Path) -> None:
    server = FakeServer(starts=itertools.chain(["late"], itertools.repeat("ok")))

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        asking = Asking(server, mounted)
        assert "is unknown" in str(await asking.write("a.json", CONTENTS[1]))
        mounted.new.unlink("a.json")
        assert "still unknown" in str(await asking.again("a.json", CONTENTS[1]))
        await trio.sleep(LONG)
        assert mounted.ledger.links == {"a": "hosts/Server/0"}
        assert asking.sent == 1

    play(server, tmp_path, story)
