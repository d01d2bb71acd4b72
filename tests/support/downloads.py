"""Downloads from a server, and who gets their blocks."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio

from exportfs.config import ServerConfig
from exportfs.content.line import Line
from exportfs.errors import ExportfsError
from exportfs.rpc.download import Downloads
from exportfs.rpc.server import Server


class Sink:
    """Knows what has come, and lets a test wait for it."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.end = trio.Event()
        self.error: ExportfsError | None = None
        self._more = trio.Event()

    def block(self, index: int, data: memoryview, length: int | None = None) -> None:
        self.data += data
        self._more.set()

    def ended(self, error: ExportfsError | None) -> None:
        self.error = error
        self.end.set()

    async def has(self, length: int) -> None:
        """So many bytes."""
        with trio.fail_after(60):
            while len(self.data) < length:
                self._more = trio.Event()
                await self._more.wait()

    async def whole(self) -> bytes:
        """All that came, after the end. Raises what it ended with."""
        with trio.fail_after(60):
            await self.end.wait()
        if self.error is not None:
            raise self.error
        return bytes(self.data)


def plain(port: int) -> ServerConfig:
    """A server on this machine, without TLS."""
    return ServerConfig("127.0.0.1", port, insecure=True)


@asynccontextmanager
async def downloads_from(config: ServerConfig) -> AsyncIterator[Downloads]:
    client = Server(config, timeout=10)
    downloads = Downloads(client.connections, client.login, Line(), config)
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(downloads.run)
            await trio.testing.wait_all_tasks_blocked()
            yield downloads
            nursery.cancel_scope.cancel()
    finally:
        client.connections.close()
