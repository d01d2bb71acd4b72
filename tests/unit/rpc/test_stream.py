"""Downloads with a connection and a thread of their own, against a server of nothing but HTTP/2, and the simulator."""

import socket
from pathlib import Path

import pytest
import trio

from exportfs.config import KIB, MIB, ServerConfig
from exportfs.errors import Corrupt, NotFound, Unreachable
from exportfs.model import Fetch
from exportfs.rpc import quiet
from exportfs.rpc.blocks import wire_range
from exportfs.rpc.download import MISUNDERSTOOD, Downloads
from exportfs.rpc.stream import StreamDownload
from exportfs.rpc.streams import IDLE_SECONDS
from exportfs.simulator import Config, LoginConfig, Simulator, SimulatorServer, make_certificates
from tests.support.downloads import Sink, downloads_from, plain
from tests.support.fake_source import content
from tests.support.http2_server import Http2Server

pytestmark = pytest.mark.promise("R6")
SIZE, BLOCK = 5 * MIB + 77, 256 * KIB
BLOCKS = -(-SIZE // BLOCK)


def fetch(first: int = 0, until: int = BLOCKS + 1, *, stop: bool = False) -> Fetch:
    return Fetch("session", "f", BLOCK, first, until, size=SIZE, wide=True, stop=stop)


async def idle(downloads: Downloads, count: int = 1) -> None:
    """Until so many connections wait for another download."""
    assert downloads._streams is not None
    with trio.fail_after(60):
        while len(downloads._streams._idle) != count:
            await trio.testing.wait_all_tasks_blocked(0.005)


@pytest.mark.parametrize(
    "server",
    [
        Http2Server(SIZE),
        Http2Server(SIZE, frame=1 << 20),
        Http2Server(SIZE, frame=1000),
        Http2Server(SIZE, frame=1),
        Http2Server(SIZE, padding=200),
        Http2Server(SIZE, padding=0),
        Http2Server(SIZE, headers=((b"x-large", b"y" * 60_000),), huffman=False),
        Http2Server(SIZE, headers=((b"x-large", b"y" * 900_000),), huffman=False),
        Http2Server(SIZE, window=20),
    ],
    ids=[
        "plain",
        "large frames",
        "small",
        "tiny",
        "padded",
        "padded with nothing",
        "headers",
        "headers in one large frame",
        "small windows",
    ],
)
async def test_whole_files(server: Http2Server) -> None:
    """One after the other over one connection, but for the one of exact downloads."""
    whole = SIZE if server.frame > 1 else 40 * KIB  # a frame for each byte takes a while
    server.size = whole
    with server:
        async with downloads_from(plain(server.port)) as downloads:
            for _ in range(2):
                sink = Sink()
                asked = Fetch("session", "f", BLOCK, 0, -(-whole // BLOCK) + 1, size=whole, wide=True)
                downloads.start(asked, sink)
                assert await sink.whole() == content("f", 0, whole)
                await idle(downloads)
    assert server.connections == 2
    assert len(server.requests) == 2


@pytest.mark.parametrize("encrypted", [False, True])
async def test_nothing_is_sent_that_is_not_wanted(encrypted: bool, tmp_path: Path) -> None:
    simulator = Simulator(Config(login=LoginConfig(required=False)))
    tls = make_certificates(tmp_path) if encrypted else None
    session = simulator.add_computed(SIZE)
    [file] = simulator.files(session)
    with SimulatorServer(simulator, tls=tls) as server:
        host, port = server.address.rsplit(":", 1)
        config = ServerConfig(host, int(port), insecure=True)
        if tls is not None:
            config = ServerConfig(host, int(port), ca_file=tls.ca_file, tls_server_name=tls.name)
        async with downloads_from(config) as downloads:
            sink = Sink()
            asked = Fetch(session, file.path, BLOCK, 2, 5, size=SIZE, wide=True)
            download = downloads.start(asked, sink)
            await sink.has(3 * BLOCK)
            [running] = [one for one in downloads._started if isinstance(one, StreamDownload)]
            assert running._received == running._granted == wire_range(2, 5, BLOCK, SIZE, None)
            download.allow(7)
            await sink.has(5 * BLOCK)
            assert running._received == wire_range(2, 7, BLOCK, SIZE, None)
            download.allow(BLOCKS + 1)
            data = await sink.whole()
            again = Sink()
            downloads.start(Fetch(session, file.path, BLOCK, 2, 4, size=SIZE, wide=True, stop=True), again)
            assert await again.whole() == data[: 2 * BLOCK]
    assert len(data) == SIZE - 2 * BLOCK
    simulator.close()


async def test_a_download_that_rests_leaves_its_connection_to_another() -> None:
    with Http2Server(SIZE) as server:
        async with downloads_from(plain(server.port)) as downloads:
            for number in range(3):
                sink = Sink()
                download = downloads.start(fetch(number, number + 2), sink)
                await sink.has(2 * BLOCK)
                download.cancel()
                await idle(downloads)
                assert sink.data == content("f", number * BLOCK, 2 * BLOCK)
                assert not sink.end.is_set()
    assert server.connections == 2


async def test_what_is_on_its_way_goes_with_the_connection() -> None:
    """Over a slow line it would come before the next download's first block."""
    with Http2Server(SIZE, mute=True) as server:
        async with downloads_from(plain(server.port)) as downloads:
            sink = Sink()
            download = downloads.start(fetch(), sink)
            with trio.fail_after(60):
                while not server.requests:
                    await trio.testing.wait_all_tasks_blocked(0.005)
            download.cancel()
            server.mute = False
            sink = Sink()
            downloads.start(fetch(), sink)
            assert await sink.whole() == content("f", 0, SIZE)
    assert server.connections == 3


async def test_a_connection_that_has_ended_is_not_used_again() -> None:
    with Http2Server(SIZE) as server:
        async with downloads_from(plain(server.port)) as downloads:
            for number in range(2):
                sink = Sink()
                downloads.start(fetch(), sink)
                assert await sink.whole() == content("f", 0, SIZE)
                await idle(downloads)
                assert server.connections == 2 + number
                server._open[-1].shutdown(socket.SHUT_RDWR)


async def test_connections_that_rest_are_closed() -> None:
    with Http2Server(SIZE) as server:
        async with downloads_from(plain(server.port)) as downloads:
            sink = Sink()
            downloads.start(fetch(), sink)
            await sink.whole()
            await idle(downloads)
            assert downloads._streams is not None
            downloads._streams.reap(quiet.now())
            await idle(downloads)
            downloads._streams.reap(quiet.now() + IDLE_SECONDS)
            await idle(downloads, 0)


async def test_a_server_that_compresses_unasked() -> None:
    """gRPC understands it, and takes over."""
    with Http2Server(SIZE, compress=True) as server:
        async with downloads_from(plain(server.port)) as downloads:
            for _ in range(MISUNDERSTOOD + 1):
                sink = Sink()
                downloads.start(fetch(), sink)
                assert await sink.whole() == content("f", 0, SIZE)
            assert not downloads._exact


async def test_what_is_no_http2_in_the_middle() -> None:
    """What is missing comes over gRPC; blocks that are here are not fetched again."""
    with Http2Server(SIZE, garbage_after=5, garbage_on=2) as server:
        async with downloads_from(plain(server.port)) as downloads:
            sink = Sink()
            downloads.start(fetch(), sink)
            assert await sink.whole() == content("f", 0, SIZE)


async def test_an_answer_that_ends_within_a_block() -> None:
    with Http2Server(SIZE, cut_at=3) as server:
        async with downloads_from(plain(server.port)) as downloads:
            sink = Sink()
            downloads.start(fetch(), sink)
            with pytest.raises(Corrupt, match="within a block"):
                await sink.whole()
            assert sink.data == content("f", 0, 3 * BLOCK)


async def test_a_reset() -> None:
    with Http2Server(SIZE, reset_at=3) as server:
        async with downloads_from(plain(server.port)) as downloads:
            sink = Sink()
            downloads.start(fetch(), sink)
            with pytest.raises(Unreachable):
                await sink.whole()
            assert sink.data == content("f", 0, 3 * BLOCK)


async def test_a_server_that_takes_no_new_calls() -> None:
    """It goes on with what it has begun; the next one gets another connection."""
    with Http2Server(SIZE, goodbye_at=3) as server:
        async with downloads_from(plain(server.port)) as downloads:
            for _ in range(2):
                sink = Sink()
                downloads.start(fetch(), sink)
                assert await sink.whole() == content("f", 0, SIZE)
    assert server.connections == 3


async def test_no_server() -> None:
    with Http2Server(SIZE) as server:
        config = plain(server.port)
    async with downloads_from(config) as downloads:
        sink = Sink()
        downloads.start(fetch(), sink)
        with pytest.raises(Unreachable, match="cannot be reached"):
            await sink.whole()


async def test_a_status() -> None:
    simulator = Simulator(Config(login=LoginConfig(required=False)))
    with SimulatorServer(simulator) as server:
        host, port = server.address.rsplit(":", 1)
        async with downloads_from(ServerConfig(host, int(port), insecure=True)) as downloads:
            sink = Sink()
            downloads.start(fetch(), sink)
            with pytest.raises(NotFound):
                await sink.whole()
    simulator.close()
