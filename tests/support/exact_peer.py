"""A connection of exact downloads, to a server that says what a test has it say."""

import contextlib
from collections.abc import Callable

import trio

from exportfs.content.line import Line
from exportfs.rpc.arrivals import Arrivals
from exportfs.rpc.http2 import Http2Connection
from exportfs.rpc.http2_client import Unusable, encrypted
from tests.support.framed_peer import CONFIG, Peer


class PeerConnection(Http2Connection):
    """To a peer."""

    def __init__(
        self, peer: Peer, known: Callable[[], int | None] = lambda: None, roots: bytes | None = None
    ) -> None:
        """`roots`: the authorities in PEM; None: it is not encrypted."""
        super().__init__(CONFIG, Line(), roots, known=known)
        self.peer = peer

    async def _connect(self) -> trio.abc.Stream:
        tcp = trio.SocketStream(trio.socket.from_stdlib_socket(self.peer.ours))
        arrivals = Arrivals(tcp, self.line)
        return arrivals if self._roots is None else await encrypted(CONFIG, arrivals, self._roots)

    async def serve(self) -> None:
        with contextlib.suppress(Unusable):
            await self.run()
