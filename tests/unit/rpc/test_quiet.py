"""Connections that what is between may have forgotten, and such as nothing comes through any more."""

import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio

from exportfs.config import MIB, ServerConfig
from exportfs.content.line import Line
from exportfs.errors import Unreachable
from exportfs.model import Fetch
from exportfs.rpc import download, http2_client, quiet
from exportfs.rpc.channel import Connections, Lane
from exportfs.rpc.download import Downloads
from exportfs.rpc.http2 import Http2Connection
from exportfs.rpc.server import Server
from exportfs.simulator import Config, LoginConfig, Proxy, Simulator, SimulatorServer
from tests.unit.rpc.test_threads import Sink

KIB = 1 << 10
SETTINGS = bytes.fromhex("000000040000000000")
"""An empty frame of them, with which a server greets."""
SETTINGS_TAKEN = bytes.fromhex("000000040100000000")
"""What is said to that."""


class Clock:
    """Of connections' silence alone."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.slept = 0.0
        self.silence = 0.0

    def passes(self, seconds: float) -> None:
        """The machine is awake, and nobody answers the kernel's probes."""
        self.time += seconds
        self.silence += seconds

    def sleeps(self, seconds: float) -> None:
        """Nothing is asked meanwhile."""
        self.time += seconds
        self.slept += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(quiet, "now", lambda: clock.time)
    monkeypatch.setattr(quiet, "awake", lambda: clock.time - clock.slept)
    told = http2_client.acknowledged
    monkeypatch.setattr("exportfs.rpc.http2.acknowledged", lambda tcp: told(tcp) + clock.silence)
    return clock


@contextmanager
def behind_a_nat() -> Iterator[tuple[Simulator, Proxy, Server, ServerConfig]]:
    simulator = Simulator(Config(login=LoginConfig(required=False)))
    with SimulatorServer(simulator) as server, Proxy(int(server.address.rpartition(":")[2])) as proxy:
        config = ServerConfig("127.0.0.1", proxy.port, insecure=True)
        client = Server(config, timeout=60)
        yield simulator, proxy, client, config
        client.connections.close()
    simulator.close()


@pytest.mark.promise("E6")
@pytest.mark.parametrize("way", ["exact", "wide"])
@pytest.mark.parametrize("pause", [Clock.passes, Clock.sleeps])
async def test_a_read_after_a_pause_does_not_go_into_the_void(
    clock: Clock, way: str, pause: Callable[[Clock, float], None]
) -> None:
    """A NAT has forgotten the connection, and says nothing: a third of the timeout would be waited for it."""
    with behind_a_nat() as (simulator, proxy, client, config):
        session = simulator.add_computed(MIB)
        fetch = Fetch(
            session,
            simulator.files(session)[0].path,
            16 * KIB,
            0,
            2,
            size=MIB,
            stop=True,
            wide=way == "wide",
        )
        downloads = Downloads(client.connections, client.login, Line(), config)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(downloads.run)
            await trio.testing.wait_all_tasks_blocked()
            for forgets in (True, False):
                sink = Sink()
                downloads.start(fetch, sink).window(256 * KIB)
                with trio.fail_after(10):
                    await sink.end.wait()
                assert sink.error is None
                assert len(sink.data) == 32 * KIB
                if forgets:
                    proxy.strand()
                    pause(clock, quiet.LONGEST + 1)
            nursery.cancel_scope.cancel()


async def test_a_connection_that_tcp_keeps_alive_is_used_again(clock: Clock) -> None:
    """Who pauses a film does not wait for a new one."""
    with behind_a_nat() as (simulator, proxy, client, config):
        session = simulator.add_computed(MIB)
        fetch = Fetch(session, simulator.files(session)[0].path, 16 * KIB, 0, 2, size=MIB, stop=True)
        downloads = Downloads(client.connections, client.login, Line(), config)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(downloads.run)
            await trio.testing.wait_all_tasks_blocked()
            for _ in range(3):
                sink = Sink()
                downloads.start(fetch, sink).window(256 * KIB)
                with trio.fail_after(10):
                    await sink.end.wait()
                assert len(sink.data) == 32 * KIB
                clock.time += quiet.LONGEST + 1
            assert proxy.accepted == 1
            nursery.cancel_scope.cancel()


@pytest.mark.promise("E6")
async def test_a_call_after_a_night_does_not_go_into_the_void(clock: Clock) -> None:
    with behind_a_nat() as (simulator, proxy, client, _):
        session = simulator.add_computed(MIB)
        for forgets in (True, False):
            with trio.fail_after(10):
                assert [one.id for one in (await client.list_sessions()).sessions] == [session]
                await client.get_session_state(session)
            if forgets:
                proxy.strand()
                clock.passes(quiet.LONGEST + 1)


async def test_what_is_used_stays(clock: Clock) -> None:
    """A connection is made anew neither after a short pause, nor while it is in use, however long."""
    connections = Connections(ServerConfig("127.0.0.1", 1, insecure=True))
    first = connections.acquire(Lane.CALLS)
    clock.passes(10 * quiet.LONGEST)
    assert connections.acquire(Lane.CALLS) is first
    connections.release(first)
    connections.release(first)
    clock.passes(quiet.LONGEST - 1)
    assert connections.acquire(Lane.CALLS) is first
    connections.release(first)
    clock.passes(quiet.LONGEST + 1)
    second = connections.acquire(Lane.CALLS)
    assert second is not first
    assert first.given_up
    connections.release(second)
    connections.close()


def tcp_options(port: int, *options: int) -> list[int]:
    """What is set on this process's connections to a port."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as one:
                if one.family != socket.AF_UNIX and one.getpeername()[1] == port:
                    found += [one.getsockopt(socket.IPPROTO_TCP, option) for option in options]
        except OSError:
            continue
    return found


def unheard(port: int) -> list[int]:
    """Milliseconds that they may stay without an acknowledgement; 0: as TCP has it."""
    return tcp_options(port, socket.TCP_USER_TIMEOUT)


@pytest.mark.parametrize(
    ("lane", "expected"), [(Lane.CALLS, 0), (Lane.STREAMS, quiet.UNHEARD), (Lane.SEEKS, quiet.UNHEARD)]
)
def test_how_long_what_was_sent_may_stay_unheard(lane: Lane, expected: float) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        connections = Connections(ServerConfig("127.0.0.1", port, insecure=True))
        connections.acquire(lane).state(connect=True)
        server, _ = listener.accept()
        with server, server.makefile("rb") as file:
            server.sendall(SETTINGS)
            assert file.read(3) == b"PRI"  # so all is set by now
            assert unheard(port) == [expected * 1000]
        connections.close()


@asynccontextmanager
async def mute_server() -> AsyncIterator[tuple[trio.SocketStream, int]]:
    """The server's end of a connection for exact downloads, and its port. It has said nothing yet."""
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    config = ServerConfig("127.0.0.1", port, insecure=True)
    client = Server(config, timeout=5)
    downloads = Downloads(client.connections, client.login, Line(), config)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(downloads.run)
        async with listener, await listener.accept() as server:
            yield server, port
        nursery.cancel_scope.cancel()
    client.connections.close()


async def test_how_long_an_exact_download_may_stay_unheard() -> None:
    async with mute_server() as (server, port):
        assert await server.receive_some(3) == b"PRI"
        assert unheard(port) == [quiet.UNHEARD * 1000]


async def test_a_connection_for_exact_downloads_is_kept_alive() -> None:
    """Who does not answer is known of before the connection counts as forgotten."""
    async with mute_server() as (server, port):
        assert await server.receive_some(3) == b"PRI"
        assert tcp_options(port, socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL) == [40, 5]
        assert tcp_options(port, socket.TCP_USER_TIMEOUT) == [5000]


async def test_nothing_is_kept_alive_all_night(clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "IDLE_SECONDS", 0.01)
    async with mute_server() as (server, _):
        await server.send_all(SETTINGS)
        with trio.fail_after(10):
            said = b""
            while SETTINGS_TAKEN not in said:
                said += await server.receive_some()
            clock.time += quiet.KEPT + 1
            assert await server.receive_some() == b""


@pytest.mark.promise("E2")
async def test_others_that_wait_for_a_connection_hear_that_there_is_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The server takes the connection and says nothing more. Whoever loses patience first ends the attempt for all."""

    async def never(self: Http2Connection) -> trio.abc.Stream:
        await trio.sleep_forever()
        raise AssertionError

    monkeypatch.setattr(Http2Connection, "_connect", never)
    config = ServerConfig("127.0.0.1", 1, insecure=True)
    client = Server(config, timeout=5)
    downloads = Downloads(client.connections, client.login, Line(), config)
    fetch = Fetch("session", "file", 16 * KIB, 0, 2, size=MIB, stop=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(downloads.run)
        await trio.testing.wait_all_tasks_blocked()
        first, second = Sink(), Sink()
        downloads.start(fetch, second)
        impatient = downloads.start(fetch, first)
        impatient.suspect()
        impatient.cancel()
        with trio.fail_after(5):
            await second.end.wait()
        assert isinstance(second.error, Unreachable)
        nursery.cancel_scope.cancel()
    client.connections.close()
