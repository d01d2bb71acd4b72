"""CA files as people have them: understood, or called by their name."""

import base64
import os
import re
import shutil
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs7, pkcs12
from cryptography.x509.oid import NameOID

from exportfs.rpc.authorities import Unusable, load

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
KEY = ec.generate_private_key(ec.SECP256R1())
NOW = datetime.now(UTC)


def made(name: str, days: int = 30, *, ca: bool = True) -> x509.Certificate:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(KEY.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(60))
        .not_valid_after(NOW + timedelta(days))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
        .sign(KEY, hashes.SHA256())
    )


ROOT, OTHER, EXPIRED, LEAF = made("Root"), made("Other"), made("Root", -1), made("Leaf", ca=False)


def pem(*certificates: x509.Certificate) -> bytes:
    return b"".join(one.public_bytes(PEM) for one in certificates)


def labelled(label: str, der: bytes) -> bytes:
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN {label}-----\n{body}-----END {label}-----\n".encode()


def private_key(encoding: serialization.Encoding, form: serialization.PrivateFormat) -> bytes:
    return KEY.private_bytes(encoding, form, serialization.NoEncryption())


PKCS8, SEC1 = serialization.PrivateFormat.PKCS8, serialization.PrivateFormat.TraditionalOpenSSL
AUX = bytes.fromhex("300c300a06082b06010505070301")
"""What OpenSSL adds to a TRUSTED CERTIFICATE: trusted for servers."""
BOTH = [ROOT, OTHER]
UNDERSTOOD: dict[str, tuple[bytes, list[x509.Certificate]]] = {
    "PEM": (pem(ROOT), [ROOT]),
    "bundle": (pem(*BOTH), BOTH),
    "twice": (pem(ROOT, ROOT), [ROOT]),
    "mark": (b"\xef\xbb\xbf" + pem(ROOT), [ROOT]),
    "UTF-16": (pem(ROOT).decode().encode("utf-16"), [ROOT]),
    "CRLF": (pem(*BOTH).replace(b"\n", b"\r\n"), BOTH),
    "CR": (pem(ROOT).replace(b"\n", b"\r"), [ROOT]),
    "no last line end": (pem(ROOT).strip(), [ROOT]),
    "text between": (b"Root CA\n=======\n" + pem(ROOT) + b"\xff\xfe caf\xe9\n" + pem(OTHER), BOTH),
    "trusted": (labelled("TRUSTED CERTIFICATE", ROOT.public_bytes(DER) + AUX), [ROOT]),
    "X509": (labelled("X509 CERTIFICATE", ROOT.public_bytes(DER)), [ROOT]),
    "DER": (ROOT.public_bytes(DER), [ROOT]),
    "PKCS#7": (pkcs7.serialize_certificates(BOTH, PEM), BOTH),
    "PKCS#7 in DER": (pkcs7.serialize_certificates(BOTH, DER), BOTH),
    "expired twin": (pem(EXPIRED, ROOT), [ROOT]),
    "damaged beside a good one": (labelled("CERTIFICATE", b"junk") + pem(ROOT), [ROOT]),
    "with its key": (private_key(PEM, PKCS8) + pem(ROOT), [ROOT]),
    "a leaf": (pem(LEAF), [LEAF]),
}
NAMED = {
    "": "is empty",
    "<!doctype html>": "is a web page",
    "words": "holds no certificate, in PEM or DER form or as PKCS#7",
    pem(ROOT)[:200].decode(): "is cut off",
    labelled("CERTIFICATE", b"junk").decode(): "damaged CERTIFICATE",
    private_key(PEM, PKCS8).decode(): "holds a private key and no certificate",
    private_key(PEM, SEC1).decode(): "holds a private key and no certificate",
    pem(EXPIRED).decode(): "holds a certificate of Root that expired on",
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ca.crt"


@pytest.mark.parametrize("what", UNDERSTOOD)
def test_understood(path: Path, what: str) -> None:
    content, certificates = UNDERSTOOD[what]
    path.write_bytes(content)
    found = load(path)
    # In any order: a PKCS#7 has them in one of its own.
    assert found.pem is not None
    ders = re.findall(r"-----BEGIN.*?END CERTIFICATE-----\n", found.pem.decode(), re.DOTALL)
    assert {ssl.PEM_cert_to_DER_cert(one) for one in ders} == {one.public_bytes(DER) for one in certificates}
    assert found.count == len(ders) == len(certificates)


@pytest.mark.parametrize(("content", "words"), NAMED.items(), ids=NAMED.values())
def test_named(path: Path, content: str, words: str) -> None:
    path.write_text(content)
    with pytest.raises(Unusable, match=words):
        load(path)


@pytest.mark.parametrize("form", [PKCS8, SEC1])
def test_a_private_key_in_der_form(path: Path, form: serialization.PrivateFormat) -> None:
    path.write_bytes(private_key(DER, form))
    with pytest.raises(Unusable, match="holds a private key and no certificate"):
        load(path)


def test_a_pkcs12_store(path: Path) -> None:
    encryption = serialization.BestAvailableEncryption(b"x")
    path.write_bytes(pkcs12.serialize_key_and_certificates(b"n", KEY, ROOT, None, encryption))
    with pytest.raises(Unusable, match=r"PKCS#12 store \(\.p12, \.pfx\)"):
        load(path)


def test_no_file_and_a_folder(path: Path) -> None:
    with pytest.raises(Unusable, match="No such file"):
        load(path)
    with pytest.raises(Unusable, match="Is a directory"):
        load(path.parent)


def test_a_pipe_is_read_once() -> None:
    reading, writing = os.pipe()
    os.write(writing, pem(ROOT))
    os.close(writing)
    path = Path(f"/dev/fd/{reading}")
    assert load(path).pem == load(path).pem == pem(ROOT)
    os.close(reading)


def test_a_leaf_is_remarked_on(path: Path) -> None:
    path.write_bytes(pem(LEAF))
    assert "no CA's" in load(path).remarks[0]


def test_the_systems() -> None:
    """As Python's own TLS finds them."""
    context = ssl.create_default_context()
    if not os.path.exists("/etc/ssl/certs/ca-certificates.crt"):
        pytest.skip("no ca-certificates")
    found = load(None, {})
    assert found.pem is not None
    assert found.count >= len(context.get_ca_certs()) // 2 > 0


def test_of_the_environment(tmp_path: Path) -> None:
    file, folder = tmp_path / "file.pem", tmp_path / "folder"
    folder.mkdir()
    file.write_bytes(pem(ROOT))
    (folder / "0123abcd.0").write_bytes(pem(OTHER))
    (folder / "not-looked-at.pem").write_bytes(pem(LEAF))
    found = load(None, {"SSL_CERT_FILE": str(file), "SSL_CERT_DIR": f"{tmp_path}/none:{folder}"})
    assert found.pem == pem(*BOTH)
    assert "SSL_CERT_FILE and SSL_CERT_DIR" in found.source
    with pytest.raises(Unusable, match=r"SSL_CERT_FILE and SSL_CERT_DIR.*No such file"):
        load(None, {"SSL_CERT_FILE": f"{tmp_path}/none", "SSL_CERT_DIR": str(tmp_path)})


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
def test_as_openssl_writes_them(tmp_path: Path, path: Path) -> None:
    (tmp_path / "in.pem").write_bytes(pem(ROOT))
    commands = [
        ["openssl", "x509", "-in", "in.pem", "-trustout", "-addtrust", "serverAuth", "-out", str(path)],
        ["openssl", "x509", "-in", "in.pem", "-text", "-out", str(path)],
        ["openssl", "crl2pkcs7", "-nocrl", "-certfile", "in.pem", "-out", str(path)],
        ["openssl", "crl2pkcs7", "-nocrl", "-certfile", "in.pem", "-outform", "DER", "-out", str(path)],
    ]
    for command in commands:
        subprocess.run(command, cwd=tmp_path, check=True)
        assert load(path).pem == pem(ROOT), command
