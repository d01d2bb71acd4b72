"""Wide downloads: what goes wrong at one moment or another, each made to happen there."""

import contextlib
import os
import select
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing
from hyperframe.frame import GoAwayFrame, PingFrame, RstStreamFrame, SettingsFrame

from exportfs.config import KIB, ServerConfig
from exportfs.errors import ExportfsError, Interrupted, Unreachable
from exportfs.model import Fetch
from exportfs.rpc.exact import ExactDownload
from exportfs.rpc.framed import FramedConnection
from exportfs.rpc.http2_client import Misunderstood, NoExact
from exportfs.rpc.stream import StreamDownload
from exportfs.rpc.threads import Threads
from exportfs.rpc.tls import context
from exportfs.simulator import Simulator, SimulatorServer, make_certificates
from tests.support.downloads import Sink, downloads_from, plain
from tests.support.exact_peer import PeerConnection
from tests.support.fake_source import content
from tests.support.framed_peer import (
    AWAIT_LEAVE,
    CLOSE,
    STALL,
    Data,
    HalfClosed,
    Peer,
    Peers,
    Say,
    Step,
    data,
    headers,
    messages,
)
from tests.support.http2_server import Http2Server
from tests.support.tls import ends

pytestmark = pytest.mark.promise("R6")
BLOCK, SIZE = 8 * KIB, 64 * KIB
OK = (":status", "200")


async def until(happened: Callable[[], object]) -> None:
    with trio.fail_after(60):
        while not happened():
            await trio.testing.wait_all_tasks_blocked(0.001)


def let_go(download: StreamDownload) -> bool:
    """Whether its thread has no more to do with it."""
    return download._waker.descriptor < 0


def fetch(until: int = SIZE // BLOCK + 1, *, stop: bool = False) -> Fetch:
    return Fetch("s", "f", BLOCK, 0, until, size=SIZE, wide=True, stop=stop)


@asynccontextmanager
async def served(peers: Peers) -> AsyncIterator[Peers]:
    async with trio.open_nursery() as peers.nursery:
        yield peers
        peers.nursery.cancel_scope.cancel()
    peers.close()


def good(number: int, *between: Step) -> Iterator[Step]:
    yield headers(number, OK)
    yield from between
    yield Data(messages(SIZE, BLOCK))
    yield headers(number, ("grpc-status", "0"), end=True)


class Slow(Peers):
    """Connects when it is let, or never."""

    def __init__(self, make: Callable[[], Peer]) -> None:
        super().__init__(make)
        self.let = trio.Event()

    async def connect(self) -> FramedConnection:
        await self.let.wait()
        return await super().connect()


async def test_left_while_it_connects() -> None:
    """What was connected for it speaks no HTTP/2 yet: the next download cannot begin on it."""
    async with served(Slow(lambda: Silent(lambda _: ()))) as peers:
        assert isinstance(peers, Slow)
        first = peers.begin(fetch(), Sink())
        first.cancel()
        peers.let.set()
        await until(lambda: let_go(first))
        peers._make = lambda: Peer(good)
        sink = Sink()
        peers.begin(fetch(), sink)
        assert await sink.whole() == content("f", 0, SIZE)


async def test_no_thread_for_it() -> None:
    async with served(Peers(lambda: Silent(lambda _: ()))) as peers:
        peers.threads = Threads("download", 0)
        sink = Sink()
        peers.begin(fetch(), sink)
        with pytest.raises(Interrupted, match="no thread"):
            await sink.whole()
        peers.threads = Threads("download", 1)
        peers._make = lambda: Peer(good)
        again = Sink()
        peers.begin(fetch(), again)
        assert await again.whole() == content("f", 0, SIZE)


async def test_the_window_of_the_connection_is_opened_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real one, of 2 GiB, everything would stand still after so much."""
    most = 80 * KIB
    for module in ("framed", "http2_client"):
        monkeypatch.setattr(f"exportfs.rpc.{module}.CONNECTION_WINDOW", most)
    async with served(Peers(lambda: Peer(good))) as peers:
        for _ in range(4):
            sink = Sink()
            download = peers.begin(fetch(), sink)
            assert await sink.whole() == content("f", 0, SIZE)
            await until(lambda: let_go(download))  # noqa: B023
            assert peers.made[-1].window <= most
        assert len(peers.made) == 1


async def test_a_server_that_takes_no_more_calls_on_a_connection() -> None:
    none_at_once = Say(SettingsFrame(0, {SettingsFrame.MAX_CONCURRENT_STREAMS: 0}).serialize())
    async with served(Peers(lambda: Peer(lambda number: good(number, none_at_once)))) as peers:
        for _ in range(2):
            sink = Sink()
            download = peers.begin(fetch(), sink)
            assert await sink.whole() == content("f", 0, SIZE)
            await until(lambda: let_go(download))  # noqa: B023
        assert len(peers.made) == 2


class Silent(Peer):
    """Takes the connection and says nothing."""

    def _run(self) -> None:
        if self._socket.recv(1):
            self.stalled.set()
            while self._socket.recv(1 << 16):
                pass
        self._socket.close()


async def test_left_within_the_handshake(tmp_path: Path) -> None:
    client = ends(tmp_path).client
    async with served(Peers(lambda: Silent(lambda _: ()), tls=client)) as peers:
        download = peers.begin(fetch(), Sink())
        await until(lambda: peers.made and peers.made[0].stalled.is_set())
        download.cancel()
        await until(lambda: let_go(download))


class Gone(Peer):
    """Takes the connection and ends it: a proxy that does not reach the server behind it."""

    def _run(self) -> None:
        self._socket.recv(1 << 16)
        self._socket.close()


async def test_ended_within_the_handshake(tmp_path: Path) -> None:
    """It says nothing of the server's TLS."""
    client = ends(tmp_path).client
    async with served(Peers(lambda: Gone(lambda _: ()), tls=client)) as peers:
        sink = Sink()
        peers.begin(fetch(), sink)
        with pytest.raises(Unreachable):
            await sink.whole()
        assert peers.problems == []


@pytest.mark.parametrize("wide", [True, False])
async def test_exact_downloads_outlive_a_handshake_that_broke_off(wide: bool, tmp_path: Path) -> None:
    """For the rest of the mount everything went over gRPC otherwise."""
    made = make_certificates(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            while True:
                try:
                    client = listener.accept()[0]
                except OSError:
                    return
                client.recv(1 << 16)
                client.shutdown(socket.SHUT_WR)
                client.close()

        threading.Thread(target=run, daemon=True).start()
        port = listener.getsockname()[1]
        config = ServerConfig("127.0.0.1", port, ca_file=made.ca_file, tls_server_name=made.name)
        async with downloads_from(config) as downloads:
            sink = Sink()
            downloads.start(Fetch("s", "f", BLOCK, 0, 9, size=SIZE, wide=wide), sink)
            with pytest.raises(Unreachable):
                await sink.whole()
            assert downloads._exact
        listener.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("name", ["N" * 64, "a..b"], ids=["long", "an empty part"])
async def test_names_that_dns_would_not_have(
    simulator: Simulator, wide: bool, name: str, tmp_path: Path
) -> None:
    """gRPC takes them: files were listed, and none could be read in sequence."""
    made = make_certificates(tmp_path, name)
    session = simulator.add_computed(SIZE)
    [file] = simulator.files(session)
    with SimulatorServer(simulator, tls=made) as server:
        config = ServerConfig("127.0.0.1", server.port, ca_file=made.ca_file, tls_server_name=name)
        async with downloads_from(config) as downloads:
            sink = Sink()
            downloads.start(Fetch(session, file.path, BLOCK, 0, 9, size=SIZE, wide=wide), sink)
            assert await sink.whole() == simulator.content(session, file.path)
            assert downloads._exact


def test_the_authorities_are_read_once() -> None:
    """Those of a system take 50 ms, in which nothing else is done: not with each connection."""
    assert context(None) is context(None)


@pytest.mark.parametrize("wide", [True, False])
async def test_a_page_of_a_proxy(wide: bool) -> None:
    """It is none of the call's messages, and nothing against the server's HTTP/2."""
    with Http2Server(SIZE, page=b"<html>Bad Gateway</html>" * 2000) as server:
        async with downloads_from(ServerConfig("127.0.0.1", server.port, insecure=True)) as downloads:
            for _ in range(4):
                sink = Sink()
                downloads.start(Fetch("s", "f", BLOCK, 0, 2, size=SIZE, wide=wide), sink)
                with pytest.raises(Unreachable, match="a proxy answered with HTTP 502"):
                    await sink.whole()
            assert downloads._misunderstood == 0


async def test_no_more_descriptors(monkeypatch: pytest.MonkeyPatch) -> None:
    with Http2Server(SIZE) as server:
        async with downloads_from(ServerConfig("127.0.0.1", server.port, insecure=True)) as downloads:

            def none(*_: object) -> int:
                raise OSError(24, "Too many open files")

            monkeypatch.setattr(os, "eventfd", none)
            sink, left = Sink(), Sink()
            downloads.start(fetch(), left).cancel()  # before it could hear of it
            downloads.start(fetch(), sink)
            with pytest.raises(Interrupted, match="Too many open files"):
                await sink.whole()
            assert not left.end.is_set()


def early(number: int) -> list[Step]:
    return [data(number, messages(SIZE, BLOCK)[:100])]


def beyond(number: int) -> list[Step]:
    return [headers(number, OK), Say(data(number, messages(SIZE, BLOCK)[:40000]).raw)]


def padded(number: int) -> list[Step]:
    """By as many bytes as there are, and one."""
    whole = data(number, b"abc" * 30, 0).raw
    return [headers(number, OK), Say(whole[:9] + bytes((91,)) + whole[10:])]


@pytest.mark.parametrize("said", [early, beyond, padded])
async def test_data_that_is_against_the_rules(said: Callable[[int], list[Step]]) -> None:
    """gRPC may understand it; we do not guess."""
    async with served(Peers(lambda: Peer(lambda number: [*said(number), STALL]))) as peers:
        sink = Sink()
        peers.begin(fetch(2), sink)
        with pytest.raises(NoExact):
            await sink.whole()
        assert [type(problem) for problem in peers.problems] == [Misunderstood]
        assert not sink.data


class Deaf(Peer):
    """Hears nothing more once it has said all."""

    def _send(self, raw: bytes) -> None:
        if len(raw) > BLOCK:
            while not self.acknowledged:
                self._hear()
            self._socket.shutdown(socket.SHUT_RD)
        super()._send(raw)


async def test_all_is_here_and_the_connection_has_gone() -> None:
    """That nobody hears the call's end makes it no failure."""
    raw = messages(BLOCK, BLOCK)
    async with served(Peers(lambda: Deaf(lambda number: [headers(number, OK), Data(raw), STALL]))) as peers:
        sink = Sink()
        peers.begin(fetch(1, stop=True), sink)
        assert await sink.whole() == content("f", 0, BLOCK)


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ([headers(1, ("grpc-status", "1"), end=True), Say(RstStreamFrame(1).serialize())], True),
        ([Say(PingFrame(0, b"12345678").serialize())], True),
        ([Say(PingFrame(0, b"12345678").serialize()[:5])], False),
        ([Say(PingFrame(0, b"12345678").serialize()[:12])], False),
        ([Say(GoAwayFrame(0, last_stream_id=1).serialize())], False),
        ([data(1, b"late")], False),
        ([data(1, b"")], True),
        ([CLOSE], False),
    ],
    ids=["trailers", "ping", "part of a head", "part of a frame", "goodbye", "data", "no data", "closed"],
)
async def test_what_comes_between_two_calls(said: list[Step], kept: bool) -> None:
    """gRPC's servers in C++ send trailers to what was cancelled: that costs no connection."""

    def script(number: int) -> Iterator[Step]:
        if number > 1 or len(peers.made) > 1:
            yield from good(number)
            return
        yield headers(number, OK)
        yield Data(messages(2 * BLOCK, BLOCK))
        yield AWAIT_LEAVE
        yield from (Say(one.raw) if isinstance(one, Say) else one for one in said)

    async with served(Peers(lambda: Peer(script))) as peers:
        sink = Sink()
        download = peers.begin(fetch(2, stop=True), sink)
        assert await sink.whole() == content("f", 0, 2 * BLOCK)
        await until(lambda: let_go(download))
        [connection] = peers._idle
        await until(lambda: select.select([connection._socket], [], [], 0)[0])
        again = Sink()
        peers.begin(fetch(), again)
        assert await again.whole() == content("f", 0, SIZE)
        assert len(peers.made) == (1 if kept else 2)


async def test_left_while_nothing_comes() -> None:
    """Of what it has been allowed to send: its thread waits for that and for nothing else."""
    async with served(Peers(lambda: Peer(lambda number: [headers(number, OK), STALL]))) as peers:
        download = peers.begin(fetch(), Sink())
        await until(lambda: download._answer.begun)
        download.cancel()
        await until(lambda: let_go(download))


async def test_left_while_half_a_frame_is_there() -> None:
    """Of a call that may send nothing more: its thread waits for the other half."""
    first = messages(SIZE, BLOCK)[: len(messages(BLOCK, BLOCK))]

    def script(number: int) -> list[Step]:
        half = PingFrame(0, b"12345678").serialize()[:5]
        return [headers(number, OK), Data(messages(2 * BLOCK, BLOCK)), Say(half), STALL]

    async with served(Peers(lambda: Peer(script))) as peers:
        sink = Sink()
        download = peers.begin(fetch(2), sink)
        await until(lambda: download._engaged and len(sink.data) > len(first))
        download.cancel()
        await until(lambda: let_go(download))


class Held(Peer):
    """Half of a record of TLS comes, and the other half once the client has been heard again."""

    def _run(self) -> None:
        wire = self._socket
        inner, self._socket = socket.socketpair()
        assert self._tls is not None
        tls, self._tls = self._tls, None
        relay = threading.Thread(target=self._relay, args=(tls, wire, inner), daemon=True)
        relay.start()
        super()._run()
        relay.join(10)

    def _relay(self, tls: ssl.SSLContext, wire: socket.socket, inner: socket.socket) -> None:
        with wire, inner, contextlib.suppress(OSError):
            self._pass_on(tls, wire, inner)

    def _pass_on(self, tls: ssl.SSLContext, wire: socket.socket, inner: socket.socket) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        engine = tls.wrap_bio(incoming, outgoing, server_side=True)
        shaken, held = False, b""
        wire.settimeout(0.002)
        inner.settimeout(0.002)
        while True:
            try:
                got = wire.recv(1 << 16)
                if not got:
                    break
                incoming.write(got)
            except TimeoutError:
                pass
            try:
                if not shaken:
                    engine.do_handshake()
                    shaken = True
                plain = engine.read(1 << 16)
                wire.sendall(held)
                held = b""
                inner.sendall(plain)
            except ssl.SSLWantReadError:
                pass
            said = b""
            if shaken and not held:
                with contextlib.suppress(TimeoutError):
                    said = inner.recv(1 << 16)
                before = said.partition(PING)[0]
                for record in (before, said[len(before) :]):
                    if record:
                        engine.write(record)
            out = outgoing.read()
            if PING in said:
                out, held = out[:-10], out[-10:]
                self.stalled.set()
            wire.sendall(out)


PING = PingFrame(0, b"held!!!!").serialize()


async def test_more_is_allowed_while_part_of_a_record_is_there(tmp_path: Path) -> None:
    """As with tickets and keys of TLS's own: the socket has something, and there is nothing to be read."""
    tls = ends(tmp_path)
    raw = messages(SIZE, BLOCK)
    most = len(messages(2 * BLOCK, BLOCK))

    def script(number: int) -> Iterator[Step]:
        yield headers(number, OK)
        yield Data(raw[:most])
        yield Say(PING)
        yield Data(raw[most:])
        yield headers(number, ("grpc-status", "0"), end=True)

    async with served(Peers(lambda: Held(script, tls=tls.server), tls=tls.client)) as peers:
        sink = Sink()
        download = peers.begin(fetch(2), sink)
        await until(lambda: len(sink.data) == 2 * BLOCK and peers.made[0].stalled.is_set())
        await trio.testing.wait_all_tasks_blocked(0.05)  # the thread has gone to see what there is
        download.allow(SIZE // BLOCK + 1)
        assert await sink.whole() == content("f", 0, SIZE)


async def test_a_connection_that_refuses_calls_gets_no_other() -> None:
    """gRPC's servers do so for ever where cancelled calls have used up their limit."""
    refused = RstStreamFrame(1, error_code=7).serialize()
    async with served(Peers(lambda: Peer(lambda _: [Say(refused)]))) as peers:
        for made in (1, 2):
            sink = Sink()
            download = peers.begin(fetch(), sink)
            with trio.fail_after(60):
                await sink.end.wait()
            assert isinstance(sink.error, Unreachable)
            await until(partial(let_go, download))
            assert len(peers.made) == made


async def test_what_ends_with_data_is_no_success() -> None:
    """Whatever its headers say of that: gRPC's answers end with trailers, and more may have been to come."""

    def script(number: int) -> list[Step]:
        return [
            headers(number, OK, ("grpc-status", "0")),
            data(number, messages(BLOCK, BLOCK), end=True),
            STALL,
        ]

    async with served(Peers(lambda: Peer(script))) as peers:
        sink = Sink()
        download = peers.begin(fetch(), sink)
        with pytest.raises(Interrupted, match="without a status"):
            await sink.whole()
        await until(lambda: let_go(download))
        assert peers._idle == []


async def test_a_server_that_hangs_up() -> None:
    """In the middle of an answer, between two blocks: that does not end the file."""
    one = messages(BLOCK, BLOCK)
    async with served(
        Peers(lambda: HalfClosed(lambda number: [headers(number, OK), Data(one), CLOSE]))
    ) as peers:
        sink = Sink()
        peers.begin(fetch(), sink)
        with pytest.raises(Unreachable, match="closed the connection"):
            await sink.whole()
        assert sink.data == content("f", 0, BLOCK)


class Raising(Sink):
    """Cannot take a block, or the end."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self._what = what
        self.ends = 0

    def block(self, index: int, data: memoryview, length: int | None = None) -> None:
        if self._what == "block":
            raise ZeroDivisionError("injected")
        super().block(index, data, length)

    def ended(self, error: ExportfsError | None) -> None:
        self.ends += 1
        super().ended(error)
        if self._what == "end":
            raise ZeroDivisionError("injected")


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("what", ["block", "end"])
async def test_who_cannot_take_it_harms_no_other(wide: bool, what: str) -> None:
    """On the same connection, where they share one. The end comes once, and after it nothing."""
    with Http2Server(SIZE) as server:
        async with downloads_from(plain(server.port)) as downloads:
            bad, good = Raising(what), Sink()
            for sink in (bad, good):
                asked = Fetch("s", "f", BLOCK, 0, SIZE // BLOCK + 1, size=SIZE, wide=wide)
                downloads.start(asked, sink).window(SIZE)
            assert await good.whole() == content("f", 0, SIZE)
            if what == "block":
                with pytest.raises(Interrupted, match="injected"):
                    await bad.whole()
            else:
                assert await bad.whole() == good.data
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert bad.ends == 1
    assert server.connections == (3 if wide else 1)


@pytest.mark.parametrize("wide", [True, False])
async def test_what_was_allowed_meanwhile_comes_over_grpc_too(wide: bool) -> None:
    """Who has allowed it waits for it, whatever it comes over."""
    with Http2Server(SIZE, garbage_after=5, garbage_on=2 if wide else 1) as server:
        async with downloads_from(plain(server.port)) as downloads:
            sink = Sink()
            asked = Fetch("s", "f", BLOCK, 0, 2, size=SIZE, wide=wide)
            download = downloads.start(asked, sink)
            await sink.has(2 * BLOCK)
            download.allow(7)
            await sink.has(7 * BLOCK)
            assert sink.data == content("f", 0, 7 * BLOCK)
            download.allow(SIZE // BLOCK + 1)
            assert await sink.whole() == content("f", 0, SIZE)


async def test_a_goodbye_to_the_call() -> None:
    """It has not been begun, and never will be."""
    goodbye = Say(GoAwayFrame(0, last_stream_id=0).serialize())
    async with served(Peers(lambda: Peer(lambda number: [goodbye, STALL]))) as peers:
        sink = Sink()
        peers.begin(fetch(), sink)
        with pytest.raises(Unreachable, match="ends the connection"):
            await sink.whole()


@pytest.mark.parametrize("wide", [True, False])
async def test_a_file_that_begins_with_an_empty_block(wide: bool) -> None:
    """As some servers send it: it is none of the blocks that are wanted, and takes no other's place."""
    blocks = 5
    raw = b"\0\0\0\0\0" + messages(SIZE, BLOCK)

    def script(number: int) -> Iterator[Step]:
        yield headers(number, OK)
        yield Data(raw)
        yield headers(number, ("grpc-status", "0"), end=True)

    async with served(Peers(lambda: Peer(script))) as peers:
        for stop in (True, False):
            sink, until = Sink(), blocks if stop else SIZE // BLOCK + 1
            asked = Fetch("s", "f", BLOCK, 0, until, size=SIZE, wide=wide, stop=stop)
            if wide:
                peers.begin(asked, sink)
            else:
                connection = PeerConnection(Peer(script))
                assert peers.nursery is not None
                peers.nursery.start_soon(connection.serve)
                download = ExactDownload(connection, asked, sink)
                connection.start(download, "/x", b"request", ())
                download.window(4 * BLOCK)
            assert await sink.whole() == content("f", 0, blocks * BLOCK if stop else SIZE)


async def test_a_request_that_windows_let_go_in_parts() -> None:
    """The rest of it goes as they are opened."""
    file_id = "f" * 200
    with Http2Server(SIZE, window=20) as server:
        async with downloads_from(plain(server.port)) as downloads:
            for _ in range(2):  # by the second one the client has heard of that
                sink = Sink()
                asked = Fetch("s", file_id, BLOCK, 0, SIZE // BLOCK + 1, size=SIZE, wide=True)
                downloads.start(asked, sink)
                assert await sink.whole() == content(file_id, 0, SIZE)
                await until(lambda: downloads._streams is not None and downloads._streams._idle)
    assert server.connections == 2
