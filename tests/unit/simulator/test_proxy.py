import secrets
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest

from exportfs.simulator import Proxy, SimulatorServer
from tests.support.ports import reserved
from tests.unit.simulator.helpers import Client


@pytest.fixture
def proxy(server: SimulatorServer) -> Iterator[Proxy]:
    with Proxy(server.port) as proxy:
        yield proxy


@pytest.fixture
def through(proxy: Proxy) -> Iterator[Client]:
    client = Client(proxy.address)
    client.login()
    yield client
    client.close()


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that sends back what it gets; gives its port."""

    def serve(connection: socket.socket) -> None:
        with connection:
            try:
                while data := connection.recv(65536):
                    connection.sendall(data)
            except OSError:
                pass

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            pool.submit(serve, connection)

    listener = socket.create_server(("127.0.0.1", 0))
    with ThreadPoolExecutor(8) as pool:
        pool.submit(accept)
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def _open(proxy: Proxy) -> socket.socket:
    return socket.create_connection((proxy.host, proxy.port), timeout=5)


def _round_trip(connection: socket.socket, data: bytes = b"ping") -> float:
    begin = time.monotonic()
    connection.sendall(data)
    left = len(data)
    while left:
        left -= len(connection.recv(65536))
    return time.monotonic() - begin


def test_it_forwards(through: Client, proxy: Proxy, server: SimulatorServer) -> None:
    session = server.simulator.add_computed(5 << 20, names=["f"])
    assert through.read(session, "f") == server.simulator.content(session, "f")
    assert proxy.carried > 5 << 20
    assert (proxy.accepted, proxy.connections) == (1, 1)


def test_latency(echo: int) -> None:
    with Proxy(echo) as proxy, _open(proxy) as connection:
        _round_trip(connection)
        proxy.latency = 0.5
        assert _round_trip(connection) >= 0.5
        # Pieces under way do not wait for each other: there are sixteen or more.
        assert _round_trip(connection, bytes(1 << 20)) < 6


def test_a_long_line_gives_back_more_than_it_holds_whole_and_late(echo: int) -> None:
    data = secrets.token_bytes(8 << 20)
    with Proxy(echo) as proxy:
        proxy.latency = 0.02
        begin = time.monotonic()
        with _open(proxy) as connection, ThreadPoolExecutor(1) as pool:
            sent = pool.submit(connection.sendall, data)
            got = bytearray(connection.recv(1 << 20))
            first = time.monotonic() - begin
            while len(got) < len(data):
                got += connection.recv(1 << 20)
            sent.result()
    assert bytes(got) == data
    assert first >= 0.04  # a handshake and a round trip; how much more is the machine's business


def test_a_target_that_is_not_there_ends_the_connection() -> None:
    with reserved() as port, Proxy(port) as proxy, _open(proxy) as connection:
        assert connection.recv(1) == b""


def test_bandwidth(echo: int) -> None:
    with Proxy(echo) as proxy, _open(proxy) as connection:
        proxy.bandwidth = 1e6
        assert _round_trip(connection, bytes(256 * 1024)) > 0.1


def test_a_blackhole_and_its_end(echo: int) -> None:
    with Proxy(echo) as proxy, _open(proxy) as connection:
        _round_trip(connection)
        proxy.blackhole()
        connection.settimeout(0.1)
        connection.sendall(b"lost?")
        with pytest.raises(TimeoutError):
            connection.recv(5)
        with _open(proxy) as late:
            late.settimeout(0.05)
            late.sendall(b"hello")
            with pytest.raises(TimeoutError):
                late.recv(5)
            proxy.heal()
            connection.settimeout(5)
            late.settimeout(5)
            assert connection.recv(5) == b"lost?"
            assert late.recv(5) == b"hello"


def test_stranded_connections_are_dead_and_new_ones_work(echo: int) -> None:
    with Proxy(echo) as proxy, _open(proxy) as old:
        _round_trip(old)
        proxy.strand()
        with _open(proxy) as new:
            _round_trip(new)
        old.settimeout(0.1)
        old.sendall(b"?")
        with pytest.raises(TimeoutError):
            old.recv(1)


def test_reset(echo: int) -> None:
    with Proxy(echo) as proxy, _open(proxy) as connection:
        _round_trip(connection)
        assert proxy.reset() == 1
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        with _open(proxy) as new:
            _round_trip(new)


def test_disconnect(echo: int) -> None:
    with Proxy(echo) as proxy, _open(proxy) as connection:
        _round_trip(connection)
        assert proxy.disconnect() == 1
        assert connection.recv(1) == b""


def test_refusing_and_accepting_again(echo: int) -> None:
    with reserved() as port, Proxy(echo, port=port) as proxy, _open(proxy) as connection:
        assert proxy.port == port
        _round_trip(connection)
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            _open(proxy)
        _round_trip(connection)
        proxy.accept()
        with _open(proxy) as new:
            _round_trip(new)


def test_a_server_that_is_gone(server: SimulatorServer, proxy: Proxy) -> None:
    server.stop()
    with _open(proxy) as connection:
        assert connection.recv(1) == b""


def test_grpc_sees_a_reset(through: Client, proxy: Proxy, server: SimulatorServer) -> None:
    session = server.simulator.add_computed(1 << 40, names=["f"])
    call = through.download(session, "f")
    next(call)
    proxy.reset()
    with pytest.raises(grpc.RpcError) as caught:
        for _ in call:
            pass
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE


def test_stopping_twice(server: SimulatorServer) -> None:
    proxy = Proxy(server.port)
    proxy.start()
    proxy.stop()
    proxy.stop()
