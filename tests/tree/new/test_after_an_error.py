"""Who was told of an error asks again. So nothing is sent for them any more, and what the server had by then is theirs,
under whatever name they ask: every wait on the way from close() to StartSession, on a clock that jumps."""

import contextlib
import itertools
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from exportfs.cameras.catalogue import Cameras
from exportfs.cameras.footage import FootageReader
from exportfs.errors import Exhausted, ExportfsError, Interrupted, TimedOut, Unreachable
from exportfs.model import Listing
from exportfs.record import PERHAPS_SENT_BEFORE
from exportfs.sessions.journal import Aside, at_once
from exportfs.sessions.starter import WATCH_EVERY
from exportfs.vfs.new import submissions
from exportfs.vfs.new.file import RequestFile
from tests.support.fake_server import TIMEOUT, FakeServer
from tests.tree.new.on_a_clock import LONG, Begin, play
from tests.tree.new.test_exactly_once_model import CONTENTS, Mounted
from tests.unit.cameras.fake_site import FakeSite, camera

POINT = b"hosts/Server/DeviceIpint.1/SourceEndpoint.video:0:0"
NAMED = CONTENTS[1].replace(POINT, b"Camera 1")
assert CONTENTS[1] != NAMED

pytestmark = pytest.mark.promise("W12")


class SlowLists(FakeServer):
    """Takes so many seconds for the list of sessions, but not for the first one."""

    list_seconds = 0.0

    async def list_sessions(self, moved: Callable[[], None] = lambda: None) -> Listing:
        listing = await super().list_sessions(moved)
        await trio.sleep(self.list_seconds)
        return listing


class SlowSite(FakeSite):
    """Takes so many seconds for the list of cameras."""

    def __init__(self, seconds: float) -> None:
        super().__init__(camera(1))
        self.seconds = seconds

    async def list_cameras(self) -> Any:
        await trio.sleep(self.seconds)
        return await super().list_cameras()


def slow(nursery: trio.Nursery, seconds: float) -> Aside:
    """A disk that takes so long for everything."""

    def aside(work: Callable[[], None], after: Callable[[], None]) -> None:
        async def later() -> None:
            await trio.sleep(seconds)
            at_once(work, after)

        nursery.start_soon(later)

    return aside


class Asking:
    """Writes requests, and keeps an eye on what is sent after they were told of an error."""

    def __init__(self, server: FakeServer, mounted: Mounted) -> None:
        self.server, self.mounted = server, mounted
        self.told = False
        self.sent = self.sent_late = 0
        """Calls, and those of them that were made after an error."""
        server.on_start = self._sends

    def _sends(self, options: bytes) -> None:
        self.sent += 1
        self.sent_late += self.told

    async def write(self, name: str, content: bytes) -> ExportfsError | None:
        """What close() fails with, as the kernel does it: `release` comes when that has returned."""
        _, handle = await self.mounted.new.create(name, 0o644, os.O_WRONLY)
        await handle.write(0, content)
        try:
            with trio.fail_after(TIMEOUT):
                await handle.flush()
        except ExportfsError as error:
            self.told = True
            return error
        except trio.TooSlowError:
            self.told = True
            return TimedOut("as the handler says")
        finally:
            self.mounted.nursery.start_soon(self._release, handle)
        return None

    @staticmethod
    async def _release(handle: Any) -> None:
        with contextlib.suppress(ExportfsError, trio.TooSlowError), trio.fail_after(TIMEOUT):
            await handle.release()

    async def again(self, name: str, content: bytes) -> ExportfsError | None:
        """As somebody who was told of an error: all may be sent again."""
        self.told = False
        return await self.write(name, content)


def with_names(mounted: Mounted, seconds: float) -> None:
    site, context = SlowSite(seconds), mounted.new._context
    cameras = Cameras(site, timeout=TIMEOUT, start_soon=mounted.nursery.start_soon)
    object.__setattr__(context, "cameras", cameras)
    object.__setattr__(context, "footage", FootageReader(site, timeout=TIMEOUT))


@pytest.mark.parametrize("start", ["ok", "slow", "limit", "hang", "late"])
@pytest.mark.parametrize("disk", [0.0, 4.0])
@pytest.mark.parametrize("lists", [0.0, 6.0, 14.0])
@pytest.mark.parametrize("names", [0.0, 14.0, 16.0, 29.0])
def test_nothing_is_sent_after_an_error(
    names: float, lists: float, disk: float, start: str, tmp_path: Path
) -> None:
    server = SlowLists(starts=itertools.chain([start] * 30, itertools.repeat("ok")), delay=0.01)

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        server.list_seconds = lists
        with_names(mounted, names)
        mounted.journal._aside = slow(nursery, disk)
        asking = Asking(server, mounted)
        error = await asking.write("a.json", NAMED)
        said = mounted.ledger.errors.get("a.json", "")
        assert bool(said) == bool(error)
        if "nothing was sent" in said:
            assert asking.sent == 0 or start == "limit"
        await trio.sleep(LONG)
        assert not asking.sent_late
        if error is None:
            assert len(server.started) == 1
            return
        # By the command, for example, whose requests have names of their own.
        before = len(server.started)
        server.starts, server.list_seconds = itertools.repeat("ok"), 0.0
        mounted.journal._aside = at_once
        await trio.sleep(LONG)  # a disk that was so slow has kept what was lost from being settled
        assert await asking.again("b.json", NAMED) is None
        assert len(server.started) == 1, f"a second export: {before} before"

    play(server, tmp_path, story)


def test_a_release_asks_for_nothing_that_its_close_has_failed_with(tmp_path: Path) -> None:
    """The names come when close() has given up, and the kernel lets go of the file only then."""
    server = FakeServer()

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        with_names(mounted, TIMEOUT * 0.6)
        asking = Asking(server, mounted)
        error = await asking.write("a.json", NAMED)
        assert "nothing was sent" in str(error)
        await trio.sleep(LONG)
        assert not server.started
        # Closed once more, it is asked for.
        file = mounted.new.file("a.json")
        assert file is not None
        handle = await file.open(os.O_WRONLY)
        asking.told = False
        await handle.flush()
        assert len(server.started) == 1

    play(server, tmp_path, story)


def test_a_rename_waits_a_second_for_names_as_well(tmp_path: Path) -> None:
    """Meanwhile the kernel keeps all of new/ locked."""
    server = FakeServer()

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        with_names(mounted, TIMEOUT * 0.4)
        asking = Asking(server, mounted)
        assert await asking.write("a.tmp", NAMED) is None
        begun = trio.current_time()
        await mounted.new.rename("a.tmp", "a.json", replace=True)
        assert trio.current_time() - begun == 1.0
        await trio.sleep(LONG)
        assert len(server.started) == 1
        assert "a" in mounted.ledger.links

    play(server, tmp_path, story)


@pytest.mark.parametrize("how", ["flush", "rename"])
def test_reading_a_request_takes_longer_than_the_handler_waits(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread cannot be given up: when it is through, who closed the file has long been told of an error."""
    server = FakeServer()
    read = submissions._aside

    async def slowly(function: Callable[[bytes], Any], content: bytes) -> Any:
        with trio.CancelScope(shield=True):
            await trio.sleep(TIMEOUT * 0.6)
        return await read(function, content)

    monkeypatch.setattr(submissions, "_aside", slowly)

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        asking = Asking(server, mounted)
        if how == "flush":
            assert isinstance(await asking.write("a.json", CONTENTS[1]), TimedOut)
        else:
            assert await asking.write("a.tmp", CONTENTS[1]) is None
            with trio.fail_after(TIMEOUT):
                await mounted.new.rename("a.tmp", "a.json", replace=True)
        await trio.sleep(LONG)
        assert not server.started
        assert "nothing was sent" in mounted.ledger.errors["a.json"]

    play(server, tmp_path, story)


@pytest.mark.parametrize("again", ["a.json", "b.json"])
def test_a_mount_that_is_killed_before_it_has_answered(again: str, tmp_path: Path) -> None:
    """What was started is on disk, and whoever closed the file has heard of nothing but a failure."""
    server = FakeServer()

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        async with trio.open_nursery() as first:
            mounted = Mounted(server, tmp_path / "journal", first)
            await mounted.start()
            put = mounted.journal.change

            def change(what: Any) -> None:
                put(what)
                if len(server.started) == 1:
                    mounted.journal._aside = lambda work, after: None
                    first.cancel_scope.cancel()

            mounted.ledger.records.on_change = change
            _, handle = await mounted.new.create("a.json", 0o644, os.O_WRONLY)
            await handle.write(0, CONTENTS[1])
            await handle.flush()
        mounted = await begin()
        asking = Asking(server, mounted)
        assert await asking.write(again, CONTENTS[1]) is None
        assert len(server.started) == 1

    play(server, tmp_path, story)


@pytest.mark.parametrize("again", ["a.json", "b.json"])
@pytest.mark.parametrize("heard", [False, True])
def test_a_mount_that_is_killed_as_it_answers(again: str, heard: bool, tmp_path: Path) -> None:
    """The handler has returned, and the kernel has not been told: whoever closed the file hears of a failure. On disk
    was that they knew of the session, so that the same under another name started a second one."""
    server = FakeServer()

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        async with trio.open_nursery() as first:
            mounted = Mounted(server, tmp_path / "journal", first)
            await mounted.start()
            _, handle = await mounted.new.create("a.json", 0o644, os.O_WRONLY)
            await handle.write(0, CONTENTS[1])
            await handle.flush()
            if heard:
                await trio.sleep(2 * WATCH_EVERY)
            mounted.journal._aside = lambda work, after: None
            first.cancel_scope.cancel()
        mounted = await begin()
        assert await Asking(server, mounted).write(again, CONTENTS[1]) is None
        assert len(server.started) == (2 if heard and again == "b.json" else 1)

    play(server, tmp_path, story)


def test_who_waited_is_cancelled_in_the_moment_of_the_answer(tmp_path: Path) -> None:
    """The handler's own bound, on a machine that stood still: the error is what was told."""
    server = FakeServer(delay=0.01)

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        ledger = mounted.ledger
        started = ledger.started

        with trio.CancelScope() as waiting:

            def cancelled(*args: Any) -> None:
                waiting.cancel()
                started(*args)

            ledger.started = cancelled  # type: ignore[method-assign,assignment] # to be there at that moment
            file, handle = await mounted.new.create("a.json", 0o644, os.O_WRONLY)
            assert isinstance(file, RequestFile)
            await handle.write(0, CONTENTS[1])
            await handle.flush()
        assert waiting.cancelled_caught
        ledger.started = started  # type: ignore[method-assign] # as it was
        asking = Asking(server, mounted)
        assert await asking.write("b.json", CONTENTS[1]) is None
        assert len(server.started) == 1

    play(server, tmp_path, story)


@pytest.mark.parametrize("after", [0.0, 0.55, 0.8, 1.2])
def test_another_name_while_an_answer_is_written_down(after: float, tmp_path: Path) -> None:
    """Nobody has heard of the session yet, but somebody is about to: another name asks for one of its own."""
    server = FakeServer(delay=0.01)

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        mounted.journal._aside = slow(nursery, 0.5)
        asking = Asking(server, mounted)
        errors: list[ExportfsError | None] = []

        async def write(name: str) -> None:
            errors.append(await asking.write(name, CONTENTS[1]))

        async with trio.open_nursery() as writing:
            writing.start_soon(write, "a.json")
            await trio.sleep(after)
            writing.start_soon(write, "b.json")
        assert errors == [None, None]
        assert mounted.ledger.links == {"a": "hosts/Server/0", "b": "hosts/Server/1"}

    play(server, tmp_path, story)


def test_a_close_that_fails_later_with_an_earlier_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two programs have a file open; what the first one closed is read in a thread, for long."""
    server = FakeServer()
    read, slowly = submissions._aside, [TIMEOUT * 0.9]

    async def first_slowly(function: Callable[[bytes], Any], content: bytes) -> Any:
        with trio.CancelScope(shield=True):
            await trio.sleep(slowly.pop() if slowly else 0.0)
        return await read(function, content)

    monkeypatch.setattr(submissions, "_aside", first_slowly)

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        with_names(mounted, TIMEOUT * 0.55)
        file, one = await mounted.new.create("a.json", 0o644, os.O_WRONLY)
        await one.write(0, NAMED)

        async def close_one() -> None:
            with pytest.raises(TimedOut, match="nothing was sent"):
                await one.flush()

        async with trio.open_nursery() as closing:
            closing.start_soon(close_one)
            await trio.sleep(1.0)
            two = await file.open(os.O_WRONLY)
            await two.write(0, NAMED)
            with pytest.raises(TimedOut, match="nothing was sent"):
                await two.flush()
            await two.release()
        await one.release()
        await trio.sleep(LONG)
        assert not server.started

    play(server, tmp_path, story)


def test_a_rename_fails_with_what_is_wrong_now(tmp_path: Path) -> None:
    """Not with what the server said of what the file asked for before."""
    server = FakeServer(starts=itertools.chain(["refused"], itertools.repeat("ok")))

    async def fails() -> None:
        raise Unreachable("the cameras cannot be asked")

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        with_names(mounted, 0.0)
        asking = Asking(server, mounted)
        assert "INVALID_ARGUMENT" in str(await asking.write("a.json", CONTENTS[1]))
        file = mounted.new.file("a.json")
        assert file is not None
        handle = await file.open(os.O_WRONLY | os.O_TRUNC)
        await handle.write(0, NAMED)
        mounted.new._context.cameras.fresh = fails  # type: ignore[method-assign] # now it cannot be asked
        with pytest.raises(Unreachable, match="nothing was sent"):
            await mounted.new.rename("a.json", "b.json", replace=True)

    play(server, tmp_path, story)


class StartsAndRefuses(FakeServer):
    """Says that it is at a limit, and starts the export all the same."""

    async def start_session(self, options: bytes, *, within: float) -> str:
        await super().start_session(options, within=within)
        raise Exhausted("the server answered RESOURCE_EXHAUSTED")


def test_who_gives_up_is_not_told_that_nothing_was_sent_where_its_session_is_there(tmp_path: Path) -> None:
    server = StartsAndRefuses(delay=0.01)

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        mounted.journal._aside = slow(nursery, 0.5)
        _, handle = await mounted.new.create("a.json", 0o644, os.O_WRONLY)
        await handle.write(0, CONTENTS[1])
        with trio.move_on_after(1.5) as waiting:
            await handle.flush()
        # Two looks at what other mounts know take the disk as well: it is being written down.
        assert waiting.cancelled_caught
        assert [record.session_id for record in mounted.ledger.records.all] == ["hosts/Server/0"]
        assert "nothing was sent" not in mounted.ledger.errors["a.json"]
        await trio.sleep(LONG)
        assert mounted.ledger.links == {"a": "hosts/Server/0"}
        assert len(server.started) == 1

    play(server, tmp_path, story)


@pytest.mark.parametrize("again", ["a.json", "b.json"])
@pytest.mark.parametrize("how", ["down", "slow"])
def test_nothing_was_sent_means_nor_before(again: str, how: str, tmp_path: Path) -> None:
    """The answer is lost, and then the server cannot be asked: who reads that nothing was sent, as the command does,
    says that no export was started."""
    server = SlowLists(starts=iter(["lost after"]), delay=0.01)

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        server.lists = itertools.repeat("short")
        asking = Asking(server, mounted)
        assert "is unknown" in str(await asking.write("a.json", CONTENTS[1]))
        if how == "down":
            server.fail = Unreachable("the server cannot be reached")
        else:
            server.list_seconds = TIMEOUT
        mounted.new.unlink("a.json")
        error = str(await asking.again(again, CONTENTS[1]))
        assert "sent before" in error
        assert "nothing was sent" not in error
        assert "nothing was sent" in str(await asking.again("c.json", CONTENTS[2]))
        assert len(server.started) == 1

    play(server, tmp_path, story)


class BreaksOff(FakeServer):
    """Its lists break off once they do."""

    breaks_off = False

    async def list_sessions(self, moved: Callable[[], None] = lambda: None) -> Listing:
        listing = await super().list_sessions(moved)
        if self.breaks_off:
            raise Interrupted("the list of sessions broke off")
        return listing


def test_a_list_that_breaks_off(tmp_path: Path) -> None:
    """Its error was taken for one that says what became of the same request, and did not say that nothing was sent."""
    server = BreaksOff(starts=iter(["lost before"]), delay=0.01)

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        asking = Asking(server, mounted)
        server.breaks_off = True
        error = str(await asking.write("a.json", CONTENTS[1]))
        assert "broke off" in error
        assert "nothing was sent" in error
        assert "write it again" in error
        server.breaks_off = False
        await trio.sleep(1.5)
        assert "is unknown" in str(await asking.again("b.json", CONTENTS[1]))
        server.breaks_off = True
        error = str(await asking.again("c.json", CONTENTS[1]))
        assert "sent before" in error
        assert "nothing was sent" not in error

    play(server, tmp_path, story)


@pytest.mark.parametrize("how", ["fail", "hang"])
def test_names_that_cannot_be_looked_up_after_a_lost_answer(how: str, tmp_path: Path) -> None:
    """Whether this is the request that was sent nobody can say without what its names mean."""
    server = FakeServer(starts=iter(["lost before", "ok"]), delay=0.01)

    async def fails() -> None:
        if how == "hang":
            await trio.sleep_forever()
        raise Unreachable("the cameras cannot be asked")

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        with_names(mounted, 0.0)
        asking = Asking(server, mounted)
        fresh = mounted.new._context.cameras.fresh
        mounted.new._context.cameras.fresh = fails  # type: ignore[method-assign] # it cannot be asked
        assert "nothing was sent" in str(await asking.write("0.json", NAMED))
        mounted.new._context.cameras.fresh = fresh  # type: ignore[method-assign] # as it was
        assert "is unknown" in str(await asking.again("a.json", NAMED))
        mounted.new._context.cameras.fresh = fails  # type: ignore[method-assign] # once more
        error = str(await asking.again("b.json", NAMED))
        assert PERHAPS_SENT_BEFORE in error
        assert "nothing was sent" not in error

    play(server, tmp_path, story)
