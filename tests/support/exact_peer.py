"""A connection of exact downloads, to a server that says what a test has it say."""

import contextlib
from collections.abc import Callable

import trio

from exportfs.content.line import Line
from exportfs.rpc.http2 import Http2Connection
from exportfs.rpc.http2_client import Unusable
from tests.support.framed_peer import CONFIG, Peer


class PeerConnection(Http2Connection):
    """To a peer."""

    def __init__(self, peer: Peer, known: Callable[[], int | None] = lambda: None) -> None:
        super().__init__(CONFIG, Line(), None, known=known)
        self.peer = peer

    async def _connect(self) -> trio.SocketStream:
        return trio.SocketStream(trio.socket.from_stdlib_socket(self.peer.ours))

    async def serve(self) -> None:
        with contextlib.suppress(Unusable):
            await self.run()
