"""One call over gRPC, which says what a test has it say or nothing: when it ends, and what comes of its connection."""

from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from exportfs.config import ServerConfig
from exportfs.errors import ExportfsError, Interrupted, TimedOut, Unreachable
from exportfs.rpc.channel import Connection, Connections, Lane
from exportfs.rpc.unary import Bridge

pytestmark = pytest.mark.promise("E3")
STATES = grpc.ChannelConnectivity
IDLE, CONNECTING, READY, FAILURE = STATES.IDLE, STATES.CONNECTING, STATES.READY, STATES.TRANSIENT_FAILURE


class Failure(grpc.RpcError):
    pass


class Call:
    """Ends when a test says so."""

    def __init__(self) -> None:
        self.cancelled = False
        self.timeout = 0.0
        self.request = b""
        self.metadata: Any = None
        self._done: Callable[[object], None] = lambda _: None
        self._outcome: bytes | Exception | None = None
        self._code: grpc.StatusCode | None = None

    def ends(self, outcome: bytes | Exception | None, code: grpc.StatusCode | None = None) -> None:
        self._outcome, self._code = outcome, code
        self._done(self)

    # What gRPC's own have.
    def add_done_callback(self, done: Callable[[object], None]) -> None:
        self._done = done

    def exception(self) -> Exception | None:
        return self._outcome if isinstance(self._outcome, Exception) else None

    def result(self) -> bytes | None:
        assert not isinstance(self._outcome, Exception)
        return self._outcome

    def code(self) -> grpc.StatusCode | None:
        return self._code

    def cancel(self) -> None:
        self.cancelled = True


class Channel:
    """Makes no connection; in the state that a test says at a time, in seconds since the first look."""

    def __init__(self, state_at: Callable[[float], grpc.ChannelConnectivity] = lambda _: READY) -> None:
        self.call = Call()
        self.closed = False
        self._state_at = state_at
        self._begun: float | None = None
        self._channel = self

    def unary_unary(self, method: str, *_: object) -> "Channel":
        return self

    def future(self, request: bytes, *, timeout: float, metadata: Any) -> Call:
        self.call.request, self.call.timeout, self.call.metadata = request, timeout, metadata
        return self.call

    def check_connectivity_state(self, connect: bool) -> int:
        self._begun = trio.current_time() if self._begun is None else self._begun
        number: int = self._state_at(trio.current_time() - self._begun).value[0]
        return number

    def close(self) -> None:
        self.closed = True


class Scene:
    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.bridge = Bridge(connections)
        self.connection: Connection = connections.acquire(Lane.CALLS)
        connections.release(self.connection)
        self.connection.channel.close()
        self.over(Channel())

    def over(self, channel: Channel) -> None:
        self.channel, self.call = channel, channel.call
        self.connection.channel = channel  # type: ignore[assignment] # the part of it that this is


@pytest.fixture
def scene() -> Iterator[Scene]:
    connections = Connections(ServerConfig("127.0.0.1", 1, insecure=True))
    yield Scene(connections)
    connections.close()


async def test_an_answer(scene: Scene, autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:

        async def answer() -> None:
            await trio.sleep(2.9)
            scene.call.ends(b"answer")

        nursery.start_soon(answer)
        got = await scene.bridge.call("/x", b"request", (("t", "1"),), 3.0, hints=(("h", "2"),))
    assert got == b"answer"
    assert (scene.call.request, scene.call.timeout) == (b"request", 3.0)
    assert scene.call.metadata == (("t", "1"), ("h", "2"))
    assert scene.connection.users == 0
    assert not scene.connection.given_up


async def test_grpc_keeps_no_deadline(scene: Scene, autojump_clock: MockClock) -> None:
    """Its threads for that may be lacking: the call ends all the same, and another gets another connection."""
    with pytest.raises(TimedOut):
        await scene.bridge.call("/x", b"request", (), 3.0)
    assert 3.0 < trio.current_time() <= 4.0
    assert scene.call.cancelled
    assert scene.connection.users == 0
    assert scene.connection.given_up


async def test_who_made_it_is_cancelled(scene: Scene, autojump_clock: MockClock) -> None:
    """Nothing is known against the connection then. That it ends later disturbs nobody."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.bridge.call, "/x", b"request", (), 3.0)
        await wait_all_tasks_blocked()
        assert scene.connection.users == 1
        assert not scene.call.cancelled
        nursery.cancel_scope.cancel()
    assert scene.call.cancelled
    assert scene.connection.users == 0
    assert not scene.connection.given_up
    scene.call.ends(None)


@pytest.mark.parametrize(
    ("outcome", "code", "seen", "given_up"),
    [
        (Failure(), grpc.StatusCode.DEADLINE_EXCEEDED, ExportfsError, True),
        (Failure(), grpc.StatusCode.UNAVAILABLE, ExportfsError, False),
        (RuntimeError(), None, ExportfsError, False),
        (None, None, Interrupted, False),
    ],
    ids=["late", "refused", "broken", "nothing"],
)
async def test_how_it_ends(
    scene: Scene,
    outcome: Exception | None,
    code: grpc.StatusCode | None,
    seen: type[ExportfsError],
    given_up: bool,
) -> None:
    """Only where nothing came in time is there anything against the connection."""
    async with trio.open_nursery() as nursery:

        async def end() -> None:
            await wait_all_tasks_blocked()
            scene.call.ends(outcome, code)

        nursery.start_soon(end)
        with pytest.raises(seen):
            await scene.bridge.call("/x", b"request", (), 3.0)
    assert scene.connection.users == 0
    assert scene.connection.given_up is given_up


@pytest.mark.parametrize(
    ("state_at", "seen", "took"),
    [
        (lambda at: READY, None, 0.0),
        (lambda at: FAILURE, Unreachable, 0.0),
        (lambda at: READY if at >= 2.0 else CONNECTING, None, 2.0),
        (lambda at: FAILURE if at >= 2.0 else CONNECTING, Unreachable, 2.0),
        (lambda at: CONNECTING, TimedOut, 7.0),
        (lambda at: READY if at >= 0.3 else IDLE, None, 0.3),
        (lambda at: IDLE, None, 0.5),
    ],
    ids=["there", "none", "later", "none later", "never", "not begun", "lost"],
)
async def test_there_is_a_connection(
    scene: Scene,
    autojump_clock: MockClock,
    state_at: Callable[[float], grpc.ChannelConnectivity],
    seen: type[ExportfsError] | None,
    took: float,
) -> None:
    """Or there is none, which is said at once; for one that is being made as long is waited as was said."""
    scene.over(Channel(state_at))
    failure: type[ExportfsError] | None = None
    try:
        await scene.bridge.connect(7.0)
    except ExportfsError as error:
        failure = type(error)
    assert failure is seen
    assert trio.current_time() == pytest.approx(took, abs=0.02)
    assert scene.connection.users == 0
