"""The certificates that a server's is checked against: a CA file in whatever form, or the system's.

gRPC reads PEM and nothing else, stops at the first thing in it that it does not understand, and has roots of its own
where it is given none. People have files from Windows (a byte order mark, DER, PKCS#7), from OpenSSL (TRUSTED
CERTIFICATE), with text between, with the expired root beside the new one of the same name, or the wrong file. So they
are read here, by the mount and by `doctor` alike, and gRPC is handed what it can use.

Only the standard library: what is needed of DER and PKCS#7 (RFC 5652) is where one element ends and the next begins.
"""

import base64
import binascii
import os
import re
import ssl
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exportfs.errors import InvalidArgument

LARGEST = 16 << 20
"""Bytes of a CA file; all roots of a system are a quarter of a MiB."""

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 #]+?)-----[ \t]*\r?\n?(.*?)-----END \1-----", re.DOTALL)
_CERTIFICATES = {b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE"}
_BUNDLES = {b"PKCS7", b"CMS", b"PKCS #7 SIGNED DATA"}
_HASHED = re.compile(r"[0-9a-f]{8}\.\d+", re.ASCII)
"""Names that OpenSSL looks at in a folder of certificates; `openssl rehash` makes them."""
_FALLBACKS = (
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)
"""Where distributions keep all roots, for a Python that was built elsewhere and looks elsewhere."""
_GRPCS = "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH"
"""gRPC's own variable; it counts where OpenSSL's are not set."""


@dataclass(frozen=True, slots=True)
class Authorities:
    """What a server's certificate is checked against."""

    pem: bytes | None
    """For gRPC; None: the roots that it finds by itself."""
    source: str
    """Where they are from, for people."""
    count: int = 0
    remarks: tuple[str, ...] = ()
    """What is odd about them, though they can be used."""


class Unusable(InvalidArgument):
    """There is nothing to check a certificate against: what is wrong, and what to do."""

    def __init__(self, detail: str, fix: str) -> None:
        super().__init__(f"{detail}: {fix}")
        self.detail = detail
        self.fix = fix


def load(ca_file: Path | None, environ: Mapping[str, str] = os.environ) -> Authorities:
    """Those of a CA file, or the system's. Raises Unusable."""
    return _of_system(environ) if ca_file is None else _of_file(ca_file)


def _of_file(path: Path) -> Authorities:
    where = f"the CA file {path}"
    advice = "give the file of the CA that signed the server's certificate (api.ngp Root CA)"
    try:
        data = _read(path)
    except OSError as error:
        raise Unusable(f"cannot read {where} ({error.strerror})", advice) from None
    if len(data) > LARGEST:
        raise Unusable(f"{where} is larger than {LARGEST >> 20} MiB", advice)
    ders, others = _certificates(data)
    good, remarks = _usable(ders)
    if not good:
        reason = "; ".join(remarks) or _what_it_is(data, others)
        raise Unusable(f"{where} {reason}", advice)
    remarks += [f"what else is in it is not used: {', '.join(sorted(set(others)))}"] if others else []
    return Authorities(_pem(good), str(path), len(good), tuple(remarks))


_FROM_PIPES: dict[Path, bytes] = {}
"""A pipe (`--ca-file <(...)`) can be read once, and is needed again where a connection fails."""


def _read(path: Path) -> bytes:
    if path in _FROM_PIPES:
        return _FROM_PIPES[path]
    with path.open("rb") as file:
        data = file.read(LARGEST + 1)
        if stat.S_ISFIFO(os.fstat(file.fileno()).st_mode):
            _FROM_PIPES[path] = data
    return data


def _of_system(environ: Mapping[str, str]) -> Authorities:
    """As OpenSSL finds them: in one file and in folders, each of which the environment may name."""
    paths = ssl.get_default_verify_paths()
    files = [environ.get(paths.openssl_cafile_env) or paths.openssl_cafile]
    folders = (environ.get(paths.openssl_capath_env) or paths.openssl_capath or "").split(os.pathsep)
    named = [name for name in (paths.openssl_cafile_env, paths.openssl_capath_env) if environ.get(name)]
    if not named and environ.get(_GRPCS):
        files, folders, named = [environ[_GRPCS]], [], [_GRPCS]
    remarks: list[str] = []
    ders = _all_of(files, folders, remarks, complain=bool(named))
    if not ders and not named:
        files = [next((place for place in _FALLBACKS if os.path.exists(place)), "")]
        ders = _all_of(files, [], remarks, complain=False)
    good, odd = _usable(ders)
    if good:
        by = f", as {' and '.join(named)} say" if named else ""
        return Authorities(_pem(good), f"the system's{by}", len(good), tuple(remarks))
    if named:
        reason = "; ".join(remarks + odd) or "no certificate there"
        raise Unusable(f"{' and '.join(named)} of the environment: {reason}", "unset it, or correct it")
    # Better than none at all.
    return Authorities(None, "gRPC's own, since this system has none (Debian: apt install ca-certificates)")


def _all_of(
    files: Iterable[str], folders: Iterable[str], remarks: list[str], *, complain: bool
) -> list[bytes]:
    """All certificates of these places. As OpenSSL does, it goes on where one cannot be read."""
    found: dict[bytes, None] = {}
    places = [*files]
    for folder in folders:
        try:
            names = sorted(os.listdir(folder)) if folder else []
        except OSError as error:
            names = []
            if complain:
                remarks.append(f"{folder}: {error.strerror}")
        places += [os.path.join(folder, name) for name in names if _HASHED.fullmatch(name)]
    for place in places:
        try:
            data = Path(place).read_bytes() if place else b""
        except OSError as error:
            if complain:
                remarks.append(f"{place}: {error.strerror}")
            continue
        found |= dict.fromkeys(_certificates(data)[0])
    return list(found)


def _certificates(data: bytes) -> tuple[list[bytes], list[str]]:
    """(certificates in DER form, what else is in there)."""
    data = _without_mark(data)
    blocks = list(_BLOCK.finditer(data))
    if not blocks:
        return _of_der(data)
    ders: list[bytes] = []
    others: list[str] = []
    for block in blocks:
        label, text = block[1], block[2]
        try:
            # Encryption headers and the like stand before an empty line.
            body = re.split(rb"\r?\n[ \t]*\r?\n", text, maxsplit=1)[-1] if b":" in text else text
            der = base64.b64decode(b"".join(body.split()), validate=True)
            if label in _CERTIFICATES:
                ders.append(_first_element(der))
            elif label in _BUNDLES:
                ders += _of_pkcs7(der)
            else:
                others.append(_called(label.decode()))
        except (binascii.Error, ValueError):
            others.append(f"a damaged {label.decode()}")
    return list(dict.fromkeys(ders)), others


def _without_mark(data: bytes) -> bytes:
    """As Windows' editors save it: UTF-8 with a byte order mark, or UTF-16."""
    for mark, encoding in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            return data.decode(encoding, "replace").encode()
    return data


def _of_der(data: bytes) -> tuple[list[bytes], list[str]]:
    """Of a file that is no PEM: one certificate, or PKCS#7."""
    try:
        tag, body, _ = _element(data)
        inner = _element(body)[0] if tag == _SEQUENCE else None
        if inner == _OID:
            return _of_pkcs7(data), []
        if inner == _SEQUENCE:
            return [_first_element(data)], []
        if inner == _INTEGER:  # a version comes first in private keys, and in PKCS#12
            tag, follows, _ = _element(_after(body))
            store = tag == _SEQUENCE and _element(follows)[1].startswith(_PKCS7)
            return [], ["a PKCS#12 store (.p12, .pfx)" if store else "a private key"]
    except ValueError:
        pass
    return [], []


_INTEGER, _OID, _SEQUENCE, _TAGGED = 0x02, 0x06, 0x30, 0xA0
"""Tags; the last is [0]."""
_PKCS7 = bytes.fromhex("2a864886f70d0107")
"""1.2.840.113549.1.7, of which signedData is number 2."""


def _element(data: bytes) -> tuple[int, bytes, int]:
    """(tag, content, length of the whole) of the first element of DER. Raises ValueError."""
    if len(data) < 2:
        raise ValueError("ends in the middle")
    tag, length, start = data[0], data[1], 2
    if length & 0x80:
        octets = length & 0x7F
        if not 1 <= octets <= 4 or len(data) < 2 + octets:
            raise ValueError("no definite length")
        length, start = int.from_bytes(data[2 : 2 + octets], "big"), 2 + octets
    if start + length > len(data):
        raise ValueError("ends in the middle")
    return tag, data[start : start + length], start + length


def _first_element(data: bytes) -> bytes:
    """Without what follows: a TRUSTED CERTIFICATE has OpenSSL's notes on its uses after it."""
    return data[: _element(data)[2]]


def _after(data: bytes) -> bytes:
    return data[_element(data)[2] :]


def _elements(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """(tag, content, whole) of each."""
    while data:
        tag, content, length = _element(data)
        yield tag, content, data[:length]
        data = data[length:]


def _of_pkcs7(data: bytes) -> list[bytes]:
    """The certificates of a SignedData: ContentInfo { OID, [0] { SEQUENCE { version, SET, SEQUENCE, [0] certificates.
    Raises ValueError."""
    _, info, _ = _element(data)
    content = next((inner for tag, inner, _ in _elements(info) if tag == _TAGGED), b"")
    _, signed, _ = _element(content)
    certificates = next((inner for tag, inner, _ in _elements(signed) if tag == _TAGGED), b"")
    return [whole for tag, _, whole in _elements(certificates) if tag == _SEQUENCE]


def _called(label: str) -> str:
    if "PRIVATE KEY" in label:
        return "a private key"
    return {
        "CERTIFICATE REQUEST": "a certificate request",
        "NEW CERTIFICATE REQUEST": "a certificate request",
        "X509 CRL": "a list of revoked certificates",
        "PUBLIC KEY": "a public key",
    }.get(label, label)


def _usable(ders: list[bytes]) -> tuple[list[bytes], list[str]]:
    """(those that can be read and have not expired, what is odd about the rest).

    Of two roots of one name gRPC may take the expired one, and fail.
    """
    good, remarks, now = [], [], datetime.now(UTC)
    all_facts = _facts(ders)
    for der in ders:
        facts = all_facts.get(der)
        if facts is None:
            remarks.append("holds a certificate that cannot be read")
            continue
        ends = facts.get("notAfter")
        if isinstance(ends, str) and datetime.fromtimestamp(ssl.cert_time_to_seconds(ends), UTC) < now:
            remarks.append(f"holds a certificate of {name_of(facts)} that expired on {ends}")
            continue
        if not facts:
            remarks.append("holds a certificate that is no CA's: only that very certificate is accepted")
        good.append(der)
    return good, remarks


def _facts(ders: list[bytes]) -> dict[bytes, dict[str, Any]]:
    """What Python says of each certificate: nothing where it is not an authority's; none where it cannot be read."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if ders:
            context.load_verify_locations(cadata=b"".join(ders))
    except (ssl.SSLError, ValueError):
        if len(ders) == 1:
            return {}
        return {der: facts for one in ders for der, facts in _facts([one]).items()}
    known = zip(context.get_ca_certs(binary_form=True), context.get_ca_certs(), strict=True)
    return {der: {} for der in ders} | {der: dict(facts) for der, facts in known}


def name_of(facts: Mapping[str, Any]) -> str:
    """Of a certificate's subject, for people."""
    parts = [(key, str(value)) for part in facts.get("subject", ()) for key, value in part]
    common = [value for key, value in parts if key == "commonName"]
    return ", ".join(common or [value for _, value in parts]) or "no name"


def _pem(ders: Iterable[bytes]) -> bytes:
    return "".join(map(ssl.DER_cert_to_PEM_cert, ders)).encode()


def _what_it_is(data: bytes, others: list[str]) -> str:
    if others:
        return f"holds {', '.join(sorted(set(others)))} and no certificate"
    if not data.strip():
        return "is empty"
    if data.lstrip()[:1] == b"<":
        return "is a web page and holds no certificate"
    if b"-----BEGIN" in data:
        return "is cut off: it begins with a certificate that does not end"
    return "holds no certificate, in PEM or DER form or as PKCS#7"
