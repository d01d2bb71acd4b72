"""A TCP proxy in front of the server, for what goes wrong in networks."""

import asyncio
import socket
import struct
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

_PIECE = 256 * 1024
_IN_FLIGHT = 3 << 20
"""Bytes under way in one direction of a connection: what a line holds before it slows its sender."""

_T = TypeVar("_T")


class _Line:
    """One connection through the proxy. Lives in the proxy's event loop."""

    def __init__(self, proxy: "Proxy", reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = (reader, writer)
        self._writers = [writer]
        self.dead = False

    async def run(self) -> None:
        """Carries bytes both ways until either side closes."""
        try:
            await self._proxy.pass_barrier(self)
            target = self._proxy.target_host, self._proxy.target_port
            server = await asyncio.open_connection(*target, limit=_PIECE)
            self._writers.append(server[1])
            # A proxy accepts at once; over a real line the handshake takes a round trip before the first byte leaves.
            open_at = asyncio.get_running_loop().time() + self._proxy.latency
            async with asyncio.TaskGroup() as tasks:
                for one, other in ((self._client, server), (server, self._client)):
                    pieces = _Pieces()
                    tasks.create_task(self._take(one[0], pieces, open_at))
                    tasks.create_task(self._give(other[1], pieces))
        except* (OSError, asyncio.IncompleteReadError):
            pass  # either side broke off: so does the line
        finally:
            self.close()

    async def _take(self, reader: asyncio.StreamReader, pieces: "_Pieces", open_at: float) -> None:
        loop = asyncio.get_running_loop()
        while data := await reader.read(_PIECE):
            await pieces.put(max(loop.time(), open_at) + self._proxy.latency / 2, data)
        await pieces.put(loop.time() + self._proxy.latency / 2, b"")

    async def _give(self, writer: asyncio.StreamWriter, pieces: "_Pieces") -> None:
        loop = asyncio.get_running_loop()
        free = 0.0
        while True:
            due, data = await pieces.get()
            await asyncio.sleep(max(due, free) - loop.time())
            await self._proxy.pass_barrier(self)
            if not data:
                writer.write_eof()
                return
            writer.write(data)
            await writer.drain()
            pieces.delivered(data)
            self._proxy.carried += len(data)
            if self._proxy.bandwidth is not None:
                free = max(loop.time(), free) + len(data) / self._proxy.bandwidth

    def close(self, *, reset: bool = False) -> None:
        for writer in self._writers:
            raw = writer.get_extra_info("socket")
            if reset and raw is not None and raw.fileno() >= 0:
                # Closing without lingering sends RST instead of FIN.
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()
            else:
                writer.close()


class _Pieces:
    """What is under way in one direction: pieces, and when they are due."""

    def __init__(self) -> None:
        self._pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        self._held = 0
        self._room = asyncio.Event()
        self._room.set()

    async def put(self, due: float, data: bytes) -> None:
        """Returns when the line takes more."""
        self._held += len(data)
        self._pieces.put_nowait((due, data))
        if self._held >= _IN_FLIGHT:
            self._room.clear()
        await self._room.wait()

    async def get(self) -> tuple[float, bytes]:
        return await self._pieces.get()

    def delivered(self, data: bytes) -> None:
        self._held -= len(data)
        if self._held < _IN_FLIGHT:
            self._room.set()


class Proxy:
    """Forwards a port of its own to `target_port`, in a thread of its own. A context manager.

    Settings hold for all connections, also those that are open. Every method may be called from any thread.
    """

    def __init__(
        self, target_port: int, target_host: str = "127.0.0.1", host: str = "127.0.0.1", port: int = 0
    ) -> None:
        """`port` 0: any free one, known after `start`, and the same whenever it accepts again."""
        self.target_host, self.target_port = target_host, target_port
        self.host = host
        self.port = port
        self.latency = 0.0
        """Seconds that a round trip takes longer; a new connection takes one more."""
        self.bandwidth: float | None = None
        """Bytes a second of each connection in each direction; None: unlimited."""
        self.carried = 0
        """Bytes so far, both ways."""
        self.accepted = 0
        """Connections so far."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._lines: dict[_Line, asyncio.Task[None]] = {}
        self._open = asyncio.Event()
        self._never = asyncio.Event()
        self._listener: asyncio.Server | None = None

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    def start(self) -> None:
        """Returns when it listens. Raises OSError where it cannot."""
        self._thread.start()
        self._open.set()
        self.accept()

    def stop(self) -> None:
        """Closes all connections and ends the thread."""
        if not self._thread.is_alive():
            return
        self._run(self._shut_down())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # Faults.

    def blackhole(self) -> None:
        """Nothing passes, and nobody is told: connections stay open, new ones are taken and stay silent."""
        self._call(self._open.clear)

    def heal(self) -> None:
        """What was held back passes, as after a network's outage that TCP outlives."""
        self._call(self._open.set)

    def strand(self) -> None:
        """Open connections are dead for good without being told; new ones work: a forgotten NAT entry."""

        def mark() -> None:
            for line in self._lines:
                line.dead = True

        self._call(mark)

    def reset(self) -> int:
        """Resets (RST) all open connections on both sides. Gives how many there were."""
        return self._call(lambda: self._close_lines(reset=True))

    def disconnect(self) -> int:
        """Closes (FIN) all open connections. Gives how many there were."""
        return self._call(lambda: self._close_lines(reset=False))

    def refuse(self) -> None:
        """New connections are refused; open ones go on."""
        self._run(self._stop_listening())

    def accept(self) -> None:
        """Listens, again on the same port, after `refuse`."""
        self._run(self._listen())

    @property
    def connections(self) -> int:
        """Open ones."""
        return self._call(lambda: len(self._lines))

    # In the event loop.

    async def pass_barrier(self, line: _Line) -> None:
        await self._open.wait()
        if line.dead:
            await self._never.wait()

    async def _listen(self) -> None:
        if self._listener is None:
            self._listener = await asyncio.start_server(self._connected, self.host, self.port, limit=_PIECE)
            self.port = self._listener.sockets[0].getsockname()[1]

    async def _stop_listening(self) -> None:
        if self._listener is not None:
            # Not wait_closed: that would wait for the open connections as well.
            self._listener.close()
            self._listener = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        line = _Line(self, reader, writer)
        task = asyncio.ensure_future(line.run())
        self._lines[line] = task
        try:
            await asyncio.wait([task])
        finally:
            self._lines.pop(line, None)

    def _close_lines(self, *, reset: bool) -> int:
        lines = dict(self._lines)
        for line, task in lines.items():
            line.close(reset=reset)
            task.cancel()
        return len(lines)

    async def _shut_down(self) -> None:
        await self._stop_listening()
        self._close_lines(reset=False)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        if others:
            await asyncio.wait(others, timeout=5)
        # Closed transports take a turn of the loop to let go of their sockets.
        await asyncio.sleep(0)

    # From other threads.

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _call(self, work: Callable[[], _T]) -> _T:
        async def run() -> _T:
            return work()

        return self._run(run())

    def __enter__(self) -> "Proxy":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
