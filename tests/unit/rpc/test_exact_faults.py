"""Exact downloads: servers that break rules, or use them as few do, each made to happen."""

import threading
from collections.abc import Iterator
from typing import NoReturn

import pytest
import trio
import trio.testing
from hyperframe.frame import GoAwayFrame, PingFrame, RstStreamFrame, SettingsFrame

from exportfs.errors import Corrupt, ExportfsError, Interrupted, Unreachable
from exportfs.model import Fetch
from exportfs.rpc.blocks import block_of
from exportfs.rpc.exact import ExactDownload
from exportfs.rpc.http2_client import CONNECT_SECONDS, NoExact
from exportfs.rpc.wire_format import message
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
    Say,
    Script,
    Step,
    data,
    headers,
    messages,
)

BLOCK, SIZE = 8 << 10, 64 << 10
OK = (":status", "200")


async def met(peer: Peer) -> None:
    """Until we have answered the peer's settings."""
    with trio.fail_after(60):
        while not peer.acknowledged:
            await trio.testing.wait_all_tasks_blocked(0.001)


async def outcome(connection: PeerConnection) -> tuple[bytes, ExportfsError | None]:
    sink = Sink()
    download = ExactDownload(connection, Fetch("s", "f", BLOCK, 0, 1, size=SIZE), sink)
    connection.start(download, "/x", b"request", ())
    download.window(1 << 20)
    with trio.fail_after(60):
        await sink.end.wait()
    return bytes(sink.data), sink.error


@pytest.mark.promise("R6")
@pytest.mark.parametrize(
    "what",
    [
        "beyond the window",
        "beyond it, cut",
        "compressed",
        "of no stream",
        "of no use to h2",
        "before the headers",
    ],
)
async def test_nothing_is_taken_after_what_is_not_understood(what: str) -> None:
    """It would be put where that belongs, and the block be of the right length with the wrong bytes."""
    raw = messages(BLOCK, BLOCK)

    def script(number: int) -> Iterator[Step]:
        if what == "before the headers":
            yield data(number, raw)
        yield headers(number, OK)
        if what == "compressed":
            yield Say(data(number, b"\1\0\0\0\1x").raw + data(number, raw).raw)
        elif what.startswith("of no"):
            window = b"\0\0\4\x08\0\0\0\0\0\0\0\0\0"  # opened by nothing
            yield Say(b"\0\0\4\0\0\0\0\0\0oops" if what == "of no stream" else window)
            yield data(number, raw)
        else:
            parts = raw[:4000], b"x" * 20000, b"y" * (len(raw) - 4000)
            yield Say(b"".join(data(number, part).raw for part in parts))
        yield STALL

    async with trio.open_nursery() as nursery:
        pieces = (1000,) if what == "beyond it, cut" else (1 << 20,)
        connection = PeerConnection(Peer(script, pieces))
        nursery.start_soon(connection.serve)
        taken, error = await outcome(connection)
    assert isinstance(error, NoExact)
    assert not taken


async def test_what_was_answered_unheard_counts_no_more() -> None:
    """The server refuses calls before it lets their requests come, and takes one at a time."""
    async with trio.open_nursery() as nursery:
        peer = Peer(
            lambda number: [headers(number, OK, ("grpc-status", "14"), end=True)], settings={3: 1, 4: 0}
        )
        connection = PeerConnection(peer)
        nursery.start_soon(connection.serve)
        await met(peer)
        for _ in range(3):
            _, error = await outcome(connection)
            assert isinstance(error, Unreachable)
        assert connection.usable
        connection.close()


async def test_a_server_that_reads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """What it asks for is not kept without end."""
    monkeypatch.setattr("exportfs.rpc.http2.UNSENT", 64 << 10)

    def script(number: int) -> Iterator[Step]:
        yield headers(number, OK)
        while True:
            yield Say(PingFrame(0, b"12345678").serialize() * 1000)

    async with trio.open_nursery() as nursery:
        connection = PeerConnection(Peer(script))
        nursery.start_soon(connection.serve)
        _, error = await outcome(connection)
    assert isinstance(error, Unreachable)
    assert "takes nothing" in str(error)


async def test_a_server_that_takes_no_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gets a connection of its own, which is closed before the next one is made."""
    made: list[PeerConnection] = []

    def make(*_: object) -> PeerConnection:
        script: Script = lambda number: [headers(number, OK, ("grpc-status", "14"), end=True)]  # noqa: E731
        made.append(PeerConnection(Peer(script, settings={3: 0})))
        return made[-1]

    monkeypatch.setattr("exportfs.rpc.download.Http2Connection", make)
    async with downloads_from(plain(1)) as downloads:
        for _ in range(5):
            sink = Sink()
            downloads.start(Fetch("s", "f", BLOCK, 0, 1, size=SIZE), sink)
            with trio.fail_after(60):
                await sink.end.wait()
                while not made[-1].full:
                    await trio.testing.wait_all_tasks_blocked(0.001)
        assert sum(connection.usable for connection in made) == 1


async def test_a_server_that_refuses_calls() -> None:
    """gRPC's do so for ever where cancelled calls have used up their limit: the next one is for another connection."""
    script: Script = lambda number: [Say(RstStreamFrame(number, error_code=7).serialize())]  # noqa: E731
    async with trio.open_nursery() as nursery:
        connection = PeerConnection(Peer(script))
        nursery.start_soon(connection.serve)
        _, error = await outcome(connection)
        assert isinstance(error, Unreachable)
        assert not connection.usable


@pytest.mark.parametrize("known", [None, 1, 2])
async def test_what_comes_before_the_server_says_how_much_it_takes(known: int | None) -> None:
    """It refuses what is beyond that. What it took on other connections it takes here as well; otherwise one call is
    sent, and the others wait for a moment."""
    at_once = known or 2
    async with trio.open_nursery() as nursery:
        peer = Peer(
            lambda number: [
                headers(number, OK),
                data(number, messages(BLOCK, BLOCK)),
                headers(number, ("grpc-status", "0"), end=True),
            ],
            settings={3: at_once},
            late=True,
        )
        connection = PeerConnection(peer, lambda: known)
        sinks = [Sink() for _ in range(4)]
        for sink in sinks:
            assert connection.full is (known is not None and sinks.index(sink) >= known)
            download = ExactDownload(connection, Fetch("s", "f", BLOCK, 0, 1, size=SIZE), sink)
            connection.start(download, "/x", b"request", ())
        nursery.start_soon(connection.serve)
        with trio.fail_after(60):
            for sink in sinks:
                await sink.end.wait()
        assert peer.early == (known or 1)
        # Those are for another connection, and not one that was not sent is lost in this one.
        elsewhere = [sink.error for sink in sinks[at_once:]]
        assert [sink.error for sink in sinks[:at_once]] == [None] * at_once
        assert all(isinstance(error, Unreachable) for error in elsewhere)
        assert connection.usable
        connection.close()


async def test_what_waits_for_settings_goes_elsewhere_once_nothing_moves() -> None:
    """Nothing more is sent on a connection that is suspected: it would wait for its own time to run out."""

    class Mute(Peer):
        """Reads, and says nothing, not even its settings."""

        def _run(self) -> None:
            with self._socket:
                while self._socket.recv(1 << 16):
                    pass

    async with trio.open_nursery() as nursery:
        connection = PeerConnection(Mute(lambda number: []))
        sinks = [Sink() for _ in range(3)]
        calls = [ExactDownload(connection, Fetch("s", "f", BLOCK, 0, 1, size=SIZE), sink) for sink in sinks]
        for call in calls:
            connection.start(call, "/x", b"request", ())
        nursery.start_soon(connection.serve)
        with trio.fail_after(60):
            while not connection.ready:
                await trio.testing.wait_all_tasks_blocked()
        # One of those that wait, which then ends like any that has stalled.
        calls[2].suspect()
        calls[2].cancel()
        await trio.testing.wait_all_tasks_blocked()
        assert [type(sink.error) for sink in sinks] == [type(None), Unreachable, type(None)]
        assert not sinks[0].end.is_set()
        calls[0].cancel()  # with the last one the connection goes


@pytest.mark.parametrize("padding", [None, 200])
async def test_the_window_of_the_connection_is_opened_again(
    monkeypatch: pytest.MonkeyPatch, padding: int | None
) -> None:
    """With the real one, of 2 GiB, everything would stand still after so much. Padding counts."""
    most = 80 << 10
    for module in ("http2", "http2_client"):
        monkeypatch.setattr(f"exportfs.rpc.{module}.CONNECTION_WINDOW", most)

    def script(number: int) -> Iterator[Step]:
        yield headers(number, OK)
        raw = messages(SIZE, BLOCK)
        for at in range(0, len(raw), frame):
            yield Data(raw[at : at + frame], padding)
        yield headers(number, ("grpc-status", "0"), end=True)

    frame = SIZE if padding is None else 1000
    async with trio.open_nursery() as nursery:
        peer = Peer(script)
        connection = PeerConnection(peer)
        nursery.start_soon(connection.serve)
        for _ in range(4 if padding is None else 12):
            sink = Sink()
            download = ExactDownload(
                connection, Fetch("s", "f", BLOCK, 0, SIZE // BLOCK + 1, size=SIZE), sink
            )
            connection.start(download, "/x", b"request", ())
            download.window(1 << 20)
            assert await sink.whole() == content("f", 0, SIZE)
            assert peer.window <= most
        connection.close()


@pytest.mark.promise("R6")
@pytest.mark.parametrize("end", [None, 2 * BLOCK + 100])
async def test_what_is_no_block_ends_its_download_and_no_other(end: int | None) -> None:
    """The whole of it, or the beginning of one of which no more is wanted."""
    block = 2 * BLOCK  # of which the first window has no room for two
    garbage = b"\x08" + b"\xff" * block  # a number that has no end

    def script(number: int) -> Iterator[Step]:
        yield headers(number, OK)
        if number == 1:
            yield Data(messages(block, block) + b"\0" + len(garbage).to_bytes(4, "big") + garbage)
            yield AWAIT_LEAVE
        else:
            yield Data(messages(SIZE, block))
            yield headers(number, ("grpc-status", "0"), end=True)

    async with trio.open_nursery() as nursery:
        connection = PeerConnection(Peer(script))
        nursery.start_soon(connection.serve)
        bad, good = Sink(), Sink()
        fetches = (
            Fetch("s", "f", block, 0, 2, size=SIZE, stop=True, end=end),
            Fetch("s", "f", block, 0, 9, size=SIZE),
        )
        for fetch, sink in zip(fetches, (bad, good), strict=True):
            download = ExactDownload(connection, fetch, sink)
            connection.start(download, "/x", b"request", ())
            download.window(1 << 20)
        with pytest.raises(Corrupt):
            await bad.whole()
        assert bad.data == content("f", 0, block)
        assert await good.whole() == content("f", 0, SIZE)
        assert connection.usable
        connection.close()


def test_a_block_keeps_no_more_than_itself() -> None:
    _, block = block_of(message((1, 7), (2, b"x" * BLOCK), (9, b"y" * (1 << 20))))
    assert block == b"x" * BLOCK
    assert block.obj == block


@pytest.mark.promise("E3")
async def test_no_connection_in_time(autojump_clock: trio.testing.MockClock) -> None:
    """A download that waits for one hears of it, and the next gets another."""

    class Never(PeerConnection):
        async def _connect(self) -> NoReturn:
            await trio.sleep_forever()

    peer = Peer(lambda number: [])
    async with trio.open_nursery() as nursery:
        connection = Never(peer)
        nursery.start_soon(connection.serve)
        _, error = await outcome(connection)
    assert isinstance(error, Unreachable)
    assert "within 15 s" in str(error)
    assert trio.current_time() == CONNECT_SECONDS
    assert not connection.usable
    peer.ours.close()


@pytest.mark.promise("E3")
@pytest.mark.parametrize("how", [OSError(113, "No route to host"), trio.BrokenResourceError("gone")])
async def test_a_connection_that_breaks(how: Exception) -> None:
    """In whatever way the kernel says so: the server cannot be reached."""

    class Breaking(PeerConnection):
        async def _read(self, *_: object) -> NoReturn:
            await trio.testing.wait_all_tasks_blocked()
            raise how

    async with trio.open_nursery() as nursery:
        connection = Breaking(Peer(lambda number: [STALL]))
        nursery.start_soon(connection.serve)
        _, error = await outcome(connection)
    assert isinstance(error, Unreachable)
    assert "the connection broke" in str(error)
    assert not connection.usable


@pytest.mark.promise("R6", "E3")
async def test_a_server_that_hangs_up() -> None:
    """In the middle of an answer, between two blocks: that does not end the file."""
    one = messages(BLOCK, BLOCK)
    async with trio.open_nursery() as nursery:
        connection = PeerConnection(HalfClosed(lambda number: [headers(number, OK), Data(one), CLOSE]))
        nursery.start_soon(connection.serve)
        taken, error = await outcome(connection)
    assert taken == content("f", 0, BLOCK)
    assert isinstance(error, Unreachable)
    assert not connection.usable


@pytest.mark.promise("R6")
async def test_what_ends_with_data_is_no_success() -> None:
    """Whatever its headers say of that: gRPC's answers end with trailers, and more may have been to come."""
    async with trio.open_nursery() as nursery:
        peer = Peer(
            lambda number: [
                headers(number, OK, ("grpc-status", "0")),
                data(number, messages(BLOCK, BLOCK), end=True),
            ]
        )
        connection = PeerConnection(peer)
        nursery.start_soon(connection.serve)
        _, error = await outcome(connection)
        assert isinstance(error, Interrupted)
        connection.close()


@pytest.mark.promise("R6")
async def test_a_goodbye_to_one_of_two_calls() -> None:
    """What the server has begun goes on to its end, and what it says it will not begin is for another connection."""
    size = BLOCK + 1000
    raw = messages(size, BLOCK)

    def script(number: int) -> Iterator[Step]:
        yield headers(number, OK)
        yield data(number, raw[:5000])
        while not peer._calls:
            peer._hear()
        yield Say(GoAwayFrame(0, last_stream_id=number).serialize())
        yield data(number, raw[5000:])
        yield headers(number, ("grpc-status", "0"), end=True)
        yield STALL

    peer = Peer(script)
    sinks = Sink(), Sink()
    async with trio.open_nursery() as nursery:
        connection = PeerConnection(peer)
        nursery.start_soon(connection.serve)
        await met(peer)
        for sink in sinks:
            download = ExactDownload(connection, Fetch("s", "f", BLOCK, 0, 3, size=size), sink)
            connection.start(download, "/x", b"request", ())
        with pytest.raises(Unreachable, match="ends the connection"):
            await sinks[1].whole()
        assert not connection.usable
        assert await sinks[0].whole() == content("f", 0, size)
    assert not sinks[1].data


@pytest.mark.promise("R6")
async def test_a_success_within_a_block() -> None:
    def script(number: int) -> list[Step]:
        success = headers(number, ("grpc-status", "0"), end=True)
        return [headers(number, OK), data(number, messages(BLOCK, BLOCK)[:-1]), success]

    async with trio.open_nursery() as nursery:
        connection = PeerConnection(Peer(script))
        nursery.start_soon(connection.serve)
        taken, error = await outcome(connection)
        assert isinstance(error, Corrupt)
        assert not taken
        connection.close()


async def test_a_goodbye_when_nothing_is_under_way() -> None:
    """The connection is closed: nobody else would do it before the next download."""

    def script(number: int) -> Iterator[Step]:
        yield headers(number, OK)
        yield data(number, messages(BLOCK, BLOCK))
        yield headers(number, ("grpc-status", "0"), end=True)
        ended.wait(60)
        yield Say(GoAwayFrame(0, last_stream_id=number).serialize())
        yield STALL

    ended = threading.Event()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            connection = PeerConnection(Peer(script))
            nursery.start_soon(connection.serve)
            taken, error = await outcome(connection)
            assert error is None
            assert taken == content("f", 0, BLOCK)
            ended.set()
    assert not connection.usable


async def test_a_request_that_the_settings_let_go() -> None:
    """Not a window that is opened but that all of them are longer, from then on: it would be waited for for ever."""

    def script(number: int) -> Iterator[Step]:
        yield Say(SettingsFrame(0, {SettingsFrame.INITIAL_WINDOW_SIZE: 1000}).serialize())
        while len(peer.requests.get(number, b"")) < 5 + len(b"request"):
            peer._hear()
        yield headers(number, OK)
        yield data(number, messages(BLOCK, BLOCK))
        yield headers(number, ("grpc-status", "0"), end=True)

    peer = Peer(script, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 3})
    async with trio.open_nursery() as nursery:
        connection = PeerConnection(peer)
        nursery.start_soon(connection.serve)
        await met(peer)
        taken, error = await outcome(connection)
        assert error is None
        assert taken == content("f", 0, BLOCK)
        connection.close()
    assert peer.requests == {1: b"\0\0\0\0\x07request"}


async def test_what_was_left_while_it_waited_is_not_sent() -> None:
    """It would bring a block that nobody wants."""
    let = threading.Event()

    def script(number: int) -> Iterator[Step]:
        yield headers(number, OK)
        let.wait(60)
        yield data(number, messages(BLOCK, BLOCK))
        yield headers(number, ("grpc-status", "0"), end=True)

    peer = Peer(script, settings={SettingsFrame.MAX_CONCURRENT_STREAMS: 1})
    async with trio.open_nursery() as nursery:
        connection = PeerConnection(peer, lambda: 2)
        nursery.start_soon(connection.serve)
        await met(peer)
        sinks = [Sink() for _ in range(3)]
        for sink in sinks:
            download = ExactDownload(connection, Fetch("s", "f", BLOCK, 0, 1, size=BLOCK), sink)
            connection.start(download, "/x", b"request", ())
            if sink is sinks[1]:
                download.cancel()
        let.set()
        assert await sinks[0].whole() == await sinks[2].whole() == content("f", 0, BLOCK)
        assert not connection.busy
        connection.close()
    assert sorted(peer.requests) == [1, 3]
    assert not sinks[1].end.is_set()
