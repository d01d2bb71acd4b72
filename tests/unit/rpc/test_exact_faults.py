"""Exact downloads: servers that break rules, or use them as few do, each made to happen."""

from collections.abc import Iterator

import pytest
import trio
import trio.testing

from exportfs.errors import ExportfsError
from exportfs.model import Fetch
from exportfs.rpc.exact import ExactDownload
from exportfs.rpc.http2_client import NoExact
from tests.support.downloads import Sink
from tests.support.exact_peer import PeerConnection
from tests.support.framed_peer import STALL, Peer, Say, Step, data, headers, messages

BLOCK, SIZE = 8 << 10, 64 << 10
OK = (":status", "200")


async def outcome(connection: PeerConnection) -> tuple[bytes, ExportfsError | None]:
    sink = Sink()
    download = ExactDownload(connection, Fetch("s", "f", BLOCK, 0, 1, size=SIZE), sink)
    connection.start(download, "/x", b"request", ())
    download.window(1 << 20)
    with trio.fail_after(60):
        await sink.end.wait()
    return bytes(sink.data), sink.error


@pytest.mark.promise("R6")
@pytest.mark.parametrize("what", ["beyond the window", "beyond it, cut", "compressed"])
async def test_nothing_is_taken_after_what_is_not_understood(what: str) -> None:
    """It would be put where that belongs, and the block be of the right length with the wrong bytes."""
    raw = messages(BLOCK, BLOCK)

    def script(number: int) -> Iterator[Step]:
        yield headers(number, OK)
        if what == "compressed":
            yield Say(data(number, b"\1\0\0\0\1x").raw + data(number, raw).raw)
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
