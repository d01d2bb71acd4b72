"""One streamed answer, taken whole: how it ends, and that nothing is left of it. gRPC says what a test has it say."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import pytest
import trio
import trio.testing

from exportfs.config import ServerConfig
from exportfs.errors import Corrupt, ExportfsError, Interrupted, NotFound, TimedOut
from exportfs.rpc.channel import Connections, Lane
from exportfs.rpc.paged import collect
from exportfs.rpc.unary import LATE

TIMEOUT, FIRST, MOST = 30.0, 10.0, 10_000


class Failure(grpc.RpcError):
    pass


class Call:
    """Brings messages, and ends with them, with an error of gRPC's or, stalled, when it is cancelled."""

    def __init__(self, *messages: bytes, ends: Exception | None = None, stalls: bool = False) -> None:
        self._messages, self._ends, self._stalls = messages, ends, stalls
        self.stalled = threading.Event()
        self.cancelled = threading.Event()
        self.timeout: float | None = None

    def __iter__(self) -> Iterator[bytes]:
        yield from self._messages
        if self._ends is not None:
            raise self._ends
        if self._stalls:
            self.stalled.set()
            self.cancelled.wait()

    def code(self) -> grpc.StatusCode:
        return grpc.StatusCode.DEADLINE_EXCEEDED

    def cancel(self) -> None:
        self.cancelled.set()


class Scene:
    def __init__(self, connections: Connections) -> None:
        self.connections = connections
        self.connection = connections.acquire(Lane.CALLS)
        connections.release(self.connection)
        self.call = Call()
        self.taken: list[bytes] = []

        def start(request: bytes, *, timeout: float | None, metadata: Any) -> Call:
            self.call.timeout = timeout
            return self.call

        self.connection._streams["/x"] = start

    async def collect(
        self, take: Callable[[bytes], bytes] = bytes, moved: Callable[[bytes], None] | None = None
    ) -> list[bytes]:
        return await collect(
            self.connections, "/x", b"", (), TIMEOUT, take, MOST, first_within=FIRST, moved=moved
        )

    async def left(self) -> None:
        """Until its thread has ended it."""
        await until(lambda: self.connection.users == 0)
        assert self.call.cancelled.is_set()


async def until(happened: Callable[[], object]) -> None:
    while not happened():
        await trio.testing.wait_all_tasks_blocked(0.001)
    await trio.testing.wait_all_tasks_blocked(0.001)


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    connections = Connections(ServerConfig("127.0.0.1", 1, insecure=True))
    scene = Scene(connections)
    state = lambda *_, **__: grpc.ChannelConnectivity.READY  # noqa: E731
    monkeypatch.setattr("exportfs.rpc.channel.Connection.state", state)
    yield scene
    connections.close()


async def test_all_that_comes(scene: Scene) -> None:
    scene.call = Call(b"a", b"", b"b")
    assert await scene.collect() == [b"a", b"", b"b"]
    assert scene.call.timeout == TIMEOUT
    await scene.left()
    assert not scene.connection.given_up


@pytest.mark.promise("E3")
@pytest.mark.parametrize(("messages", "after"), [((), FIRST), ((b"a",), TIMEOUT + LATE)])
async def test_one_that_stalls(
    scene: Scene, mock_clock: trio.testing.MockClock, messages: tuple[bytes, ...], after: float
) -> None:
    """gRPC has a deadline for it, which it keeps in threads that it may lack: the call ends all the same."""
    scene.call = Call(*messages, stalls=True)
    async with trio.open_nursery() as nursery:
        ended = trio.Event()

        async def ends() -> None:
            with pytest.raises(TimedOut):
                await scene.collect()
            ended.set()

        nursery.start_soon(ends)
        await until(scene.call.stalled.is_set)
        mock_clock.jump(after - 0.1)
        await trio.testing.wait_all_tasks_blocked(0.001)
        assert not ended.is_set()
        mock_clock.jump(0.2)
        await trio.testing.wait_all_tasks_blocked(0.001)
        assert ended.is_set()
    await scene.left()
    assert scene.connection.given_up


@pytest.mark.promise("E3")
async def test_each_message_has_its_time(scene: Scene, mock_clock: trio.testing.MockClock) -> None:
    """Where what moves is told: how long all of it may take is for whoever hears that."""
    let, moved = [threading.Event() for _ in range(3)], list[bytes]()

    class Slow(Call):
        def __iter__(self) -> Iterator[bytes]:
            for event in let:
                event.wait(60)
                yield b"a"
            yield from super().__iter__()

    scene.call = Slow(stalls=True)
    let[0].set()
    async with trio.open_nursery() as nursery:

        async def ends() -> None:
            with pytest.raises(TimedOut, match="did not go on"):
                await scene.collect(moved=moved.append)

        nursery.start_soon(ends)
        for number, event in enumerate(let[1:], 1):
            await until(lambda: len(moved) == number)  # noqa: B023
            mock_clock.jump(TIMEOUT - 1)
            event.set()
        await until(scene.call.stalled.is_set)
        assert scene.call.timeout is None
        mock_clock.jump(TIMEOUT + 0.1)
    assert len(moved) == 3
    await scene.left()
    assert scene.connection.given_up


@pytest.mark.parametrize(
    ("call", "seen"),
    [
        (Call(*[b""] * MOST, stalls=True), Corrupt),
        (Call(b"a" * MOST, stalls=True), Corrupt),
        (Call(b"a", ends=Failure()), ExportfsError),
        (Call(b"a", ends=ValueError()), Interrupted),
    ],
    ids=["without end", "too large", "broken", "odd"],
)
async def test_one_that_fails(scene: Scene, call: Call, seen: type[ExportfsError]) -> None:
    """Nothing of it is given: half a list looks like a whole one."""
    scene.call = call
    with pytest.raises(seen), trio.fail_after(60):
        await scene.collect()
    await scene.left()


@pytest.mark.parametrize(("error", "seen"), [(NotFound("x"), NotFound), (KeyError("x"), Interrupted)])
async def test_what_cannot_be_read(scene: Scene, error: Exception, seen: type[ExportfsError]) -> None:
    def take(message: bytes) -> bytes:
        if message == b"b":
            raise error
        return message

    scene.call = Call(b"a", b"b", b"c", stalls=True)
    with pytest.raises(seen), trio.fail_after(60):
        await scene.collect(take)
    await scene.left()
    assert not scene.connection.given_up


async def test_who_made_it_is_cancelled(scene: Scene) -> None:
    scene.call = Call(b"a", stalls=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.collect)
        await until(scene.call.stalled.is_set)
        nursery.cancel_scope.cancel()
    await scene.left()
    assert not scene.connection.given_up


async def test_no_thread_for_it(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def start(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    with pytest.raises(Interrupted, match="no thread"):
        await scene.collect()
    monkeypatch.undo()
    assert scene.connection.users == 0
    assert scene.call.cancelled.is_set()
