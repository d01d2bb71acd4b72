"""`doctor` and the mount say of every certificate what gRPC's TLS does with it: no more, no less."""

import ipaddress
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from exportfs.config import ServerConfig
from exportfs.doctor.server import cause, diagnose_server
from exportfs.rpc.channel import Connections, Lane
from exportfs.simulator import Certificates, Simulator, SimulatorServer

DAY = timedelta(1)
KEYS: dict[str, Callable[[], Any]] = {
    "RSA-1024": lambda: rsa.generate_private_key(65537, 1024),
    "RSA-2048": lambda: rsa.generate_private_key(65537, 2048),
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "P-521": lambda: ec.generate_private_key(ec.SECP521R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
}
SERVER: list[x509.GeneralName] = [x509.DNSName("Server")]
ADDRESS = ipaddress.ip_address("127.0.0.1")


@dataclass(frozen=True)
class Case:
    """A certificate, and the name that is looked for in it."""

    key: str = "P-256"
    ca_key: str = "P-256"
    common: str = "Server"
    names: list[x509.GeneralName] = field(default_factory=lambda: SERVER)
    asked: str | None = "Server"
    begins: int = -30
    ends: int = 30
    twin: bool = False
    """Whether an expired root of the same name stands before the CA in the CA file."""
    foreign: bool = False
    """Whether the CA file holds another CA of the same name."""
    pinned: bool = False
    """Whether the CA file holds the server's own certificate in place of a CA's."""


CASES = {
    **{f"key {name}": Case(key=name) for name in KEYS},
    **{f"CA's key {name}": Case(ca_key=name) for name in KEYS},
    "expired": Case(ends=-1),
    "not yet valid": Case(begins=1),
    "expired twin root": Case(twin=True),
    "another CA of the same name": Case(foreign=True),
    "pinned": Case(pinned=True),
    "other name": Case(asked="Elsewhere"),
    "name only as common name": Case(names=[]),
    "wildcard": Case(names=[x509.DNSName("*.example.org")], asked="vms.example.org"),
    "wildcard too far up": Case(names=[x509.DNSName("*.org")], asked="vms.example.org"),
    "address": Case(names=[x509.IPAddress(ADDRESS)], asked=None),
    "address only as common name": Case(common=str(ADDRESS), names=[], asked=None),
    "address as a DNS name": Case(names=[x509.DNSName(str(ADDRESS))], asked=None),
    "no name for the address": Case(asked=None),
}


def named(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def signed(
    subject: str, key: Any, ca_key: Any, days: tuple[int, int], names: list[x509.GeneralName], *, ca: bool
) -> x509.Certificate:
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(named(subject))
        .issuer_name(named("CA"))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + days[0] * DAY)
        .not_valid_after(now + days[1] * DAY)
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    digest = None if isinstance(ca_key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(ca_key, digest)


def written(case: Case, folder: Path) -> Certificates:
    """Its files."""
    key, ca_key = KEYS[case.key](), KEYS[case.ca_key]()
    own = signed(
        case.common, key, ca_key, (min(case.begins, case.ends - 30), case.ends), case.names, ca=False
    )
    if case.begins > 0:
        own = signed(case.common, key, ca_key, (case.begins, case.ends), case.names, ca=False)
    trusted = [signed("CA", ca_key, ca_key, (-30, 30), [], ca=True)]
    if case.twin:
        trusted.insert(0, signed("CA", ca_key, ca_key, (-60, -1), [], ca=True))
    if case.foreign:
        other = KEYS[case.ca_key]()
        trusted = [signed("CA", other, other, (-30, 30), [], ca=True)]
    if case.pinned:
        trusted = [own]
    files = Certificates(folder / "ca.pem", folder / "own.pem", folder / "key.pem", "Server")
    files.ca_file.write_bytes(b"".join(one.public_bytes(serialization.Encoding.PEM) for one in trusted))
    files.certificate_file.write_bytes(own.public_bytes(serialization.Encoding.PEM))
    files.key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return files


def grpc_calls(config: ServerConfig) -> bool:
    """Whether a call gets to the server."""
    connections = Connections(config)
    connection = connections.acquire(Lane.CALLS)
    try:
        listing: Any = connection.channel.unary_stream("/axxonsoft.bl.mmexport.ExportService/ListSessions")
        list(listing(b"", timeout=5))
    except grpc.RpcError:
        return False
    finally:
        connections.release(connection)
        connections.close()
    return True


def judged(simulator: Simulator, files: Certificates, asked: str | None) -> bool:
    """gRPC's verdict, after having seen that doctor's and the mount's are the same."""
    with SimulatorServer(simulator, tls=files) as server:
        config = ServerConfig("127.0.0.1", server.port, ca_file=files.ca_file, tls_server_name=asked)
        accepted = grpc_calls(config)
        bad = [finding for finding in diagnose_server(config) if finding.ok is False]
        said = cause(config)
        assert (not bad) == accepted, bad
        assert said == (f"{bad[0].detail}: {bad[0].fix}" if bad else None)
        if bad:
            assert "certificate" in bad[0].detail
        return accepted


@pytest.mark.parametrize("name", CASES)
def test_doctor_agrees_with_grpc(simulator: Simulator, tmp_path: Path, name: str) -> None:
    judged(simulator, written(CASES[name], tmp_path), CASES[name].asked)


def test_an_expired_twin_does_no_harm(simulator: Simulator, tmp_path: Path) -> None:
    assert judged(simulator, written(Case(twin=True), tmp_path), "Server")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
def test_signed_with_sha1(simulator: Simulator, tmp_path: Path) -> None:
    """`cryptography` makes none any more."""
    files = Certificates(tmp_path / "ca.pem", tmp_path / "own.pem", tmp_path / "key.pem", "Server")
    (tmp_path / "names").write_text("subjectAltName=DNS:Server\n")
    for command in (
        "req -x509 -newkey rsa:2048 -nodes -sha1 -days 30 -subj /CN=CA -keyout ca.key -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=Server -keyout key.pem -out own.csr",
        "x509 -req -sha1 -days 30 -in own.csr -CA ca.pem -CAkey ca.key -set_serial 7 -extfile names -out own.pem",
    ):
        subprocess.run(["openssl", *command.split()], cwd=tmp_path, check=True, capture_output=True)
    judged(simulator, files, "Server")


@pytest.fixture
def plain(simulator: Simulator, tmp_path: Path) -> Iterator[ServerConfig]:
    files = written(Case(), tmp_path)
    with SimulatorServer(simulator, tls=files) as server:
        yield ServerConfig("127.0.0.1", server.port, ca_file=files.ca_file, tls_server_name="Server")


def test_an_unwritable_key_log(plain: ServerConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has nothing to do with the CA file, and gRPC does not read it."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "none" / "keys.log"))
    assert all(finding.ok for finding in diagnose_server(plain))


def test_the_environments_cas(plain: ServerConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --ca-file, as OpenSSL has it."""
    from dataclasses import replace

    without = replace(plain, ca_file=None)
    monkeypatch.delenv("SSL_CERT_DIR", raising=False)
    assert not grpc_calls(without)
    monkeypatch.setenv("SSL_CERT_FILE", str(plain.ca_file))
    assert grpc_calls(without)
    findings = diagnose_server(without)
    assert all(finding.ok for finding in findings)
    assert "SSL_CERT_FILE" in findings[0].detail
