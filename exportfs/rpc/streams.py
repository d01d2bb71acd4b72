"""The connections of downloads that have a thread of their own: made, kept for the next for a while, closed."""

import socket
import ssl
from collections.abc import Callable

import trio

from exportfs.config import ServerConfig
from exportfs.errors import Unreachable
from exportfs.rpc import quiet
from exportfs.rpc.framed import FramedConnection
from exportfs.rpc.http2_client import CONNECT_SECONDS, Unusable, connected
from exportfs.rpc.threads import Threads
from exportfs.rpc.tls import context

IDLE_SECONDS = 5.0
"""For which a connection is kept that no download uses: longer, and something on the way may have forgotten it."""


class Streams:
    """Their connections. In trio's thread but for what is said otherwise."""

    def __init__(
        self,
        config: ServerConfig,
        threads: Threads,
        near: Callable[[], bool],
        unusable: Callable[[Unusable], None],
    ) -> None:
        """near: whether the server is known to be on the local network. `unusable` is told where it speaks nothing that
        we understand."""
        self._config = config
        self.unusable = unusable
        self.threads = threads
        self.near = near
        self.nursery: trio.Nursery | None = None
        """Where connections are made; None as long as none can be."""
        self._idle: list[FramedConnection] = []
        self._context: ssl.SSLContext | None = None

    def encryption(self, roots: bytes | None) -> ssl.SSLContext | None:
        """None where the config is `insecure`. Raises Unusable."""
        if self._config.insecure:
            return None
        if self._context is None:
            try:
                self._context = context(roots)
            except ssl.SSLError as error:
                raise Unusable(f"TLS: {error}") from None
        return self._context

    def idle(self) -> FramedConnection | None:
        """One that is there and that the server has not ended."""
        self.reap(quiet.now())
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and connection.settled():
                return connection
            connection.close()
        return None

    async def connect(self) -> FramedConnection:
        """Raises Unreachable."""
        config = self._config
        with trio.move_on_after(CONNECT_SECONDS):
            return FramedConnection(_taken_from(await connected(config)), config)
        raise Unreachable("the server cannot be reached: no connection within 15 s")

    def give_back(self, connection: FramedConnection) -> None:
        """No download uses it any more."""
        if self.nursery is None:
            connection.close()
            return
        connection.idle_since = quiet.now()
        self._idle.append(connection)

    def reap(self, now: float) -> None:
        """Closes those that have not been used for a while, by `quiet.now`."""
        for connection in list(self._idle):
            if not connection.usable or now - connection.idle_since >= IDLE_SECONDS:
                self._idle.remove(connection)
                connection.close()

    def close(self) -> None:
        self.nursery = None
        for connection in self._idle:
            connection.close()
        self._idle.clear()


def _taken_from(stream: trio.SocketStream) -> socket.socket:
    return socket.socket(fileno=stream.socket.detach())
