"""Stopping and destroying sessions, on a server that lists what was destroyed for a while, with polls in between."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock

from exportfs.errors import AccessDenied, Busy, ExportfsError, Interrupted, NotSent, TimedOut, Unreachable
from exportfs.model import SessionState, State
from exportfs.sessions.catalogue import LINGERS, Catalogue
from exportfs.sessions.control import Actions
from exportfs.sessions.keepalive import KeepAliveConfig
from exportfs.sessions.keeper import Keeper
from exportfs.sessions.ledger import Records
from tests.support.fake_server import FakeServer, entry_of, session, watched

TIMEOUT = 30.0


@dataclass
class SlowToForget(FakeServer):
    """Destroying is answered and takes effect later (observed: listed for 8 s more)."""

    destroyed: list[str] = field(default_factory=list)

    async def destroy_session(self, session_id: str) -> None:
        self._find(session_id)
        self.destroyed.append(session_id)


@pytest.fixture
def server() -> SlowToForget:
    server = SlowToForget()
    server.put(session("a"), session("b"))
    return server


@pytest.fixture
def records() -> Records:
    return Records([], str)


def made(server: FakeServer, records: Records) -> tuple[Catalogue, Actions]:
    catalogue = Catalogue(server, refresh=5, timeout=TIMEOUT)
    return catalogue, Actions(server, catalogue, records)


def ids(catalogue: Catalogue) -> list[str]:
    return sorted(entry.id for entry in catalogue)


@pytest.mark.promise("S9")
async def test_what_was_destroyed_stays_hidden(
    autojump_clock: MockClock, server: SlowToForget, records: Records
) -> None:
    catalogue, actions = made(server, records)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(catalogue.run)
        await catalogue.update()
        await actions.destroy("a")
        end = trio.current_time() + LINGERS - 10
        while trio.current_time() < end:
            assert ids(catalogue) == ["b"]
            await trio.sleep(0.7)
            await catalogue.fresh()
        assert catalogue.listings > 50
        # One that is still there after that was not destroyed.
        await trio.sleep(LINGERS)
        assert ids(catalogue) == ["a", "b"]
        # Once it is gone, nothing is remembered for ever.
        await actions.destroy("a")
        del server.sessions["a"]
        await trio.sleep(2 * LINGERS)
        assert not catalogue.was_destroyed("a")
        nursery.cancel_scope.cancel()


@pytest.mark.promise("S9")
async def test_what_was_destroyed_is_not_kept(
    autojump_clock: MockClock, server: SlowToForget, records: Records
) -> None:
    catalogue, actions = made(server, records)
    await catalogue_listed(catalogue, server)
    keeper = Keeper(server, catalogue, KeepAliveConfig(), lambda session_id: True, timeout=TIMEOUT)
    for name in ("a", "b"):
        keeper.opened(name)
    await actions.destroy("a")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(keeper.run)
        await trio.sleep(120)
        assert {name for _, name in server.asked} == {"b"}
        keeper.closed("a")
        await trio.sleep(5)
        assert "a" not in keeper._uses
        nursery.cancel_scope.cancel()


async def catalogue_listed(catalogue: Catalogue, server: FakeServer) -> None:
    catalogue.apply((await server.list_sessions()).sessions, trio.current_time())


async def test_an_error_hides_nothing(
    autojump_clock: MockClock, server: SlowToForget, records: Records
) -> None:
    """What could not be destroyed is still there, and is destroyed when it is asked for again."""
    catalogue, actions = made(server, records)
    await catalogue_listed(catalogue, server)

    async def broken(session_id: str) -> None:
        raise ExportfsError("not now")

    server.destroy_session = broken  # type: ignore[method-assign] # a fault for the length of one call
    with pytest.raises(ExportfsError):
        await actions.destroy("a")
    del server.destroy_session  # back to the method
    assert ids(catalogue) == ["a", "b"]
    assert not catalogue.was_destroyed("a")
    await actions.destroy("a")
    await actions.destroy("gone already")
    assert server.destroyed == ["a"]
    assert ids(catalogue) == ["b"]


class StopsAndFails(FakeServer):
    """Stops what it is asked to, is polled, and then fails to say so."""

    def __init__(self, error: ExportfsError | None) -> None:
        super().__init__()
        self.error = error
        self.polled: Callable[[SessionState], None] = lambda state: None

    async def stop_session(self, session_id: str) -> SessionState:
        state = await super().stop_session(session_id)
        self.polled(state)
        if self.error is not None:
            raise self.error
        return state


@pytest.mark.promise("S2")
@pytest.mark.parametrize(
    ("error", "stopped"),
    [
        (None, True),
        (TimedOut("no answer in time"), True),
        (Interrupted("the connection broke"), True),
        (Unreachable("the server cannot be reached"), True),
        (NotSent("the server cannot be reached"), False),
        (Busy("it cannot be stopped now"), False),
        (AccessDenied("you may not"), False),
    ],
)
async def test_a_poll_that_sees_the_end_before_the_stop_is_answered(
    error: ExportfsError | None, stopped: bool
) -> None:
    server = StopsAndFails(error)
    server.put(session("a", State.RUNNING))
    catalogue = watched(Catalogue(server, refresh=5.0, timeout=30.0))
    catalogue.apply(server.sessions.values(), trio.current_time())
    actions = Actions(server, catalogue, Records([], str))
    seen = []

    def poll(state: SessionState) -> None:
        catalogue.state("a", state)
        seen.append(actions.was_stopped("a"))

    server.polled = poll
    with pytest.raises(type(error)) if error else contextlib.nullcontext():
        await actions.stop("a")
    assert entry_of(catalogue, "a").completed
    assert seen == [True]
    assert actions.was_stopped("a") is stopped


@pytest.mark.promise("S2")
async def test_what_had_completed_was_not_stopped() -> None:
    server = StopsAndFails(None)
    server.put(session("a", State.COMPLETED))
    catalogue = watched(Catalogue(server, refresh=5.0, timeout=30.0))
    catalogue.apply(server.sessions.values(), trio.current_time())
    actions = Actions(server, catalogue, Records([], str))
    await actions.stop("a")
    assert not actions.was_stopped("a")
