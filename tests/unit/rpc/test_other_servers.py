"""Servers that keep to HTTP/2 and gRPC, but not to the habits of those that we know."""

import math
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent import futures
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
import trio
from h2.connection import H2Connection

from exportfs.config import KIB, MIB, ServerConfig
from exportfs.errors import Exhausted, ExportfsError, Interrupted, Unreachable
from exportfs.model import Fetch
from exportfs.rpc import quiet
from exportfs.rpc.download import AGAIN_AFTER, AGAIN_AFTER_MOST, MISUNDERSTOOD, Downloads
from exportfs.rpc.http2_client import new_connection
from exportfs.rpc.pings import PINGS_UNANSWERED
from exportfs.rpc.server import Server
from exportfs.rpc.status import translate_status
from exportfs.wire import service as wire
from tests.support.downloads import Sink as Passing
from tests.support.downloads import downloads_from, plain
from tests.support.fake_source import content
from tests.support.http2_server import Http2Server
from tests.unit.rpc.test_threads import Sink

pytestmark = pytest.mark.promise("R6")
SIZE, BLOCK = 200 * KIB + 77, 16 * KIB


@asynccontextmanager
async def client_of(handler: grpc.GenericRpcHandler, *, timeout: float) -> AsyncIterator[Server]:
    """A client of a server that answers so."""
    server = grpc.server(futures.ThreadPoolExecutor(4), [handler])
    client = Server(
        ServerConfig("127.0.0.1", server.add_insecure_port("127.0.0.1:0"), insecure=True), timeout=timeout
    )
    server.start()
    try:
        yield client
    finally:
        await client.close()
        stopped: threading.Event = server.stop(None)
        stopped.wait(5)


async def whole(downloads: Downloads, file_id: str = "f") -> bytes:
    sink = Sink()
    until = -(-SIZE // BLOCK)
    handle = downloads.start(Fetch("session", file_id, BLOCK, 0, until + 1, size=SIZE), sink)
    handle.window(1 << 20)
    with trio.fail_after(60):
        await sink.end.wait()
    if sink.error is not None:
        raise sink.error
    return bytes(sink.data)


@pytest.mark.parametrize(
    "server",
    [
        Http2Server(SIZE),
        Http2Server(SIZE, headers=((b"connection", b"keep-alive"), (b"x-note", b" spaces "))),
        Http2Server(SIZE, headers=((b"x-large", b"y" * 100_000),), huffman=False),
        Http2Server(SIZE, window=1000),
        Http2Server(SIZE, padding=0),
        Http2Server(SIZE, padding=255, frame=1000),
    ],
    ids=[
        "plain",
        "headers that HTTP/2 forbids",
        "large headers",
        "a small window for requests",
        "padded with nothing",
        "padded",
    ],
)
async def test_exact_downloads(server: Http2Server) -> None:
    """Of all these, over the connection for exact downloads; their requests are larger than a frame, too."""
    file_id = "f" * (40 * KIB)
    with server:
        async with downloads_from(plain(server.port)) as downloads:
            for _ in range(3):
                assert await whole(downloads, file_id) == content(file_id, 0, SIZE)
    assert server.connections == 1
    assert len(server.requests) == 3


async def test_a_call_is_reset_once() -> None:
    """Whatever still comes of it: servers that count resets end the connection."""
    size = 4 * MIB
    with Http2Server(size, frame=1000) as server:
        async with downloads_from(plain(server.port)) as downloads:
            for number in range(1, 4):
                sink = Passing()
                handle = downloads.start(Fetch("session", "f", BLOCK, 0, size // BLOCK, size=size), sink)
                handle.window(size)
                await sink.has(BLOCK)
                handle.cancel()
                sink = Passing()
                downloads.start(Fetch("session", "f", BLOCK, 0, 1, size=size, stop=True), sink)
                assert await sink.whole() == content("f", 0, BLOCK)
                assert server.resets in (2 * number - 1, 2 * number)  # the last one may be on its way
    assert server.connections == 1


async def test_a_server_that_compresses_unasked() -> None:
    """gRPC understands it, and takes over."""
    with Http2Server(SIZE, compress=True) as server:
        async with downloads_from(plain(server.port)) as downloads:
            for _ in range(MISUNDERSTOOD + 2):
                assert await whole(downloads) == content("f", 0, SIZE)
    assert server.connections == MISUNDERSTOOD + 1


async def test_what_was_not_understood_is_not_the_last_word(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A proxy that is changed, or a page for people in place of the server, for a while: after it all is as before."""
    now, ours = [quiet.now()], list[float]()
    monkeypatch.setattr(quiet, "now", lambda: now[0])

    def counted(*sizes: int) -> H2Connection:
        ours.append(now[0])
        return new_connection(*sizes)

    monkeypatch.setattr("exportfs.rpc.http2.new_connection", counted)

    async def made(downloads: Downloads) -> int:
        """Connections of our own that some downloads took."""
        before = len(ours)
        for _ in range(MISUNDERSTOOD + 1):
            assert await whole(downloads) == content("f", 0, SIZE)
        return len(ours) - before

    with Http2Server(SIZE, compress=True) as server:
        async with downloads_from(plain(server.port)) as downloads:
            assert await made(downloads) == MISUNDERSTOOD - 1  # and the one from the start
            for pause in (AGAIN_AFTER, 2 * AGAIN_AFTER):
                now[0] += pause - 1
                assert await made(downloads) == 0
                now[0] += 1
                assert await made(downloads) == 1
            server.compress = False
            now[0] += AGAIN_AFTER_MOST
            assert await made(downloads) == 1
            server.compress = True
            assert await made(downloads) == MISUNDERSTOOD - 1  # and the one that is there
    assert [one.levelname for one in caplog.records].count("WARNING") == 2


async def test_what_is_no_http2_in_the_middle_of_a_download() -> None:
    """What is missing comes over gRPC; blocks that are here are not fetched again. The next connection does well."""
    with Http2Server(SIZE, garbage_after=5, garbage_on=1) as server:
        async with downloads_from(plain(server.port)) as downloads:
            assert await whole(downloads) == content("f", 0, SIZE)
            assert await whole(downloads) == content("f", 0, SIZE)
    assert server.connections == 3


@pytest.mark.promise("E6")
@pytest.mark.parametrize("mute", [False, True], ids=["answered", "calls without an answer"])
async def test_no_ping_is_one_too_many(mute: bool) -> None:
    """gRPC's servers forgive two between answers, whatever the time between them; that for Java from the first on."""
    with Http2Server(SIZE, mute=mute, pings_unpunished=PINGS_UNANSWERED) as server:
        async with downloads_from(plain(server.port)) as downloads:
            (connection,) = downloads._made
            for number in range(5):
                with trio.fail_after(60):
                    while connection._pings._pending is not None or not connection.ready:
                        await trio.testing.wait_all_tasks_blocked(0.01)
                connection._pings._sent_at = -math.inf
                if not mute:
                    assert await whole(downloads) == content("f", 0, SIZE)
                    continue
                downloads.start(Fetch("session", "f", BLOCK, 0, 2, size=SIZE), Sink()).window(1 << 20)
                with trio.fail_after(60):
                    while len(server.requests) <= number:
                        await trio.testing.wait_all_tasks_blocked(0.01)
                connection.cancel(*next((stream, of) for of, stream in connection._streams.items()))
            assert connection.usable
    assert server.connections == 1


class _Metadata(grpc.GenericRpcHandler):
    """Answers every call with an empty message and much metadata."""

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        def answer(_: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            context.send_initial_metadata((("x-large", "y" * 50_000),))
            context.set_trailing_metadata((("x-larger", "z" * 50_000),))
            yield b""

        return grpc.unary_stream_rpc_method_handler(answer)


async def test_much_metadata() -> None:
    """More than the 16 KiB with which gRPC breaks a call off unless it is told otherwise."""
    options = [("grpc.max_metadata_size", 1 << 20), ("grpc.absolute_max_metadata_size", 1 << 20)]
    server = grpc.server(futures.ThreadPoolExecutor(2), [_Metadata()], options=options)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    client = Server(ServerConfig("127.0.0.1", port, insecure=True), timeout=10)
    try:
        with trio.fail_after(60):
            assert (await client.list_sessions()).sessions == ()
    finally:
        await client.close()
        stopped: threading.Event = server.stop(None)
        stopped.wait(5)


@pytest.mark.promise("W12")
@pytest.mark.parametrize(
    ("details", "kind"),
    [
        (
            "Stream removed (received metadata size exceeds hard limit (value length 52500 vs. 16384))",
            Interrupted,
        ),
        ("Stream removed (RST_STREAM (Received RST_STREAM with error code 11))", Interrupted),
        ("too many exports", Exhausted),
    ],
)
def test_a_broken_stream_is_no_refusal(details: str, kind: type[ExportfsError]) -> None:
    """gRPC gives it the server's code for a limit; the server may have started the export all the same."""
    error = translate_status(grpc.StatusCode.RESOURCE_EXHAUSTED, details)
    assert type(error) is kind


async def test_the_next_listing_of_a_slow_server_is_waited_for_at_once() -> None:
    """A first try is given a third of the timeout, but not by who knows better."""
    calls = []

    class Slow(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> Any:
            def answer(_: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
                ended = threading.Event()
                context.add_callback(ended.set)
                calls.append(details.method)
                ended.wait(1.4)
                yield b""

            return grpc.unary_stream_rpc_method_handler(answer)

    async with client_of(Slow(), timeout=3.6) as client:
        with trio.fail_after(60):
            for expected in (2, 3, 4):
                await client.list_sessions()
                assert len(calls) == expected


class Pages(grpc.GenericRpcHandler):
    """Lists sessions, a message each, and a pause of so many seconds after each; None: for ever."""

    def __init__(
        self, sessions: int, pause: float | None, *, page: int = 2, breaks_at: int | None = None
    ) -> None:
        self.sizes: list[int] = []
        self.sent = 0
        self._sessions, self._pause, self._page, self._breaks_at = sessions, pause, page, breaks_at

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        return grpc.unary_stream_rpc_method_handler(self._answer)

    def _answer(self, raw: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
        request = wire.ListSessionsRequest.FromString(raw)
        self.sizes.append(request.page_size)
        ended = threading.Event()
        context.add_callback(ended.set)
        begin = int(request.page_token or 0)
        for number in range(begin, min(begin + self._page, self._sessions)):
            if number == self._breaks_at:
                context.abort(grpc.StatusCode.UNAVAILABLE, "broken off")
            answer = wire.ListSessionsResponse()
            answer.sessions.add().session.id = f"hosts/Server/{number}"
            if number + 1 == begin + self._page:
                answer.next_page_token = str(number + 1)
            self.sent += 1
            yield answer.SerializeToString()
            ended.wait(self._pause)


@pytest.mark.promise("E2", "E3")
async def test_a_listing_may_take_longer_than_the_timeout_as_long_as_it_moves() -> None:
    """Thousands of sessions over a thin line do."""
    moved = []
    async with client_of(Pages(9, 0.3), timeout=1.5) as client:
        with trio.fail_after(60):
            begun = trio.current_time()
            listing = await client.list_sessions(lambda: moved.append(trio.current_time()))
    assert {session.id for session in listing.sessions} == {f"hosts/Server/{number}" for number in range(9)}
    assert len(moved) == 9
    assert moved[-1] - begun > 1.5


@pytest.mark.promise("E2", "E3")
@pytest.mark.parametrize(
    "pages", [Pages(9, 0.0, breaks_at=5), Pages(5, None, page=9)], ids=["broken", "silent"]
)
async def test_a_listing_that_comes_no_further_ends(pages: Pages) -> None:
    """What came before it broke off, once more, is nothing new."""
    moved: list[None] = []
    async with client_of(pages, timeout=1.5) as client:
        with trio.fail_after(60), pytest.raises(ExportfsError):
            await client.list_sessions(lambda: moved.append(None))
    assert len(moved) <= 5
    assert pages.sent >= len(moved)


async def test_a_page_that_does_not_come_in_time_is_asked_for_in_smaller_ones() -> None:
    """Nobody sees a message move before it is there."""

    class Thin(Pages):
        def _answer(self, raw: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
            if wire.ListSessionsRequest.FromString(raw).page_size > 100 and not self.sizes:
                self.sizes.append(1000)
                ended = threading.Event()
                context.add_callback(ended.set)
                ended.wait()
                return iter(())
            return super()._answer(raw, context)

    pages = Thin(3, 0.0)
    async with client_of(pages, timeout=3) as client:
        with trio.fail_after(60):
            assert len((await client.list_sessions()).sessions) == 3
            assert len((await client.list_sessions()).sessions) == 3
    # One bad moment is not for ever: all of it came quickly.
    assert pages.sizes == [1000, 100, 100, 1000, 1000]


@pytest.mark.promise("W12")
async def test_an_answer_without_a_message() -> None:
    """A status of success and nothing else: the export may have been started, so it is not a refusal."""

    class Silent(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> Any:
            def answer(_: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
                yield from ()

            return grpc.unary_stream_rpc_method_handler(answer)

    async with client_of(Silent(), timeout=10) as client:
        with trio.fail_after(60), pytest.raises(Interrupted, match="without an answer"):
            await client.start_session(b"", within=5)


@pytest.mark.promise("W12")
async def test_a_proxy_that_sends_again_what_failed() -> None:
    """As Istio's do, where nobody forbids it: each time the server has the call, and its answer is lost."""
    started: list[bytes] = []

    class Mesh(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> Any:
            again = int(dict(details.invocation_metadata).get("x-envoy-max-retries", 2))

            def answer(request: bytes, context: grpc.ServicerContext) -> bytes:
                started.extend([request] * (1 + again))
                context.abort(grpc.StatusCode.UNAVAILABLE, "upstream connect error: reset 10 times")

            return grpc.unary_unary_rpc_method_handler(answer)

    async with client_of(Mesh(), timeout=10) as client:
        with trio.fail_after(60), pytest.raises(Unreachable, match="reset 10 times"):
            await client.start_session(b"", within=5)
    assert len(started) == 1


@pytest.mark.promise("E1")
@pytest.mark.parametrize(
    ("proxy", "setting"),
    [
        ("nginx/1.22.1", "`underscores_in_headers on`"),
        ("2.0 Caddy", "`expected_underscore_headers auth_token`"),
        ("envoy", "`headers_with_underscores_action: ALLOW`"),
        ("something", "`underscores_in_headers on`"),
    ],
)
def test_the_setting_of_a_proxy_that_drops_the_login(proxy: str, setting: str) -> None:
    error = translate_status(grpc.StatusCode.UNAUTHENTICATED, "no token", (("auth_token", "x"),), proxy=proxy)
    assert setting in str(error)
    assert proxy in str(error)


@pytest.mark.promise("E1")
def test_a_server_of_dotnet_is_no_proxy() -> None:
    """Kestrel names itself in each answer, and drops no header."""
    error = translate_status(
        grpc.StatusCode.UNAUTHENTICATED, "no token", (("auth_token", "x"),), proxy="Kestrel"
    )
    assert str(error).endswith("no token")


def test_words_of_a_server_move_no_cursor() -> None:
    error = translate_status(grpc.StatusCode.INVALID_ARGUMENT, "no\n \x1b[31msuch \u202ecamera, Süd")
    assert str(error).endswith(r"no \x1b[31msuch \u202ecamera, Süd")


@pytest.mark.promise("T2")
async def test_what_goes_between_two_pages_hides_nothing_else() -> None:
    """A server whose tokens count: a session of the first page goes, and one of the next is skipped."""
    ids = [f"hosts/Server/{number}" for number in range(7)]
    leaves: list[str] = []

    class Counting(grpc.GenericRpcHandler):
        def service(self, details: grpc.HandlerCallDetails) -> Any:
            def answer(raw: bytes, context: grpc.ServicerContext) -> Iterator[bytes]:
                place = int(wire.ListSessionsRequest.FromString(raw).page_token or 0)
                page = ids[place : place + 2]
                if place == 2 and leaves:
                    ids.remove(leaves.pop())
                answer = wire.ListSessionsResponse(next_page_token=str(place + 2) if page[1:] else "")
                for session_id in page:
                    answer.sessions.add().session.id = session_id
                yield answer.SerializeToString()

            return grpc.unary_stream_rpc_method_handler(answer)

    server = grpc.server(futures.ThreadPoolExecutor(2), [Counting()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    client = Server(ServerConfig("127.0.0.1", port, insecure=True), timeout=10)

    async def listed() -> set[str]:
        return {session.id for session in (await client.list_sessions()).sessions}

    try:
        with trio.fail_after(60):
            every = set(ids)
            assert await listed() == every
            leaves.append(ids[0])
            assert await listed() >= every - {"hosts/Server/0"}
            assert await listed() == every - {"hosts/Server/0"}
    finally:
        await client.close()
        stopped: threading.Event = server.stop(None)
        stopped.wait(5)
