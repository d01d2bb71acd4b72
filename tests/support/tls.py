"""Encryption between a test's two ends."""

import ssl
from dataclasses import dataclass
from pathlib import Path

from exportfs.rpc.tls import context
from exportfs.simulator import make_certificates


@dataclass(frozen=True)
class Ends:
    """`roots`: what the client trusts, in PEM."""

    roots: bytes
    client: ssl.SSLContext
    server: ssl.SSLContext


def ends(folder: Path, name: str = "server") -> Ends:
    """Of HTTP/2 with a server of that name; its certificates are put into the folder."""
    made = make_certificates(folder, name)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(made.certificate_file, made.key_file)
    server.set_alpn_protocols(["h2"])
    roots = made.ca_file.read_bytes()
    return Ends(roots, context(roots), server)
