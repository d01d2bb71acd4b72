"""What all connections of HTTP/2 for downloads have in common: how they begin, what a call says of itself, and what
makes them of no use. Their windows are opened for what is wanted, so that they begin small."""

import contextlib
import logging
import math
import socket
import ssl
import sys

import h2.config
import h2.connection
import h2.exceptions
import h2.settings
import trio
from h2.errors import ErrorCodes

import exportfs
from exportfs.config import KIB, ServerConfig
from exportfs.errors import Interrupted, Unreachable
from exportfs.rpc import quiet
from exportfs.rpc.channel import METADATA, Metadata
from exportfs.rpc.frames import HEAD, RST_STREAM
from exportfs.rpc.tls import context

# At level debug it logs every header, the token among them.
logging.getLogger("hpack").setLevel(logging.WARNING)

WINDOW = 16 * KIB + 16
"""Bytes that a stream may send from its start: a block of 16 KiB and what it is wrapped in."""
TCPI_LAST_ACK_RECV, TCPI_RTT = slice(56, 60), slice(68, 72)
"""Of struct tcp_info (linux/tcp.h), in milliseconds and microseconds."""
CONNECTION_WINDOW = (1 << 31) - 1
"""Bytes of the connection's window, which bounds nothing: the streams' windows do."""
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_STREAM_CLOSED = ErrorCodes.STREAM_CLOSED.to_bytes(4, "big")
CONNECT_SECONDS = 15.0
"""For TCP and TLS, as for gRPC's connections."""


class Unusable(Exception):
    """No exact downloads with this server: its certificate, or what it speaks, is nothing that `ssl` or `h2` take."""


class Misunderstood(Unusable):
    """What came on this connection was nothing that we understand, though gRPC may; the next may do better."""


class NoExact(Interrupted):
    """What the calls on an unusable connection end with: nothing of them was sent."""


def new_connection(window: int, frame: int) -> h2.connection.H2Connection:
    """One that has sent what a client begins with. window: bytes that each stream may send from its start; frame: of
    the largest frame that the server may send."""
    http2 = h2.connection.H2Connection(
        h2.config.H2Configuration(
            client_side=True,
            header_encoding=None,
            # gRPC takes headers that h2 would end the connection for: `connection`, capitals, a space at the end.
            validate_inbound_headers=False,
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
    )
    settings = h2.settings.SettingCodes
    http2.local_settings = h2.settings.Settings(
        client=True,
        initial_values={
            settings.ENABLE_PUSH: 0,
            settings.INITIAL_WINDOW_SIZE: window,
            settings.MAX_FRAME_SIZE: frame,
            settings.MAX_HEADER_LIST_SIZE: METADATA,
        },
    )
    http2.decoder.max_header_list_size = METADATA
    http2.max_inbound_frame_size = frame
    http2.initiate_connection()
    http2.increment_flow_control_window(CONNECTION_WINDOW - 65535)
    return http2


def to_send(http2: h2.connection.H2Connection) -> bytes:
    """What `h2` has to say, but for what it says to each frame that still comes of a call that was cancelled: another
    reset. After a jump these are hundreds, and servers that count resets end the connection (nghttp2's at 1,000)."""
    data: bytes = http2.data_to_send()
    at = len(PREFACE) if data.startswith(PREFACE) else 0
    kept = [data[:at]]
    while at < len(data):
        end = at + HEAD + int.from_bytes(data[at : at + 3], "big")
        if data[at + 3] != RST_STREAM or data[at + HEAD : end] != _STREAM_CLOSED:
            kept.append(data[at:end])
        at = end
    return b"".join(kept)


def call_headers(config: ServerConfig, method: str, metadata: Metadata) -> list[tuple[bytes, bytes]]:
    """Of a call, as gRPC makes it."""
    authority = config.tls_server_name or config.address
    return [
        (b":method", b"POST"),
        (b":scheme", b"http" if config.insecure else b"https"),
        (b":path", method.encode()),
        (b":authority", authority.encode()),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"user-agent", b"axxon-exportfs/" + exportfs.__version__.encode()),
        (b"grpc-accept-encoding", b"identity"),
        *((name.lower().encode(), value.encode()) for name, value in metadata),
    ]


def handshake_failure(error: ssl.SSLError) -> Unusable | Unreachable:
    """What a handshake failed with. One that the other side only ended says nothing of its TLS: so do those that are
    being restarted, and proxies that do not reach the server behind them."""
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError | ssl.SSLSyscallError):
        return Unreachable("the server cannot be reached: the TLS handshake broke off")
    return Unusable(f"TLS: {error}")


def say(http2: h2.connection.H2Connection, number: int, data: bytes) -> bytes:
    """As much of a request as the server's windows let go; gives the rest."""
    with contextlib.suppress(h2.exceptions.StreamClosedError):  # it was answered before it was heard
        while data:
            room = min(http2.local_flow_control_window(number), http2.max_outbound_frame_size)
            if room <= 0:
                return data
            piece, data = data[:room], data[room:]
            http2.send_data(number, piece, end_stream=not data)
    return b""


async def connected(config: ServerConfig) -> trio.SocketStream:
    """Over TCP. Raises Unreachable."""
    try:
        tcp = await trio.open_tcp_stream(config.host, config.port)
    except OSError as error:
        raise Unreachable(f"the server cannot be reached: {error}") from None
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(quiet.UNHEARD * 1000))
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, int(quiet.PROBED_AFTER))
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, int(quiet.UNHEARD))
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return tcp


def round_trip_of(tcp: trio.SocketStream) -> float:
    """Seconds of its handshake, which the kernels at both ends make, however busy the machines are; 0 where that is not
    told. Behind a tunnel it is only the way to that."""
    return (_told(tcp, TCPI_RTT) or 0) / 1e6


def acknowledged(tcp: trio.SocketStream) -> float:
    """Seconds since the other end's kernel last acknowledged something, a probe included; infinite where that is not
    told."""
    milliseconds = _told(tcp, TCPI_LAST_ACK_RECV)
    return math.inf if milliseconds is None else milliseconds / 1e3


def _told(tcp: trio.SocketStream, field: slice) -> int | None:
    try:
        told = tcp.socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, field.stop)
    except OSError:
        return None
    return int.from_bytes(told[field], sys.byteorder) if len(told) >= field.stop else None


def name_for_tls(config: ServerConfig) -> str | bytes:
    """To be looked for in the server's certificate. Bytes where they are ASCII: a text is held to the rules of DNS, and
    labels of 64 characters, as common names may have, are against them. (Trio does so by itself.)"""
    name = config.tls_server_name or config.host
    return name.encode() if name.isascii() else name


async def encrypted(config: ServerConfig, tcp: trio.abc.Stream, roots: bytes | None) -> trio.abc.Stream:
    """TLS over it. `roots`: the authorities in PEM, None for the system's. Raises Unusable and Unreachable."""
    try:
        tls = trio.SSLStream(
            tcp,
            context(roots),
            server_hostname=name_for_tls(config),
            https_compatible=True,
        )
    except (ssl.SSLError, ValueError) as error:  # ValueError: a name that is none
        raise Unusable(f"TLS: {error}") from None
    try:
        await tls.do_handshake()
    except trio.BrokenResourceError as error:
        if isinstance(error.__cause__, ssl.SSLError):
            raise handshake_failure(error.__cause__) from None
        raise Unreachable("the server cannot be reached: the TLS handshake broke off") from None
    if tls.selected_alpn_protocol() != "h2":
        raise Unusable("TLS: the server does not offer HTTP/2")
    return tls
