import stat
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from exportfs.simulator import ManualClock, Simulator, SimulatorServer, make_certificates
from tests.unit.simulator.conftest import Make
from tests.unit.simulator.helpers import Client, archive


def _secure(server: SimulatorServer, ca_file: Path, name: str = "Server") -> Client:
    return Client(server.address, grpc.ssl_channel_credentials(ca_file.read_bytes()), name)


def _unavailable(client: Client) -> str:
    """Why the login does not come through."""
    with pytest.raises(grpc.RpcError) as caught:
        client.login()
    client.close()
    assert caught.value.code() == grpc.StatusCode.UNAVAILABLE
    return str(caught.value.details())


def test_tls_with_the_nodes_name(make_server: Make, tmp_path: Path) -> None:
    tls = make_certificates(tmp_path)
    server = make_server(tls=tls)
    client = _secure(server, tls.ca_file)
    assert client.login().token_value
    assert client.all() == []
    client.close()
    assert stat.S_IMODE(tls.key_file.stat().st_mode) == 0o600
    assert {path.name for path in tmp_path.iterdir()} == {"ca.crt", "server.crt", "server.key"}
    certificate = x509.load_pem_x509_certificate(tls.certificate_file.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["Server"]
    assert names.get_values_for_type(x509.IPAddress) == []


@pytest.mark.parametrize("wrong", ["address", "name", "expired", "foreign", "plaintext"])
def test_what_is_wrong_with_tls(make_server: Make, tmp_path: Path, wrong: str) -> None:
    tls = make_certificates(tmp_path, expired=wrong == "expired", foreign=wrong == "foreign")
    server = make_server(tls=None if wrong == "plaintext" else tls)
    name = {"address": "", "name": "Other"}.get(wrong, "Server")
    assert _unavailable(_secure(server, tls.ca_file, name))


def test_a_plaintext_client_of_a_tls_server(make_server: Make, tmp_path: Path) -> None:
    server = make_server(tls=make_certificates(tmp_path))
    assert _unavailable(Client(server.address))


def test_certificates_can_be_made_anew(tmp_path: Path) -> None:
    one = make_certificates(tmp_path).ca_file.read_bytes()
    assert make_certificates(tmp_path, "Node").ca_file.read_bytes() != one


def test_a_restart_keeps_port_sessions_and_logins(
    server: SimulatorServer, connect: Callable[..., Client]
) -> None:
    client, port = connect(server), server.port
    session = client.start(archive())
    server.restart()
    assert server.port == port
    fresh = Client(server.address)
    fresh.metadata = client.metadata
    assert [info.session.id for info in fresh.all()] == [session]
    server.restart(forget_tokens=True)
    again = Client(server.address)
    again.metadata = client.metadata
    with pytest.raises(grpc.RpcError) as caught:
        again.all()
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
    fresh.close()
    again.close()


def test_killing_the_server_breaks_off_downloads(client: Client, server: SimulatorServer) -> None:
    session = server.simulator.add_computed(1 << 40, names=["f"])
    call = client.download(session, "f")
    next(call)
    server.stop()
    with pytest.raises(grpc.RpcError):
        for _ in call:
            pass
    assert not server.simulator.log.running()
    assert server.simulator.log.downloads_now == 0
    assert not server.running
    server.stop()


def test_a_taken_port(server: SimulatorServer, clock: ManualClock) -> None:
    other = SimulatorServer(Simulator(clock=clock), port=server.port)
    with pytest.raises(RuntimeError):
        other.start()
    assert not other.running
    with pytest.raises(RuntimeError):
        server.start()
    other.simulator.close()


def test_a_context_manager() -> None:
    with SimulatorServer(Simulator()) as server:
        client = Client.of(server)
        assert client.all() == []
        client.close()
    assert not server.running
    server.simulator.close()
