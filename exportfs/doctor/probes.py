"""Connections that are made by hand, to see what a server shows and speaks. `within`: seconds for each."""

import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from exportfs.config import ServerConfig
from exportfs.rpc.http2_client import name_for_tls

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""What an HTTP/2 client says first, with empty settings."""
_SETTINGS = 4


def _careless() -> ssl.SSLContext:
    """For looking at what a server shows; nothing is ever sent over it but a greeting."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    # Old keys and signatures are to be seen as well.
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.set_alpn_protocols(["h2"])
    return context


def connect(config: ServerConfig, within: float) -> socket.socket:
    """Raises OSError."""
    return socket.create_connection((config.host, config.port), within)


class NoName(OSError):
    """No certificate can have the name that is to be in the server's."""


@contextmanager
def handshake(config: ServerConfig, context: ssl.SSLContext, within: float) -> Iterator[ssl.SSLSocket]:
    """Raises OSError, NoName among them."""
    name = name_for_tls(config)
    try:
        context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=name)
    except ValueError as error:
        raise NoName(str(error)) from None
    with connect(config, within) as raw, context.wrap_socket(raw, server_hostname=name) as secure:
        yield secure


def greeting(config: ServerConfig, within: float) -> bytes:
    """What the server answers to the first words of HTTP/2. Raises OSError."""
    if config.insecure:
        with connect(config, within) as raw:
            raw.sendall(_PREFACE)
            return raw.recv(64)
    with handshake(config, _careless(), within) as secure:
        secure.sendall(_PREFACE)
        return secure.recv(64)


def is_settings(answer: bytes) -> bool:
    """Whether it is what a server of HTTP/2 says first."""
    return len(answer) >= 9 and answer[3] == _SETTINGS


def speaks_http2(config: ServerConfig, within: float) -> bool:
    """Without TLS."""
    try:
        with connect(config, within) as raw:
            raw.sendall(_PREFACE)
            return is_settings(raw.recv(64))
    except OSError:
        return False


def speaks_tls(config: ServerConfig, within: float) -> bool:
    """With whatever certificate."""
    try:
        with handshake(config, _careless(), within):
            return True
    except OSError:
        return False


def certificate(config: ServerConfig, within: float) -> dict[str, Any]:
    """The server's certificate, whoever signed it; empty where it cannot be fetched."""
    try:
        der = shown(config, within)
        # Python takes apart only certificates that it trusts: so this one is trusted, for this look.
        context = _careless()
        context.verify_mode = ssl.CERT_REQUIRED
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.load_verify_locations(cadata=der)
        with handshake(config, context, within) as secure:
            return dict(secure.getpeercert() or {})
    except (OSError, ValueError):
        return {}


def shown(config: ServerConfig, within: float) -> bytes:
    """The server's certificate in DER form, whoever signed it. Raises OSError."""
    with handshake(config, _careless(), within) as secure:
        return secure.getpeercert(binary_form=True) or b""
