"""Exact downloads from a real gRPC server: what is asked for comes, and nothing is sent beyond it."""

import itertools
import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio

from exportfs.config import ServerConfig
from exportfs.content.line import Line
from exportfs.errors import ExportfsError, Interrupted, NotFound
from exportfs.model import Fetch
from exportfs.rpc.blocks import wire_size
from exportfs.rpc.download import Downloads
from exportfs.rpc.exact import HEAD, ExactDownload
from exportfs.rpc.http2_client import WINDOW, round_trip_of
from exportfs.rpc.server import Server
from exportfs.rpc.wire_format import message
from exportfs.simulator import Config, LoginConfig, Simulator, SimulatorServer, make_certificates
from tests.unit.rpc.test_threads import Sink as Collector

SIZE = 3 * (1 << 20) + 777
KIB, MIB = 1 << 10, 1 << 20


class Counting(Line):
    """Counts what arrives, and what was let send."""

    def __init__(self) -> None:
        super().__init__()
        self.got = 0
        self.let = 0
        self.pings = 0
        self.told = 0.0, 0.0, 0.0

    def granted(self, now: float, amount: int) -> None:
        self.let += amount
        super().granted(now, amount)

    def arrived(self, now: float, amount: int) -> None:
        self.got += amount
        super().arrived(now, amount)

    def round_trip_took(self, seconds: float, *, ours: float = 0.0, least: float = 0.0) -> None:
        self.pings += 1
        self.told = seconds, ours, least
        super().round_trip_took(seconds, ours=ours, least=least)


class Scene:
    """A server with one file, and downloads from it."""

    def __init__(
        self, client: Server, config: ServerConfig, simulator: Simulator, server: SimulatorServer
    ) -> None:
        self.simulator, self.server = simulator, server
        self.line = Counting()
        self.downloads = Downloads(client.connections, client.login, self.line, config)
        self.session = simulator.add_computed(SIZE)
        self.file = simulator.files(self.session)[0].path

    def fetch(
        self, first: int, until: int, *, chunk: int = 16 * KIB, stop: bool = True, end: int | None = None
    ) -> Fetch:
        return Fetch(self.session, self.file, chunk, first, until, size=SIZE, stop=stop, end=end)


@contextmanager
def simulated(tmp_path: Path, *, encrypted: bool = False, at_once: int | None = None) -> Iterator[Scene]:
    simulator = Simulator(Config(login=LoginConfig(required=False)))
    tls = make_certificates(tmp_path) if encrypted else None
    with SimulatorServer(simulator, tls=tls, at_once=at_once) as server:
        host, port = server.address.rsplit(":", 1)
        if tls is None:
            config = ServerConfig(host, int(port), insecure=True)
        else:
            config = ServerConfig(host, int(port), ca_file=tls.ca_file, tls_server_name=tls.name)
        client = Server(config, timeout=10)
        yield Scene(client, config, simulator, server)
        client.connections.close()
    simulator.close()


@pytest.fixture(params=["plain", "TLS"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    with simulated(tmp_path, encrypted=request.param == "TLS") as scene:
        yield scene


@asynccontextmanager
async def running(scene: Scene) -> AsyncIterator[trio.Nursery]:
    """Its downloads, once there is a connection."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.downloads.run)
        await trio.testing.wait_all_tasks_blocked()
        yield nursery


async def finished(sink: Collector) -> bytes:
    with trio.fail_after(60):
        await sink.end.wait()
    if sink.error is not None:
        raise sink.error
    return bytes(sink.data)


async def test_what_is_wanted_and_nothing_beyond(scene: Scene) -> None:
    async with running(scene) as nursery:
        whole = Collector()
        download = scene.downloads.start(scene.fetch(0, -(-SIZE // (16 * KIB)) + 1, stop=False), whole)
        download.window(256 * KIB)
        data = await finished(whole)
        assert len(data) == SIZE
        assert scene.line.pings >= 1
        scene.line.got = 0
        part = Collector()
        download = scene.downloads.start(scene.fetch(7, 12), part)
        download.window(256 * KIB)
        assert await finished(part) == data[7 * 16 * KIB : 12 * 16 * KIB]
        await trio.sleep(0.2)
        assert scene.line.got == sum(wire_size(index, 16 * KIB) for index in range(7, 12))
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize("part", [1, 4 * KIB, 16 * KIB - 1])
@pytest.mark.parametrize("window", [256 * KIB, 20 * KIB])
async def test_of_the_last_block_what_is_wanted(scene: Scene, part: int, window: int) -> None:
    async with running(scene) as nursery:
        whole, beginning = Collector(), Collector()
        scene.downloads.start(scene.fetch(7, 12), whole).window(256 * KIB)
        data = await finished(whole)
        scene.line.got = 0
        fetch = scene.fetch(7, 12, end=11 * 16 * KIB + part)
        scene.downloads.start(fetch, beginning).window(window)
        assert await finished(beginning) == data[: 4 * 16 * KIB + max(part, HEAD)]
        assert beginning.lengths == [None] * 4 + [16 * KIB]
        await trio.sleep(0.2)
        sent = sum(wire_size(index, 16 * KIB) for index in range(7, 12))
        assert scene.line.got == sent - 16 * KIB + max(part, HEAD)
        nursery.cancel_scope.cancel()


class Wire:
    """A connection on which comes what a test says."""

    def __init__(self) -> None:
        self.line = Line()
        self.let = WINDOW
        self.ended = False

    def window(self, number: int, amount: int) -> None:
        self.let += amount

    def cancel(self, stream: ExactDownload, number: int | None) -> None:
        self.ended = True


@pytest.mark.parametrize(
    "second",
    [
        message((1, 9), (2, b"b" * 16 * KIB)),  # another number
        message((2, b"b" * 16 * KIB), (1, 8)),  # another order
        message((1, 8), (7, 1), (2, b"b" * 16 * KIB)),  # something between them
        message((1, 8), (2, b"b" * 16 * KIB), (7, 1)),  # something after them
    ],
)
async def test_what_begins_otherwise_comes_whole(second: bytes) -> None:
    """And is judged as any other block."""
    wire, sink = Wire(), Collector()
    fetch = Fetch("s", "f", 16 * KIB, 7, 9, size=MIB, stop=True, end=8 * 16 * KIB + 4 * KIB)
    download = ExactDownload(wire, fetch, sink)  # type: ignore[arg-type] # the part of it that this is
    download.opened(1)
    download.window(MIB)
    first = message((1, 7), (2, b"a" * 16 * KIB))
    stream = b"".join(b"\0" + len(part).to_bytes(4, "big") + part for part in (first, second))
    sent = 0
    while sent < min(wire.let, len(stream)) and not wire.ended:
        until = min(sent + 1000, wire.let, len(stream))
        download.data(memoryview(stream)[sent:until])
        sent = until
    assert sent == len(stream)
    assert sink.data == b"a" * 16 * KIB + b"b" * 16 * KIB
    assert sink.lengths == [None, None]


@pytest.mark.promise("R6")
async def test_the_beginning_of_a_block_is_no_shorter_than_what_is_wanted() -> None:
    """However it is cut on its way."""
    wire, sink, part = Wire(), Collector(), 4 * KIB
    fetch = Fetch("s", "f", 16 * KIB, 7, 9, size=MIB, stop=True, end=8 * 16 * KIB + part)
    download = ExactDownload(wire, fetch, sink)  # type: ignore[arg-type] # the part of it that this is
    download.opened(1)
    download.window(MIB)
    blocks = (message((1, 7), (2, b"a" * 16 * KIB)), message((1, 8), (2, b"b" * 16 * KIB)))
    stream = memoryview(b"".join(b"\0" + len(block).to_bytes(4, "big") + block for block in blocks))
    for at in range(len(stream)):
        assert at < wire.let, "no more is wanted, and less is here"
        download.data(stream[at : at + 1])
        if wire.ended:
            break
    assert sink.data == b"a" * 16 * KIB + b"b" * part
    assert sink.lengths == [None, 16 * KIB]
    assert sink.end.is_set()


@pytest.mark.parametrize("stop", [False, True], ids=["left", "all that was wanted"])
async def test_nothing_follows_the_last_block(stop: bool) -> None:
    """Though more has come together with it: who has left hears nothing more, nor does who was told of the end."""

    class Leaving(Collector):
        def block(self, index: int, data: memoryview, length: int | None = None) -> None:
            super().block(index, data, length)
            if not stop:
                download.cancel()

    wire, sink = Wire(), Leaving()
    fetch = Fetch("s", "f", KIB, 0, 1 if stop else 9, size=MIB, stop=stop)
    download = ExactDownload(wire, fetch, sink)  # type: ignore[arg-type] # the part of it that this is
    download.opened(1)
    blocks = [message((1, index), (2, b"x" * KIB)) for index in range(5)]
    stream = b"".join(b"\0" + len(block).to_bytes(4, "big") + block for block in blocks)
    download.data(memoryview(stream))
    download.ended(None)
    assert len(sink.data) == KIB
    assert sink.end.is_set() is stop
    assert sink.error is None
    assert wire.ended


async def test_the_beginning_of_a_block_is_judged_by_the_whole_ones_length() -> None:
    """A server whose blocks are of another size would put the wrong bytes where others are due."""
    wire, sink = Wire(), Collector()
    fetch = Fetch("s", "f", 16 * KIB, 7, 9, size=MIB, stop=True, end=8 * 16 * KIB + 4 * KIB)
    download = ExactDownload(wire, fetch, sink)  # type: ignore[arg-type] # the part of it that this is
    download.opened(1)
    download.window(MIB)
    parts = (message((1, 7), (2, b"x" * 16 * KIB)), message((1, 8), (2, b"x" * 32 * KIB)))
    stream = b"".join(b"\0" + len(part).to_bytes(4, "big") + part for part in parts)
    sent = 0
    while sent < wire.let and not wire.ended:
        sent, begun = wire.let, sent
        download.data(memoryview(stream)[begun:sent])
    assert sink.lengths == [None, 32 * KIB]


async def test_what_blocks_are_wrapped_in_costs_no_round_trip() -> None:
    """With as much on its way as the blocks hold the last of them would wait for another window."""
    wire, fetch = Wire(), Fetch("session", "file", 16 * KIB, 8, 16, size=SIZE, stop=False)
    download = ExactDownload(wire, fetch, Collector())  # type: ignore[arg-type] # the part of it that this is
    download.window(128 * KIB)
    download.opened(1)
    assert wire.let == sum(wire_size(index, 16 * KIB) for index in range(8, 16)) > 128 * KIB


async def test_a_block_that_comes_anyway_is_whole(scene: Scene) -> None:
    """The first one, with the call; and the last one of a file, which is not complete before the stream has ended."""
    async with running(scene) as nursery:
        last = SIZE // (16 * KIB)
        for fetch in (scene.fetch(7, 8, end=7 * 16 * KIB + 1), scene.fetch(last - 1, last + 1, end=SIZE - 1)):
            sink = Collector()
            scene.downloads.start(fetch, sink).window(256 * KIB)
            await finished(sink)
            assert set(sink.lengths) == {None}
            assert len(sink.data) == min(fetch.until * 16 * KIB, SIZE) - fetch.first * 16 * KIB
        nursery.cancel_scope.cancel()


async def test_the_first_ping_is_not_the_only_one(scene: Scene) -> None:
    """It may meet a server that is busy with the connection."""
    measured = trio.Event()
    scene.line.changed = lambda: measured.set() if scene.line.pings == 2 else None
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.downloads.run)
        await measured.wait()
        nursery.cancel_scope.cancel()


async def test_what_was_ours_of_a_ping_is_told(scene: Scene) -> None:
    """And what it took the kernels, on the very connection."""
    measured = trio.Event()
    busy = itertools.count(100.0, 7.0)
    scene.line.busy = lambda: next(busy)
    scene.line.changed = measured.set
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.downloads.run)
        await measured.wait()
        nursery.cancel_scope.cancel()
    seconds, ours, least = scene.line.told
    assert ours == 7
    assert 0 < least < seconds


async def test_of_what_is_no_tcp_nothing_is_told() -> None:
    one, other = trio.socket.socketpair()
    with one, other:
        assert round_trip_of(trio.SocketStream(one)) == 0


@pytest.mark.parametrize("ping", [False, True], ids=["the call", "the ping before it"])
async def test_a_call_on_a_connection_that_is_just_ending(scene: Scene, ping: bool) -> None:
    """It fails, and is made again on another one; who started it sees no exception."""
    async with running(scene) as nursery:
        first = Collector()
        scene.downloads.start(scene.fetch(0, 2), first).window(256 * KIB)
        await finished(first)
        (connection,) = scene.downloads._made
        assert connection._http2 is not None
        connection._http2.close_connection()
        connection._pings._sent_at = -math.inf if ping else math.inf
        failed, again = Collector(), Collector()
        scene.downloads.start(scene.fetch(0, 2), failed).window(256 * KIB)
        scene.downloads.start(scene.fetch(0, 2), again).window(256 * KIB)
        with pytest.raises(Interrupted):
            await finished(failed)
        assert await finished(again) == await finished(first)
        nursery.cancel_scope.cancel()


async def test_a_stream_that_h2_knows_no_more(scene: Scene) -> None:
    """The server has ended it, or the connection, and we have not come to that yet."""
    async with running(scene) as nursery:
        sink = Collector()
        download = scene.downloads.start(scene.fetch(0, 40, stop=False), sink)
        download.window(64 * KIB)
        with trio.fail_after(60):
            while not sink.data:  # a sink of threads knows no event of trio's
                await trio.lowlevel.checkpoint()
        (connection,) = scene.downloads._made
        assert connection._http2 is not None
        connection._http2.streams.clear()
        download.window(128 * KIB)
        download.cancel()
        nursery.cancel_scope.cancel()


async def test_a_call_goes_on_when_the_server_takes_no_new_ones(scene: Scene) -> None:
    """As a server does that is restarted, or limits a connection's age: it says GOAWAY, and serves what runs."""
    async with running(scene) as nursery:
        sink = Collector()
        download = scene.downloads.start(scene.fetch(0, 4, stop=False), sink)
        download.window(256 * KIB)
        with trio.fail_after(60):
            while len(sink.data) < 4 * 16 * KIB:
                await trio.testing.wait_all_tasks_blocked(0.01)
        (connection,) = scene.downloads._made
        nursery.start_soon(partial(trio.to_thread.run_sync, scene.server.stop, 20.0, abandon_on_cancel=True))
        with trio.fail_after(60):
            while connection.usable:
                await trio.testing.wait_all_tasks_blocked(0.01)
        assert len(sink.data) == 4 * 16 * KIB
        download.allow(-(-SIZE // (16 * KIB)) + 1)
        assert len(await finished(sink)) == SIZE
        with trio.fail_after(60):
            while connection.busy:
                await trio.testing.wait_all_tasks_blocked(0.01)
        nursery.cancel_scope.cancel()


@pytest.mark.promise("E3")
@pytest.mark.parametrize("wide", [False, True], ids=["exact", "over gRPC"])
async def test_a_server_that_takes_few_calls_at_once(tmp_path: Path, wide: bool) -> None:
    """On each connection: who has to wait for another to end makes one more."""
    with simulated(tmp_path, at_once=1) as scene:
        async with running(scene) as nursery:
            first = Collector()
            scene.downloads.start(scene.fetch(0, 2), first).window(256 * KIB)
            await finished(first)
            held = [Collector() for _ in range(3)]
            for sink in held:
                scene.downloads.start(replace(scene.fetch(0, 2, stop=False), wide=wide), sink).window(
                    256 * KIB
                )
                with trio.fail_after(60):
                    while len(sink.data) < 2 * 16 * KIB:
                        await trio.testing.wait_all_tasks_blocked(0.01)
            assert all(not sink.end.is_set() and sink.data == first.data for sink in held)
            assert scene.simulator.log.count("DownloadFile") == 4
            nursery.cancel_scope.cancel()


async def test_keys_are_logged_nowhere(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the environment says: also where it names a file that cannot be written."""
    for place in (tmp_path / "keys", tmp_path / "missing" / "keys"):
        monkeypatch.setenv("SSLKEYLOGFILE", str(place))
        async with running(scene) as nursery:
            sink = Collector()
            scene.downloads.start(scene.fetch(0, 2), sink).window(256 * KIB)
            assert len(await finished(sink)) == 2 * 16 * KIB
            nursery.cancel_scope.cancel()
        assert not place.exists()


async def test_a_window_bounds_what_is_on_its_way(scene: Scene) -> None:
    async with running(scene) as nursery:
        sink = Collector()
        download = scene.downloads.start(scene.fetch(0, 4, stop=False), sink)
        download.window(20 * KIB)
        with trio.fail_after(60):
            while len(sink.data) < 4 * 16 * KIB:
                assert scene.line.let - scene.line.got <= 20 * KIB
                await trio.sleep(0.001)
        await trio.sleep(0.2)
        assert scene.line.got == scene.line.let == sum(wire_size(index, 16 * KIB) for index in range(4))
        download.allow(5)
        await trio.sleep(0.5)
        assert len(sink.data) == 5 * 16 * KIB
        download.cancel()
        await trio.sleep(0.1)
        assert not sink.end.is_set()
        nursery.cancel_scope.cancel()


async def test_a_refusal_is_the_servers_own(scene: Scene) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.downloads.run)
        sink = Collector()
        scene.downloads.start(Fetch("no such session", scene.file, 16 * KIB, 0, 1, size=SIZE), sink)
        with pytest.raises(NotFound, match="There is no session"):
            await finished(sink)
        nursery.cancel_scope.cancel()


async def test_a_certificate_that_only_grpc_takes(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Downloads go on over gRPC then."""
    if scene.downloads._config is None or scene.downloads._config.insecure:
        monkeypatch.setattr("exportfs.rpc.http2.Http2Connection._connect", _unusable)
    else:
        monkeypatch.setattr(scene.downloads._connections, "roots", None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(scene.downloads.run)
        for _ in range(2):
            sink = Collector()
            scene.downloads.start(scene.fetch(2, 4), sink)
            assert len(await finished(sink)) == 32 * KIB
        assert scene.line.got == 0
        nursery.cancel_scope.cancel()


async def test_the_ca_file_is_read_once(scene: Scene) -> None:
    """It may be gone when a connection is made: its path was relative, it was a descriptor, it is being replaced."""
    assert scene.downloads._config is not None
    if scene.downloads._config.ca_file is not None:
        scene.downloads._config.ca_file.unlink()
    async with running(scene) as nursery:
        sink = Collector()
        scene.downloads.start(scene.fetch(2, 4), sink)
        assert len(await finished(sink)) == 32 * KIB
        assert scene.line.got > 0
        nursery.cancel_scope.cancel()


async def test_a_server_that_is_not_there() -> None:
    config = ServerConfig("127.0.0.1", 1, insecure=True)
    client = Server(config, timeout=5)
    downloads = Downloads(client.connections, client.login, Line(), config)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(downloads.run)
        await trio.testing.wait_all_tasks_blocked()
        sink = Collector()
        downloads.start(Fetch("s", "f", 16 * KIB, 0, 1, size=SIZE), sink)
        with pytest.raises(ExportfsError, match="cannot be reached"):
            await finished(sink)
        nursery.cancel_scope.cancel()
    client.connections.close()


async def _unusable(self: object) -> None:
    from exportfs.rpc.http2_client import Unusable

    raise Unusable("no HTTP/2 here")
