"""What comes over a line of 50 Mbit/s is taken some packets at a time, and what is nearly all here without delay."""

import ssl
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair, wait_all_tasks_blocked

from exportfs.content.line import Line
from exportfs.model import Fetch
from exportfs.rpc.arrivals import Arrivals
from exportfs.rpc.exact import ExactDownload
from exportfs.rpc.grpc_download import METHOD, download_request
from exportfs.rpc.http2 import Http2Connection
from exportfs.rpc.http2_client import encrypted
from exportfs.simulator import make_certificates
from tests.support import framed_peer as peer
from tests.unit.rpc.test_threads import Sink

KIB, MIB = 1 << 10, 1 << 20
BLOCK, SIZE = 64 * KIB, 2 * MIB
RATE, PACKET = 6.25e6, 1448


class Arriving(trio.abc.Stream):
    """A connection to a server that answers the first call with all of a file, packet by packet on trio's clock."""

    def __init__(self) -> None:
        answer = [peer.headers(1, (":status", "200"), ("content-type", "application/grpc"))]
        payload = peer.messages(SIZE, BLOCK)
        answer += [peer.data(1, payload[at : at + 16 * KIB]) for at in range(0, len(payload), 16 * KIB)]
        answer.append(peer.headers(1, ("grpc-status", "0"), end=True))
        self.answer = b"".join(say.raw for say in answer)
        self.begins = trio.Event()
        self.begun = 0.0
        self.taken = 0
        self.receipts = 0

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        await trio.lowlevel.checkpoint()

    def begin(self) -> None:
        self.begun = trio.current_time()
        self.begins.set()

    async def wait_send_all_might_not_block(self) -> NoReturn:
        raise NotImplementedError

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await self.begins.wait()
        if self.taken == len(self.answer):
            await trio.sleep_forever()
        await trio.sleep_until(self.begun + min(self.taken + PACKET, len(self.answer)) / RATE)
        here = int((trio.current_time() - self.begun) * RATE + 1e-6)
        end = len(self.answer) if here >= len(self.answer) else max(here // PACKET, 1) * PACKET
        piece, self.taken = self.answer[self.taken : end], end
        self.receipts += 1
        return piece

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


class Connection(Http2Connection):
    def __init__(self, stream: Arriving, line: Line) -> None:
        super().__init__(peer.CONFIG, line, None)
        self.stream = stream

    async def _connect(self) -> Arrivals:
        return Arrivals(self.stream, self.line)


async def test_packets_gather(autojump_clock: MockClock) -> None:
    stream, line, sink = Arriving(), Line(), Sink()
    line.round_trip_took(0.04)
    async with trio.open_nursery() as nursery:
        connection = Connection(stream, line)
        nursery.start_soon(connection.run)
        fetch = Fetch("session", "f", BLOCK, 0, SIZE // BLOCK + 1, size=SIZE, stop=False)
        download = ExactDownload(connection, fetch, sink)
        download.window(8 * MIB)
        connection.start(download, METHOD, download_request(fetch), ())
        await wait_all_tasks_blocked()  # so the call has been sent
        stream.begin()
        await sink.end.wait()
        assert sink.error is None
        took = trio.current_time() - stream.begun
        nursery.cancel_scope.cancel()
    assert len(sink.data) == SIZE
    assert stream.receipts <= len(stream.answer) / (3 * PACKET)
    assert took == pytest.approx(len(stream.answer) / RATE, abs=PACKET / RATE)


class Patient:
    """Lets a second pass for whatever comes, and counts."""

    gather = 1.0

    def __init__(self) -> None:
        self.largest = 0

    def received(self, now: float, amount: int) -> None:
        self.largest = max(self.largest, amount)


async def test_records_of_tls_do_not_gather_each(tmp_path: Path, autojump_clock: MockClock) -> None:
    """They are here already: only 5 MB/s came through over TLS, and a fast line looked thin."""
    tls, line, got = make_certificates(tmp_path), Patient(), 0
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(tls.certificate_file, tls.key_file)
    made.set_alpn_protocols(["h2"])
    ours, theirs = memory_stream_pair()
    server = trio.SSLStream(theirs, made, server_side=True)
    config = replace(peer.CONFIG, insecure=False, tls_server_name=tls.name)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(server.send_all, bytes(SIZE))
        client = await encrypted(config, Arrivals(ours, line), tls.ca_file.read_bytes())
        begun = trio.current_time()
        while got < SIZE:
            got += len(await client.receive_some(256 * KIB))
        took = trio.current_time() - begun
        await trio.aclose_forcefully(client)
    assert line.largest >= 32 * KIB
    assert took <= SIZE / (16 * KIB) / 2
