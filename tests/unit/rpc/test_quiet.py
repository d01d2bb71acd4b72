"""Connections that what is between may have forgotten, and such as nothing comes through any more."""

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trio

from exportfs.config import MIB, ServerConfig
from exportfs.content.line import Line
from exportfs.errors import Unreachable
from exportfs.model import Fetch
from exportfs.rpc import quiet
from exportfs.rpc.channel import Connections, Lane
from exportfs.rpc.download import Downloads
from exportfs.rpc.http2 import Http2Connection
from exportfs.rpc.server import Server
from exportfs.simulator import Config, LoginConfig, Proxy, Simulator, SimulatorServer
from tests.unit.rpc.test_threads import Sink

KIB = 1 << 10
SETTINGS = bytes.fromhex("000000040000000000")
"""An empty frame of them, with which a server greets."""


class Clock:
    """Of connections' silence alone."""

    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(quiet, "now", clock)
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
async def test_a_read_after_a_pause_does_not_go_into_the_void(clock: Clock, way: str) -> None:
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
                    clock.time += quiet.LONGEST + 1
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
                clock.time += quiet.LONGEST + 1


async def test_what_is_used_stays(clock: Clock) -> None:
    """A connection is made anew neither after a short pause, nor while it is in use, however long."""
    connections = Connections(ServerConfig("127.0.0.1", 1, insecure=True))
    first = connections.acquire(Lane.CALLS)
    clock.time += 10 * quiet.LONGEST
    assert connections.acquire(Lane.CALLS) is first
    connections.release(first)
    connections.release(first)
    clock.time += quiet.LONGEST - 1
    assert connections.acquire(Lane.CALLS) is first
    connections.release(first)
    clock.time += quiet.LONGEST + 1
    second = connections.acquire(Lane.CALLS)
    assert second is not first
    assert first.given_up
    connections.release(second)
    connections.close()


def unheard(port: int) -> list[int]:
    """Milliseconds that this process's connections to a port may stay without an acknowledgement; 0: as TCP has it."""
    found = []
    for name in os.listdir("/proc/self/fd"):
        try:
            with socket.socket(fileno=os.dup(int(name))) as one:
                if one.family != socket.AF_UNIX and one.getpeername()[1] == port:
                    found.append(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT))
        except OSError:
            continue
    return found


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


async def test_how_long_an_exact_download_may_stay_unheard() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        config = ServerConfig("127.0.0.1", port, insecure=True)
        client = Server(config, timeout=5)
        downloads = Downloads(client.connections, client.login, Line(), config)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(downloads.run)
            server, _ = await trio.to_thread.run_sync(listener.accept)
            with server:
                assert await trio.to_thread.run_sync(server.recv, 3) == b"PRI"
                assert unheard(port) == [quiet.UNHEARD * 1000]
            nursery.cancel_scope.cancel()
        client.connections.close()


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
