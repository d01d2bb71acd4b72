"""A proxy that knows HTTP/2's frames: it refuses calls in the ways that say "not processed", or swallows their answers.

The server is told to use no dynamic header table, so that a HEADERS frame can be left out without harm.
"""

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from enum import Enum

_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY, _CONTINUATION = 0, 1, 3, 4, 7, 9
_PREFACE = 24
_END_STREAM = 1
REFUSED_STREAM, PROTOCOL_ERROR, INTERNAL_ERROR = 7, 1, 2


class Verdict(Enum):
    """What becomes of a call."""

    PASS = "forwarded"
    GOAWAY = "the connection ends with a GOAWAY that names the call before as the last"
    REFUSE = "its stream is reset with REFUSED_STREAM"
    LOSE = "forwarded, and the connection cut at the answer"
    LOSE_AFTER_GOAWAY = "forwarded, and the connection ended at the answer with a GOAWAY that names the call"


Judge = Callable[[bytes], Verdict]
"""From a call's header block to its fate."""


class FrameProxy:
    """Before a plaintext server. `judge` is asked about every call, from any thread. at_once: calls that it takes at a
    time on a connection; late: seconds after which it says so. What is beyond that is reset with this code, and
    counted."""

    def __init__(
        self,
        port: int,
        judge: Judge,
        *,
        at_once: int | None = None,
        late: float = 0.0,
        code: int = REFUSED_STREAM,
    ) -> None:
        self._to = port
        self._judge = judge
        self.at_once, self.late, self.code = at_once, late, code
        self.refused = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.connections = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> "FrameProxy":
        return self

    def __exit__(self, *_: object) -> None:
        for one in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                server = socket.create_connection(("127.0.0.1", self._to))
                self.connections += 1
                self._open += [client, server]
                pair = _Pair(client, server, self._judge, self)
                for work in (pair.upward, pair.downward):
                    threading.Thread(target=work, daemon=True).start()


class _Pair:
    def __init__(self, client: socket.socket, server: socket.socket, judge: Judge, proxy: FrameProxy) -> None:
        self._client, self._server, self._judge, self._proxy = client, server, judge, proxy
        self._running: set[int] = set()
        self._lock = threading.Lock()
        self._refused: set[int] = set()
        self._lost: set[int] = set()
        self._goaway = False
        self._last = 0

    def upward(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            self._server.sendall(_exactly(self._client, _PREFACE))
            for kind, stream, frame in _frames(self._client):
                if kind == _HEADERS and stream > self._last:
                    verdict = self._judge(frame[9:])
                    if verdict is Verdict.GOAWAY:
                        self._send(_GOAWAY, 0, struct.pack(">II", self._last, 0))
                        self._client.shutdown(socket.SHUT_WR)
                        break
                    self._last = stream
                    at_once = self._proxy.at_once
                    if at_once is not None and len(self._running) >= at_once:
                        self._proxy.refused += 1
                        verdict = Verdict.REFUSE
                    else:
                        self._running.add(stream)
                    if verdict is Verdict.REFUSE:
                        self._refused.add(stream)
                        self._send(_RST_STREAM, stream, struct.pack(">I", self._proxy.code))
                    elif verdict in (Verdict.LOSE, Verdict.LOSE_AFTER_GOAWAY):
                        self._lost.add(stream)
                        self._goaway = verdict is Verdict.LOSE_AFTER_GOAWAY
                if kind == _RST_STREAM:
                    self._running.discard(stream)
                if stream not in self._refused:
                    self._server.sendall(frame)
        self._end()

    def downward(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            settled = False
            for kind, stream, frame in _frames(self._server):
                if kind == _SETTINGS and not settled:
                    settled = True
                    # At the end, where it overrides what the server says of SETTINGS_HEADER_TABLE_SIZE.
                    payload = frame[9:] + struct.pack(">HI", 1, 0)
                    if self._proxy.at_once is not None:
                        payload += struct.pack(">HI", 3, self._proxy.at_once)
                        time.sleep(self._proxy.late)
                    self._send(_SETTINGS, 0, payload)
                    continue
                if stream in self._lost and kind in (_HEADERS, _DATA):
                    if self._goaway:
                        self._send(_GOAWAY, 0, struct.pack(">II", stream, 0))
                    break
                ended = kind in (_HEADERS, _DATA) and frame[4] & _END_STREAM
                if kind == _RST_STREAM or ended:
                    self._running.discard(stream)
                with self._lock:
                    self._client.sendall(frame)
        self._end()

    def _send(self, kind: int, stream: int, payload: bytes) -> None:
        with self._lock:
            self._client.sendall(
                struct.pack(">I", len(payload))[1:] + bytes((kind, 0)) + struct.pack(">I", stream) + payload
            )

    def _end(self) -> None:
        for one in (self._client, self._server):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


def _frames(source: socket.socket) -> Iterator[tuple[int, int, bytes]]:
    """(type, stream, whole frame) of each."""
    while True:
        head = _exactly(source, 9)
        (length,) = struct.unpack(">I", b"\0" + head[:3])
        (stream,) = struct.unpack(">I", head[5:])
        yield head[3], stream & 0x7FFFFFFF, head + _exactly(source, length)


def _exactly(source: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = source.recv(size - len(data))
        if not piece:
            raise EOFError
        data += piece
    return data
