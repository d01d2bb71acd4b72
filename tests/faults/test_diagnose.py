"""Each way in which a server cannot be reached is called by its name, and the fix with it."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from hyperframe.frame import SettingsFrame

from exportfs.config import ServerConfig
from exportfs.doctor.finding import Finding
from exportfs.doctor.server import diagnose_server
from exportfs.simulator import Config, LoginConfig, Simulator, SimulatorServer, make_certificates
from tests.support.ports import reserved


def last(config: ServerConfig, *, within: float = 10.0) -> Finding:
    return diagnose_server(config, within=within)[-1]


@contextmanager
def listener(answer: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that does with each connection what it is told."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listening.accept()
                except OSError:
                    return
                with connection:
                    connection.settimeout(2)
                    with suppress(OSError):
                        answer(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join()


@pytest.fixture
def secure(simulator: Simulator, tmp_path: Path) -> Iterator[SimulatorServer]:
    with SimulatorServer(simulator, tls=make_certificates(tmp_path)) as server:
        yield server


def config(server: SimulatorServer, **changes: object) -> ServerConfig:
    defaults = (
        {"ca_file": server.tls.ca_file, "tls_server_name": "Server"} if server.tls else {"insecure": True}
    )
    return ServerConfig("127.0.0.1", **{"port": server.port, **defaults, **changes})  # type: ignore[arg-type] # fields by name


def test_all_well(secure: SimulatorServer, server: SimulatorServer) -> None:
    for one in (secure, server):
        findings = diagnose_server(config(one))
        assert [finding.ok for finding in findings] == [True] * len(findings)
        assert findings[-1].title == "export service"


@pytest.mark.parametrize("name", ["N" * 64, "a..b"])
def test_names_that_dns_would_not_have(name: str, simulator: Simulator, tmp_path: Path) -> None:
    """A certificate may have them nevertheless, and gRPC takes them as they are."""
    with SimulatorServer(simulator, tls=make_certificates(tmp_path, name)) as server:
        findings = diagnose_server(config(server, tls_server_name=name))
        assert [finding.detail for finding in findings if finding.ok is False] == []
        other = last(config(server, tls_server_name=f"{name}c"))
    assert other.title == "TLS"
    assert name in other.detail


def test_a_name_that_no_certificate_has(secure: SimulatorServer) -> None:
    finding = last(config(secure, tls_server_name="\u00fc..b"))
    assert (finding.ok, finding.title) == (False, "TLS")
    assert finding.detail == "no certificate can have the name '\u00fc..b'"


def test_name_that_does_not_resolve() -> None:
    finding = last(ServerConfig("no-such-host.invalid"))
    assert (finding.ok, "cannot be resolved" in finding.detail) == (False, True)


def test_refused() -> None:
    with reserved() as port:
        finding = last(ServerConfig("127.0.0.1", port))
    assert "connection refused" in finding.detail
    assert "port" in finding.fix


def test_unreachable() -> None:
    # A full backlog drops what comes next, as a firewall would.
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        address = full.getsockname()
        fillers = [socket.socket() for _ in range(4)]
        for filler in fillers:
            filler.setblocking(False)
            filler.connect_ex(address)
        finding = last(ServerConfig("127.0.0.1", address[1]), within=0.3)
        for filler in fillers:
            filler.close()
    assert "cannot be reached (no answer)" in finding.detail


def test_wrong_authority(simulator: Simulator, tmp_path: Path) -> None:
    with SimulatorServer(simulator, tls=make_certificates(tmp_path, foreign=True)) as server:
        finding = last(config(server))
        assert "another CA than the one in" in finding.detail
        assert "issued by Simulated Root CA" in finding.detail
        assert "--ca-file" in finding.fix
        finding = last(config(server, ca_file=None))
        assert "another CA than one that this system trusts" in finding.detail


def test_wrong_name(secure: SimulatorServer) -> None:
    finding = last(config(secure, tls_server_name=None))
    assert "not for 127.0.0.1 but for Server" in finding.detail
    assert "--tls-server-name Server" in finding.fix
    assert "not for Elsewhere but for Server" in last(config(secure, tls_server_name="Elsewhere")).detail


def test_expired(simulator: Simulator, tmp_path: Path) -> None:
    with SimulatorServer(simulator, tls=make_certificates(tmp_path, expired=True)) as server:
        assert "has expired" in last(config(server)).detail


def test_plaintext_behind_tls(server: SimulatorServer) -> None:
    finding = last(config(server, insecure=False))
    assert "speaks gRPC without TLS" in finding.detail
    assert "--insecure" in finding.fix


def test_tls_behind_plaintext(secure: SimulatorServer) -> None:
    finding = last(config(secure, insecure=True))
    assert "speaks TLS" in finding.detail
    assert "leave out --insecure" in finding.fix


def web(connection: socket.socket) -> None:
    connection.recv(1024)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


@pytest.mark.parametrize("insecure", [True, False])
def test_web_server(insecure: bool) -> None:
    with listener(web) as port:
        finding = last(ServerConfig("127.0.0.1", port, insecure=insecure))
    assert ("is a web server" if insecure else "does not speak TLS") in finding.detail
    assert "check the port" in finding.fix


def silent(connection: socket.socket) -> None:
    while connection.recv(1024):
        pass


def test_silent_server() -> None:
    with listener(silent) as port:
        assert "says nothing" in last(ServerConfig("127.0.0.1", port, insecure=True), within=0.3).detail
        assert "says nothing" in last(ServerConfig("127.0.0.1", port), within=0.3).detail


def test_tls_without_grpc(tmp_path: Path) -> None:
    files = make_certificates(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(files.certificate_file, files.key_file)

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            web(secure)

    with listener(serve) as port:
        finding = last(ServerConfig("127.0.0.1", port, ca_file=files.ca_file, tls_server_name="Server"))
    assert "is a web server and speaks no gRPC" in finding.detail


def test_http2_that_is_not_offered(tmp_path: Path) -> None:
    """gRPC does not try what was not offered; the certificate is all right."""
    files = make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate_file, files.key_file)

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as secure:
            secure.recv(1024)
            secure.sendall(SettingsFrame(0).serialize())

    with listener(serve) as port:
        finding = last(ServerConfig("127.0.0.1", port, ca_file=files.ca_file, tls_server_name="Server"))
    assert "does not offer HTTP/2" in finding.detail
    assert "certificate" not in finding.detail + finding.fix


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_certificate_of_ours_is_wanted(version: ssl.TLSVersion, tmp_path: Path) -> None:
    files = make_certificates(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = context.maximum_version = version
    context.load_cert_chain(files.certificate_file, files.key_file)
    context.load_verify_locations(files.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    context.set_alpn_protocols(["h2"])

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False) as secure:
            with suppress(ssl.SSLError):
                secure.do_handshake()
            # Closed before it has read all, the connection would be reset, and the alert lost.
            socket.socket.shutdown(secure, socket.SHUT_WR)
            while socket.socket.recv(secure, 1024):
                pass

    with listener(serve) as port:
        finding = last(ServerConfig("127.0.0.1", port, ca_file=files.ca_file, tls_server_name="Server"))
    assert "refuses the TLS connection" in finding.detail
    assert "certificate of their own" in finding.fix


@pytest.mark.parametrize(
    ("content", "words"), [(None, "No such file"), ("junk", "holds no certificate, in PEM or DER form")]
)
def test_ca_file(content: str | None, words: str, tmp_path: Path, secure: SimulatorServer) -> None:
    path = tmp_path / "other.crt"
    if content is not None:
        path.write_text(content)
    assert words in last(config(secure, ca_file=path)).detail


def test_login(tmp_path: Path) -> None:
    simulator = Simulator(Config(login=LoginConfig()))
    with SimulatorServer(simulator, tls=make_certificates(tmp_path)) as server:
        assert "wrong user name or password" in last(config(server, user="demo", password="no")).detail
        assert "mount with --user" in last(config(server)).detail
        assert [f.ok for f in diagnose_server(config(server, user="demo", password="demo"))][-2:] == [
            True,
            True,
        ]
        assert simulator.accounts.logins() == 0
    simulator.close()


class LongOnesGetLost:
    """A way to a server on which no packet of more than so many bytes arrives: a black hole for path MTU discovery."""

    MTU = 1280

    def __init__(self, port: int) -> None:
        self.port = port
        self.carriers: list[threading.Thread] = []

    def __call__(self, connection: socket.socket) -> None:
        """Returns at once: a connection on which nothing comes holds up no other."""
        carrier = threading.Thread(target=self._carry, args=(connection.dup(),))
        carrier.start()
        self.carriers.append(carrier)

    def _carry(self, connection: socket.socket) -> None:
        with connection, socket.create_connection(("127.0.0.1", self.port)) as server:
            back = threading.Thread(target=self._pass, args=(server, connection, 64 << 10))
            back.start()
            self._pass(connection, server, self.MTU)
            back.join()

    @staticmethod
    def _pass(one: socket.socket, other: socket.socket, longest: int) -> None:
        with suppress(OSError):
            one.settimeout(20)
            while data := one.recv(64 << 10):
                if len(data) <= longest:
                    other.sendall(data)
        with suppress(OSError):
            other.shutdown(socket.SHUT_WR)


def test_long_packets_that_get_lost(secure: SimulatorServer) -> None:
    """Nobody is to replace a certificate for that."""
    way = LongOnesGetLost(secure.port)
    with listener(way) as port:
        finding = last(config(secure, port=port), within=2.0)
    for carrier in way.carriers:
        carrier.join()
    assert finding.ok is False
    assert "long packets" in finding.detail
    assert "MTU" in (finding.fix or "")


def test_a_line_that_breaks_while_it_is_looked_at(
    secure: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What cannot be found out any more is left out."""

    def broken(config: ServerConfig, within: float) -> bytes:
        raise TimeoutError("The handshake operation timed out")

    monkeypatch.setattr("exportfs.doctor.server._said_by_grpc", lambda config, within: "Socket closed")
    monkeypatch.setattr("exportfs.doctor.probes.shown", broken)
    finding = last(config(secure))
    assert (finding.ok, "Socket closed" in finding.detail) == (False, True)
