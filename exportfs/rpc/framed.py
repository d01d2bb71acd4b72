"""A connection of HTTP/2 that one thread uses at a time, for downloads that are worth one.

`h2` copies what it is given three times over and looks at each frame in Python, gRPC's library copies each block while
it holds the interpreter's lock: 0.8 CPU seconds a GiB. Here the payload of DATA frames goes from the socket to where it
belongs, 0.2 CPU seconds a GiB, most of them without the lock. All other frames (headers, settings, pings, resets) are
`h2`'s; of DATA it hears nothing, so windows are accounted for by who takes the data.
"""

import contextlib
import os
import select
import socket
import ssl
import threading

import h2.connection
import h2.events
import h2.exceptions
from h2.errors import ErrorCodes
from hyperframe.frame import WindowUpdateFrame

from exportfs.config import KIB, MIB, ServerConfig
from exportfs.errors import Unreachable
from exportfs.rpc.channel import Metadata
from exportfs.rpc.frames import DATA, GOAWAY, HEAD
from exportfs.rpc.http2_client import (
    CONNECT_SECONDS,
    CONNECTION_WINDOW,
    WINDOW,
    Misunderstood,
    Unusable,
    call_headers,
    handshake_failure,
    name_for_tls,
    new_connection,
    say,
    to_send,
)

FRAME = MIB
"""Bytes of the largest frame that the server may send: the fewer, the cheaper. Headers come in one, too."""
MOST_BETWEEN = 16 * KIB
"""Bytes that a server may send between two calls."""


class Waker:
    """Wakes a thread that waits for a connection. From any thread, also when nobody waits any more."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.descriptor = -1  # none where none can be had
        self.descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def wake(self) -> None:
        with self._lock:
            if self.descriptor >= 0:
                os.eventfd_write(self.descriptor, 1)

    def hear(self) -> None:
        """What woke it counts no more."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.descriptor)

    def close(self) -> None:
        with self._lock:
            descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()


class Head:
    """Of a frame."""

    __slots__ = ("flags", "kind", "length", "raw", "stream")

    def __init__(self, raw: bytearray) -> None:
        self.raw = raw
        self.length = int.from_bytes(raw[:3], "big")
        self.kind, self.flags = raw[3], raw[4]
        self.stream = int.from_bytes(raw[5:9], "big") & 0x7FFFFFFF


class FramedConnection:
    """Over a connected TCP socket. All but `shut` is for the thread that uses it; OSError where the connection breaks,
    Unreachable where the server has closed it, Misunderstood where what it says is no HTTP/2."""

    def __init__(self, tcp: socket.socket, config: ServerConfig) -> None:
        tcp.setblocking(True)
        self._socket = tcp
        self._config = config
        self._http2: h2.connection.H2Connection | None = None
        self._consumed = 0
        self._discard = bytearray(16 * KIB)
        self._ahead = b""
        """The beginning of a frame, where TLS had to be asked whether there is one."""
        self.usable = True
        """Whether another call may be made on it."""
        self.idle_since = 0.0

    def begin(self, context: ssl.SSLContext | None) -> None:
        """Makes it one of HTTP/2, encrypted where there is a `context`; once. Raises Unusable."""
        if self._http2 is not None:
            return
        if context is not None:
            self._encrypt(context)
        self._http2 = new_connection(WINDOW, FRAME)

    def _encrypt(self, context: ssl.SSLContext) -> None:
        self._socket.settimeout(CONNECT_SECONDS)
        name = name_for_tls(self._config)
        try:
            encrypted = context.wrap_socket(self._socket, server_hostname=name, do_handshake_on_connect=False)
            self._socket = encrypted
            if not self.usable:  # `shut` may have come before there was this socket to shut
                raise Unreachable("the connection was closed")
            encrypted.do_handshake()
        except ssl.SSLError as error:
            raise handshake_failure(error) from None
        except ValueError as error:  # a name that is none
            raise Unusable(f"TLS: {error}") from None
        except TimeoutError:
            raise Unreachable("the server cannot be reached: no TLS handshake within 15 s") from None
        if encrypted.selected_alpn_protocol() != "h2":
            raise Unusable("TLS: the server does not offer HTTP/2")
        self._socket.settimeout(None)

    @property
    def http2(self) -> h2.connection.H2Connection:
        assert self._http2 is not None
        return self._http2

    def call(self, method: str, metadata: Metadata) -> int:
        """Begins one; gives its stream's number. What it says is sent by `say` and `flush`. Raises Misunderstood where
        none can be made, as beyond the server's limit."""
        try:
            number = self.http2.get_next_available_stream_id()
            self.http2.send_headers(number, call_headers(self._config, method, metadata))
        except h2.exceptions.ProtocolError as error:
            raise Misunderstood(f"HTTP/2: {error}") from None
        return number

    def say(self, number: int, data: bytes) -> bytes:
        """As much of a request as the server's windows let go; gives the rest."""
        return say(self.http2, number, data)

    def window(self, number: int, amount: int) -> bytes:
        """What lets the server send so many bytes more of a stream."""
        frame: bytes = WindowUpdateFrame(number, window_increment=amount).serialize()
        return frame

    def reset(self, number: int) -> None:
        """Ends a call that the server goes on with."""
        with contextlib.suppress(h2.exceptions.ProtocolError):
            self.http2.reset_stream(number, ErrorCodes.CANCEL)

    def flush(self, more: bytes = b"") -> None:
        """Sends what there is to be sent, and that."""
        data = to_send(self.http2) + more
        if data:
            self._socket.sendall(data)

    def wait(self, waker: Waker) -> bool:
        """Until the server has sent something; False where it was woken."""
        poll = select.poll()
        poll.register(self._socket.fileno(), select.POLLIN)
        poll.register(waker.descriptor, select.POLLIN)
        while not self._decrypted():
            found = dict(poll.poll())
            if waker.descriptor in found:
                waker.hear()
                return False
            if not isinstance(self._socket, ssl.SSLSocket):
                return True
        return True

    def _decrypted(self) -> bool:
        """Whether TLS has something for us, or the connection's end. What has come may be TLS's own, such as another
        ticket, or part of a record: who went to read it would hear nothing else until the server says more."""
        encrypted = self._socket
        if not isinstance(encrypted, ssl.SSLSocket) or self._ahead:
            return bool(self._ahead)
        encrypted.settimeout(0)
        try:
            self._ahead = encrypted.recv(HEAD)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        finally:
            encrypted.settimeout(None)
        return True

    def settled(self) -> bool:
        """Whether another call may be made on it. Takes what the server has sent since the last one, as of gRPC's in
        C++ the trailers of what was cancelled; without waiting: what has come in part does not count."""
        try:
            raw = self._ahead + self._here()
            self._ahead = b""
            while len(raw) >= HEAD:
                head = Head(bytearray(raw[:HEAD]))
                end = HEAD + head.length
                if head.kind == GOAWAY or end > len(raw) or (head.kind == DATA and head.length):
                    return False
                if head.kind != DATA:
                    self.http2.receive_data(raw[:end])
                raw = raw[end:]
        except (OSError, Unreachable, h2.exceptions.ProtocolError):
            return False
        return self.usable and not raw

    def _here(self) -> bytes:
        """What can be read at once. Raises Unreachable at the connection's end."""
        data = b""
        self._socket.settimeout(0)
        try:
            while len(data) < MOST_BETWEEN:  # TLS gives one record at a time
                more = self._socket.recv(MOST_BETWEEN)
                if not more:
                    raise Unreachable("the server cannot be reached: it closed the connection")
                data += more
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        finally:
            self._socket.settimeout(None)
        return data

    def head(self) -> Head:
        """The next frame's."""
        raw = bytearray(HEAD)
        ahead, self._ahead = self._ahead, b""
        raw[: len(ahead)] = ahead
        self.exactly(memoryview(raw)[len(ahead) :])
        head = Head(raw)
        if head.length > FRAME:
            raise Misunderstood(f"HTTP/2: a frame of {head.length} bytes")
        if head.kind == DATA and not head.stream:
            raise Misunderstood("HTTP/2: data of no stream")
        return head

    def some(self, view: memoryview) -> int:
        """The number of bytes that were read into it."""
        count = self._socket.recv_into(view)
        if not count:
            raise Unreachable("the server cannot be reached: it closed the connection")
        return count

    def exactly(self, view: memoryview) -> None:
        while view:
            view = view[self.some(view) :]

    def skip(self, length: int) -> None:
        """Reads so many bytes that nobody wants."""
        while length:
            length -= self.some(memoryview(self._discard)[:length])

    def consumed(self, amount: int) -> None:
        """So many bytes of DATA have been read: the connection's own window bounds nothing."""
        self._consumed += amount
        if self._consumed > CONNECTION_WINDOW // 4:
            self._socket.sendall(self.window(0, self._consumed))
            self._consumed = 0

    def events(self, head: Head) -> tuple[list[h2.events.Event], int | None]:
        """What a frame other than DATA says, and the last stream that a GOAWAY names; answers it where it has to be."""
        payload = bytearray(head.length)
        self.exactly(memoryview(payload))
        if head.kind == GOAWAY and head.length >= 8:
            # After one h2 would know of no stream any more, but those up to this go on (RFC 9113, 6.8).
            self.usable = False
            return [], int.from_bytes(payload[:4], "big") & 0x7FFFFFFF
        try:
            events = self.http2.receive_data(bytes(head.raw + payload))
        except h2.exceptions.ProtocolError as error:
            raise Misunderstood(f"HTTP/2: {error}") from None
        self.flush()
        return events, None

    def shut(self) -> None:
        """Ends what the thread does with it; from any thread."""
        self.usable = False
        with contextlib.suppress(OSError):
            # SSLSocket's own would take away what the thread still reads from.
            socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def close(self) -> None:
        self.usable = False
        with contextlib.suppress(OSError):
            self._socket.close()

    def __del__(self) -> None:  # the mount's end may come before its thread's
        self.close()
