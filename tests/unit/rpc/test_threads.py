"""When the machine has no more threads: calls fail soon, and work again soon after there are some."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import trio

from exportfs.config import ServerConfig
from exportfs.content.line import Line
from exportfs.errors import ExportfsError, Interrupted, NotSent
from exportfs.model import Fetch
from exportfs.rpc.channel import CLOSE_TIMEOUT, Lane
from exportfs.rpc.download import Downloads
from exportfs.rpc.server import Server
from exportfs.rpc.threads import Threads
from exportfs.simulator import SimulatorServer


class Limit:
    """The limit of processes: while it is reached no thread can be started."""

    reached = False


@pytest.fixture
def limit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Limit]:
    limit = Limit()
    usual = threading.Thread.start

    def start(self: threading.Thread) -> None:
        # The simulator's own threads, which alone come from such a pool, are those of another machine.
        target = getattr(self, "_target", None)
        if limit.reached and "concurrent.futures" not in getattr(target, "__module__", ""):
            raise RuntimeError("can't start new thread")
        usual(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    yield limit
    limit.reached = False


def connected(server: SimulatorServer, timeout: float = 3.0) -> Server:
    host, port = server.address.rsplit(":", 1)
    return Server(ServerConfig(host, int(port), insecure=True), timeout=timeout)


async def test_calls_work_again(server: SimulatorServer, limit: Limit) -> None:
    """gRPC starts a thread for the first call of a channel, and believes for ever after that it did."""
    session = server.simulator.add_computed(1000)
    client = connected(server)
    limit.reached = True
    for expected in (Interrupted, NotSent):  # the call that poisons the channel, and the next one
        with pytest.raises(expected, match="no more threads"), trio.fail_after(60):
            await client._bridge.call("/x", b"", (), 1.0)
    with pytest.raises(ExportfsError, match="no more threads"), trio.fail_after(60):
        await client.list_sessions()
    limit.reached = False
    # At once: each call has three seconds.
    assert [found.id for found in (await client.list_sessions()).sessions] == [session]
    assert (await client.get_session_state(session)).files
    begun = time.monotonic()
    await client.close()
    assert time.monotonic() - begun < CLOSE_TIMEOUT + 10


async def test_connecting_leaves_no_thread(server: SimulatorServer) -> None:
    """Closing would wait for it: gRPC's own, which looks at the connection, ends up to 0.2 s after the last look."""
    client = connected(server)
    before = threading.enumerate()
    await client.connect(20)
    assert set(threading.enumerate()) <= set(before)
    await client.close()


async def test_a_server_that_hangs_up_is_connected_to_once() -> None:
    """By who waits for a connection and has nothing to ask: it is not made again and again."""
    settings = bytes.fromhex("000000 04 00 00000000")  # all that HTTP/2 wants of a server to begin with
    connections = 0
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            nonlocal connections
            with contextlib.suppress(OSError):  # the listener is closed
                while True:
                    with listener.accept()[0] as connection:
                        connections += 1
                        connection.sendall(settings)
                        connection.recv(4096)

        thread = threading.Thread(target=serve)
        thread.start()
        client = Server(ServerConfig("127.0.0.1", listener.getsockname()[1], insecure=True), timeout=3)
        await client.connect(20)
        await client.close()
        listener.shutdown(socket.SHUT_RDWR)
    thread.join()
    assert connections == 1


async def test_closing_is_bounded(server: SimulatorServer, limit: Limit) -> None:
    client = connected(server)
    await client.list_sessions()
    limit.reached = True
    client.connections.suspect(client.connections.acquire(Lane.CALLS))
    with trio.fail_after(60):
        await client.close()


async def test_closing_a_channel_that_never_ends(
    server: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = connected(server)
    await client.list_sessions()
    never = threading.Event()
    connection = client.connections.acquire(Lane.CALLS)
    usual = connection.channel.close
    monkeypatch.setattr(connection.channel, "close", never.wait)
    try:
        begun = time.monotonic()
        client.connections.close()
        assert CLOSE_TIMEOUT - 0.1 <= time.monotonic() - begun < CLOSE_TIMEOUT + 10
    finally:
        never.set()
        usual()


class Sink:
    def __init__(self) -> None:
        self.data = b""
        self.lengths: list[int | None] = []
        self.end = trio.Event()
        self.error: ExportfsError | None = None

    def block(self, index: int, data: memoryview, length: int | None = None) -> None:
        self.data += data
        self.lengths.append(length)

    def ended(self, error: ExportfsError | None) -> None:
        self.error = error
        self.end.set()


@pytest.mark.parametrize("seek", [False, True])
async def test_downloads_work_again(server: SimulatorServer, limit: Limit, seek: bool) -> None:
    session = server.simulator.add_computed(1000)
    client = connected(server)
    [file] = (await client.get_session_state(session)).files
    file_id = file.path
    downloads = Downloads(client.connections, client.login, Line())
    fetch = Fetch(session, file_id, chunk_size=65536, first=0, until=1, wide=not seek, stop=True)
    limit.reached = True
    for _ in range(200):  # more than there may be threads
        failed = Sink()
        downloads.start(fetch, failed)
        with trio.fail_after(60):
            await failed.end.wait()
        assert failed.error is not None
        assert not failed.data
    limit.reached = False
    sink = Sink()
    downloads.start(fetch, sink)
    with trio.fail_after(60):
        await sink.end.wait()
    assert sink.error is None
    assert len(sink.data) == 1000
    await client.close()


def test_threads_are_used_again() -> None:
    threads = Threads("test", 4)
    seen: list[int | None] = []
    for _ in range(20):
        done = threading.Event()

        def work(done: threading.Event = done) -> None:
            seen.append(threading.current_thread().ident)
            done.set()

        threads.start(work)
        assert done.wait(10)
        while not threads._idle:
            time.sleep(0.001)
    assert len(set(seen)) == 1
    threads.close()


def test_each_work_has_a_thread_of_its_own() -> None:
    threads = Threads("test", 8)
    together = threading.Barrier(9, timeout=10)
    for _ in range(8):
        threads.start(together.wait)
    with pytest.raises(RuntimeError, match="all 8 threads"):
        threads.start(together.wait)
    together.wait()
    threads.close()
    with pytest.raises(RuntimeError, match="ending"):
        threads.start(together.wait)


def test_no_thread_and_nothing_has_changed(limit: Limit) -> None:
    threads = Threads("test", 2)
    limit.reached = True
    ran: list[int] = []
    for _ in range(10):
        with pytest.raises(RuntimeError, match="can't start"):
            threads.start(lambda: ran.append(1))
    limit.reached = False
    done = threading.Event()
    threads.start(done.set)
    assert done.wait(10)
    assert not ran
    threads.close()


def test_idle_threads_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exportfs.rpc.threads.IDLE_TIMEOUT", 0.01)
    threads = Threads("test-idle", 4)
    threads.start(lambda: None)
    for thread in threading.enumerate():
        if thread.name == "test-idle":
            thread.join(10)
            assert not thread.is_alive()
    done = threading.Event()
    threads.start(done.set)
    assert done.wait(10)
    threads.close()
