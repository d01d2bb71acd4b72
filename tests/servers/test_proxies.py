"""What proxies answer for a server, and how long they may take to connect."""

import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import pytest
import trio

from exportfs.config import ServerConfig
from exportfs.doctor.server import diagnose_server
from exportfs.errors import (
    AccessDenied,
    Exhausted,
    ExportfsError,
    Interrupted,
    InvalidArgument,
    NotSent,
    TooLarge,
    Unreachable,
    Unsupported,
)
from exportfs.rpc.server import Server
from exportfs.simulator import Config, Simulator, SimulatorServer, make_certificates
from tests.servers.conftest import needed
from tests.servers.frames import INTERNAL_ERROR, FrameProxy, Verdict
from tests.servers.fronts import Nginx, ReloadedNginx
from tests.servers.test_retries import options
from tests.support.harness import ARCHIVE_REQUEST, MountProcess, security

pytestmark = pytest.mark.promise("E7")


def config_of(address: str, *, login: bool = False) -> ServerConfig:
    """`login`: as the simulator's own user."""
    host, _, port = address.rpartition(":")
    name = "demo" if login else None
    return ServerConfig(host, int(port), user=name, password=name, insecure=True)


@asynccontextmanager
async def client(address: str, timeout: float = 10, *, login: bool = False) -> AsyncIterator[Server]:
    server = Server(config_of(address, login=login), timeout=timeout)
    try:
        yield server
    finally:
        await server.close()


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidArgument),
        (401, AccessDenied),
        (403, AccessDenied),
        (404, Unsupported),
        (413, TooLarge),
        (418, InvalidArgument),
        (429, Exhausted),
    ],
)
async def test_a_proxys_4xx_is_a_refusal(
    server: SimulatorServer, simulator: Simulator, tmp_path: Path, status: int, kind: type[ExportfsError]
) -> None:
    needed(Nginx)
    with Nginx(server, tmp_path, http=f"if ($uri ~ StartSession) {{ return {status}; }}") as nginx:
        async with client(nginx.address) as calls:
            with pytest.raises(kind) as caught:
                await calls.start_session(options(1), within=5)
    assert "a proxy" in str(caught.value)
    assert f"HTTP {status}" in str(caught.value)
    assert not simulator.log.count("StartSession")


async def test_a_request_too_large_for_a_proxy(
    server: SimulatorServer, simulator: Simulator, tmp_path: Path
) -> None:
    needed(Nginx)
    with Nginx(server, tmp_path, http="client_max_body_size 16k;") as nginx:
        async with client(nginx.address) as calls:
            with pytest.raises(TooLarge, match="HTTP 413"):
                await calls.start_session(options(1) + b"\x9a\x06\x80\x80\x04" + bytes(65536), within=5)
    assert not simulator.log.count("StartSession")


@pytest.mark.parametrize("status", [408, 500, 502, 503, 504])
async def test_a_proxys_5xx_says_nothing(server: SimulatorServer, tmp_path: Path, status: int) -> None:
    """The server may have had the request: a refusal it is not."""
    needed(Nginx)
    with Nginx(server, tmp_path, http=f"if ($uri ~ StartSession) {{ return {status}; }}") as nginx:
        async with client(nginx.address) as calls:
            with pytest.raises(ExportfsError) as caught:
                await calls.start_session(options(1), within=5)
    assert isinstance(caught.value, Interrupted | Unreachable)
    assert not isinstance(caught.value, NotSent)
    if status != 408:  # nginx resets the stream
        assert f"HTTP {status}" in str(caught.value)


@pytest.fixture
def guarded() -> Iterator[SimulatorServer]:
    """A server that wants a login."""
    simulator = Simulator(Config())
    with SimulatorServer(simulator) as server:
        yield server
    simulator.close()


async def test_a_proxy_that_drops_the_login(guarded: SimulatorServer, tmp_path: Path) -> None:
    needed(Nginx)
    with Nginx(guarded, tmp_path, underscores=False) as nginx:
        async with client(nginx.address, login=True) as calls:
            await calls.login.start()
            with pytest.raises(AccessDenied, match="underscores_in_headers"):
                await calls.list_sessions()
        findings = await trio.to_thread.run_sync(diagnose_server, config_of(nginx.address, login=True))
    bad = [finding for finding in findings if finding.ok is False]
    assert len(bad) == 1
    assert "nginx" in bad[0].detail
    assert "underscores_in_headers on" in bad[0].fix
    with Nginx(guarded, tmp_path) as nginx:
        async with client(nginx.address, login=True) as calls:
            await calls.login.start()
            await calls.list_sessions()


@pytest.mark.promise("E1")
def test_a_proxy_that_refuses_the_header_of_the_login(guarded: SimulatorServer) -> None:
    """As Envoy does at the edge: each call that has one with an underscore in its name is reset."""
    seen: list[bytes] = []

    def judge(headers: bytes) -> Verdict:
        if b"auth_token" in headers:  # later ones refer to it by its number
            seen.append(headers)
        return Verdict.REFUSE if seen else Verdict.PASS

    with FrameProxy(guarded.port, judge, code=INTERNAL_ERROR) as proxy:
        findings = diagnose_server(config_of(proxy.address, login=True), within=1.0)
    (bad,) = [finding for finding in findings if finding.ok is False]
    assert "RST_STREAM" in bad.detail
    assert "headers_with_underscores_action" in bad.fix


@pytest.mark.mount
@pytest.mark.slow
@pytest.mark.promise("R6", "W1")
def test_copies_and_requests_while_a_proxy_is_reloaded(guarded: SimulatorServer, tmp_path: Path) -> None:
    """As in the field: TLS and a login, connections that end after a few calls, and reloads in the middle of copies,
    which cut off what is under way."""
    needed(ReloadedNginx)
    simulator = guarded.simulator
    size = 48 << 20
    session_id = simulator.add_computed(size)
    (file,) = simulator.files(session_id)
    tls = make_certificates(tmp_path)
    secret = tmp_path / "password"
    secret.touch(mode=0o600)
    secret.write_text("demo\n")
    options = (*security(tls), "--user", "demo", "--password-file", str(secret), "--refresh", "0.2")
    with ReloadedNginx(guarded, tmp_path, tls, http="keepalive_requests 7;") as nginx:
        mount = MountProcess(nginx.address, tmp_path, *options)
        try:
            mount.start()
            (path,) = mount.mountpoint.glob(f"sessions/*/{file.path}")
            reloads = 6
            with path.open("rb", buffering=0) as reading:
                for number in range(reloads):
                    part = size // reloads + 1
                    wanted = simulator.content(
                        session_id, file.path, number * part, min(part, size - number * part)
                    )
                    assert reading.read(len(wanted)) == wanted
                    nginx.reload()
                    changed = {**ARCHIVE_REQUEST["archive"], "endTimestamp": f"20260511T08050{number}"}
                    request = json.dumps({**ARCHIVE_REQUEST, "archive": changed})
                    (mount.mountpoint / f"new/{number}.json").write_text(request)
                    assert simulator.log.count("StartSession") == number + 1
                assert reading.read(1) == b""
            assert simulator.log.count("DownloadFile") > 1  # cut off, and resumed
            assert mount.stop() == 0
            mount.check_log()
        finally:
            mount.clean_up()


class SlowStart:
    """A proxy behind which nothing comes from the server for the first seconds of a connection."""

    def __init__(self, port: int, seconds: float) -> None:
        self._port, self._seconds = port, seconds
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.connections = 0
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def close(self) -> None:
        for one in (self._listener, *self._sockets):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self._port))
                self.connections += 1
                self._sockets += [client, server]
                threading.Thread(target=self._copy, args=(client, server, 0.0), daemon=True).start()
                threading.Thread(target=self._copy, args=(server, client, self._seconds), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, pause: float) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if pause:
                    time.sleep(pause)  # how the context is, not how the test waits
                    pause = 0
                target.sendall(data)
        with suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@contextmanager
def slow_start(port: int, seconds: float) -> Iterator[SlowStart]:
    proxy = SlowStart(port, seconds)
    try:
        yield proxy
    finally:
        proxy.close()


async def test_a_handshake_may_take_most_of_the_time(server: SimulatorServer) -> None:
    """Longer than a third of the timeout, after which a connection that is silent is given up."""
    with slow_start(server.port, 4) as proxy:
        async with client(proxy.address, timeout=10) as calls:
            await calls.list_sessions()
        assert proxy.connections == 1


async def test_a_connection_that_was_ready_is_given_up(server: SimulatorServer, simulator: Simulator) -> None:
    from exportfs.simulator import Proxy

    with Proxy(server.port) as proxy:
        async with client(proxy.address, timeout=6) as calls:
            await calls.list_sessions()
            proxy.strand()
            await calls.list_sessions()
