"""The other end of a download's connection: a server that says what its script has, cut anywhere, and no sooner than
the windows let it."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import hpack
from hyperframe.frame import DataFrame, HeadersFrame, SettingsFrame

from exportfs.config import ServerConfig
from exportfs.model import Fetch
from exportfs.rpc.framed import FramedConnection
from exportfs.rpc.frames import FRAME
from exportfs.rpc.handle import Sink
from exportfs.rpc.stream import StreamDownload
from exportfs.rpc.streams import Streams
from exportfs.rpc.threads import Threads
from exportfs.wire import service
from tests.support.fake_source import content

PREFACE = 24
CONFIG = ServerConfig("server", 1, insecure=True)


@dataclass(frozen=True)
class Say:
    """Bytes; not where more of them count than the stream's window has room for."""

    raw: bytes
    counts: int = 0


@dataclass(frozen=True)
class Data:
    """In one frame, or as many as the windows and the longest that the client takes make of it."""

    payload: bytes
    padding: int | None = None


CLOSE, STALL, AWAIT_LEAVE = "close", "stall", "until the client ends the call"
Step = Say | Data | str
Script = Callable[[int], Iterable[Step]]
"""What is said to the call of a number."""


def headers(number: int, *pairs: tuple[str, str], end: bool = False) -> Say:
    # A table of its own for each block of headers would be wrong; so none of them is put into it.
    block = b"".join(hpack.Encoder().encode([hpack.NeverIndexedHeaderTuple(*pair)]) for pair in pairs)
    flags = ["END_HEADERS", "END_STREAM"] if end else ["END_HEADERS"]
    return Say(HeadersFrame(number, block, flags=flags).serialize())


def data(number: int, payload: bytes, padding: int | None = None, *, end: bool = False) -> Say:
    frame = DataFrame(number, payload, pad_length=padding or 0)
    if padding is not None:
        frame.flags.add("PADDED")
    if end:
        frame.flags.add("END_STREAM")
    return Say(frame.serialize(), frame.flow_controlled_length)


def messages(size: int, block: int, first: int = 0) -> bytes:
    """All of a file's on the wire."""
    out = bytearray()
    for index in range(first, -(-size // block)):
        part = content("f", index * block, min(block, size - index * block))
        raw = service.FileChunk(index=index, data=part).SerializeToString()
        out += b"\0" + len(raw).to_bytes(4, "big") + raw
    return bytes(out)


class _Left(Exception):
    """The client has ended the call."""


class Peer:
    """Serves one connection in a thread. `ours` is the client's end."""

    def __init__(
        self,
        script: Script,
        pieces: tuple[int, ...] = (1 << 20,),
        tls: ssl.SSLContext | None = None,
        settings: dict[int, int] | None = None,
        *,
        late: bool = False,
    ) -> None:
        """late: the settings come after the first call has."""
        self._settings, self._late = settings or {}, late
        self.ours, self._socket = socket.socketpair()
        self._script, self._pieces, self._tls = script, pieces, tls
        self._piece = 0
        self._in = bytearray()
        self._preface = False
        self.window = 65535
        """Of the connection: bytes that it has room for, on all streams."""
        self._windows: dict[int, int] = {}
        self._calls: list[int] = []
        self._left: set[int] = set()
        self.acknowledged = False
        """Whether the client has heard of the settings."""
        self.requests: dict[int, bytes] = {}
        """What has come of each call's, with what gRPC wraps it in."""
        self.early = 0
        """Calls that had come before the settings were sent."""
        self.stalled = threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        with contextlib.suppress(OSError, EOFError):
            if self._tls is not None:
                self._socket = self._tls.wrap_socket(self._socket, server_side=True)
            while self._late and not self._calls:
                self._hear()
            self.early = len(self._calls)
            self._send(SettingsFrame(0, self._settings).serialize())
            while True:
                while not self._calls:
                    self._hear()
                number = self._calls.pop(0)
                with contextlib.suppress(_Left):
                    for step in self._script(number):
                        self._do(number, step)
        self._socket.close()

    def _do(self, number: int, step: Step) -> None:
        if isinstance(step, Say):
            if step.counts <= self._windows[number]:
                self._windows[number] -= step.counts
                self.window -= step.counts
                self._send(step.raw)
            return
        if isinstance(step, Data):
            rest = step.payload
            while rest:
                while (room := min(self._windows[number], self.window, FRAME)) <= 0:
                    self._hear()
                    if number in self._left or self._calls:
                        raise _Left
                padding = step.padding if step.padding is not None and step.padding + 1 < room else None
                size = min(len(rest), room if padding is None else room - padding - 1)
                self._do(number, data(number, rest[:size], padding))
                rest = rest[size:]
            return
        if step == AWAIT_LEAVE:
            while number not in self._left:
                self._hear()
            return
        if step == STALL:
            self.stalled.set()
            while True:
                self._hear()
        raise EOFError

    def _send(self, raw: bytes) -> None:
        while raw:
            size = self._pieces[self._piece % len(self._pieces)]
            self._piece += 1
            self._socket.sendall(raw[:size])
            raw = raw[size:]

    def _hear(self) -> None:
        got = self._socket.recv(65536)
        if not got:
            raise EOFError
        self._in += got
        if not self._preface and len(self._in) >= PREFACE:
            del self._in[:PREFACE]
            self._preface = True
        while self._preface and len(self._in) >= 9:
            length = int.from_bytes(self._in[:3], "big")
            if len(self._in) < 9 + length:
                break
            kind, flags, number = self._in[3], self._in[4], int.from_bytes(self._in[5:9], "big")
            payload = bytes(self._in[9 : 9 + length])
            del self._in[: 9 + length]
            if kind == 0:
                self.requests[number] = self.requests.get(number, b"") + payload
            elif kind == 1:
                self._calls.append(number)
                self._windows[number] = 16 * 1024 + 16
            elif kind == 4 and flags:
                self.acknowledged = True
            elif kind == 3:
                self._left.add(number)
            elif kind == 8 and number:
                self._windows[number] = self._windows.get(number, 0) + int.from_bytes(payload, "big")
            elif kind == 8:
                self.window += int.from_bytes(payload, "big")


class HalfClosed(Peer):
    """At CLOSE it says no more, and goes on hearing: what is sent to it still does not fail."""

    def _do(self, number: int, step: Step) -> None:
        if step == CLOSE:
            self._socket.shutdown(socket.SHUT_WR)
            step = STALL
        super()._do(number, step)


class Peers(Streams):
    """Connections to one such after another."""

    def __init__(
        self, make: Callable[[], Peer], *, config: ServerConfig = CONFIG, tls: ssl.SSLContext | None = None
    ) -> None:
        self.problems: list[Exception] = []
        self.made: list[Peer] = []
        self._make, self._tls = make, tls
        super().__init__(config, Threads("download", 10), lambda: True, self.problems.append)

    def encryption(self, roots: bytes | None) -> ssl.SSLContext | None:
        return self._tls

    async def connect(self) -> FramedConnection:
        self.made.append(self._make())
        return FramedConnection(self.made[-1].ours, self._config)

    def begin(self, fetch: Fetch, sink: Sink) -> StreamDownload:
        download = StreamDownload(self, fetch, sink)
        download.begin("/x", b"request", (), None)
        return download

    def close(self) -> None:
        super().close()
        self.threads.close()
