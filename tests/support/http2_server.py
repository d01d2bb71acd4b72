"""A server of DownloadFile in plain HTTP/2, for what gRPC's own servers do not do."""

import contextlib
import gzip
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import h2.config
import h2.connection
import h2.errors
import h2.events
import h2.exceptions
import h2.settings
import hpack
from hyperframe.frame import GoAwayFrame

from exportfs.wire import service
from tests.support.fake_source import content


@dataclass
class Http2Server:
    """Serves every file as `size` bytes of its content. One thread a connection; use as a context."""

    size: int
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """More of them in each answer."""
    huffman: bool = True
    """Whether their texts are coded shorter; h2 takes a second for what is large."""
    compress: bool = False
    """Blocks are compressed with gzip, whatever the client takes."""
    window: int | None = None
    """Bytes that a request may have unasked; what it has is given back as it comes, and so many more."""
    garbage_after: int | None = None
    """Blocks after which, in each download of the first connections, comes what is no HTTP/2."""
    garbage_on: int = 0
    """Connections that this happens on; each of these takes one download."""
    padding: int | None = None
    """Bytes with which each frame of a block is made longer."""
    frame: int = 16384
    """Bytes of the largest frame that it sends."""
    cut_at: int | None = None
    """Blocks after which an answer ends in the middle of the next, as a success."""
    reset_at: int | None = None
    """Blocks after which the server resets the stream."""
    goodbye_at: int | None = None
    """Blocks after which the server says that it takes no new calls."""
    page: bytes | None = None
    """What each call is answered with, as a proxy answers that does not reach its server."""
    mute: bool = False
    """Calls get no answer."""
    pings_unpunished: int | None = None
    """Pings without an answer of ours in between; at the next one the connection ends, as of a gRPC server."""
    resets: int = 0
    """Frames that reset a call, in all."""
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    def __enter__(self) -> "Http2Server":
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open = [self._listener]
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._accepting.join()  # whose last one is to be closed, too
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client = self._listener.accept()[0]
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._open.append(client)
                self.connections += 1
                threading.Thread(target=_Connection(self, client, self.connections).run, daemon=True).start()


class _Plain(hpack.Encoder):
    def encode(self, headers: Iterable[Any], huffman: bool = False) -> bytes:
        return super().encode(headers, huffman)


class _Counting(h2.connection.H2Connection):
    """Tells of each reset; h2 itself only of the first one of a call."""

    def __init__(self, server: Http2Server, config: h2.config.H2Configuration) -> None:
        super().__init__(config)
        self._server = server

    def _receive_rst_stream_frame(self, frame: Any) -> Any:
        self._server.resets += 1
        return super()._receive_rst_stream_frame(frame)


class _Connection:
    def __init__(self, server: Http2Server, client: socket.socket, number: int) -> None:
        self._server, self._client, self._number = server, client, number
        self._http2 = _Counting(
            server,
            h2.config.H2Configuration(
                client_side=False, validate_outbound_headers=False, normalize_outbound_headers=False
            ),
        )
        if not server.huffman:
            self._http2.encoder = _Plain()
        self._pings = 0
        self._left = False
        self._bodies: dict[int, bytes] = {}
        self._answers: dict[int, tuple[service.DownloadFileRequest, int, bytes]] = {}
        """Of each call: what it asks for, the next block, and bytes of it that no window took yet."""

    def run(self) -> None:
        with contextlib.suppress(OSError, h2.exceptions.ProtocolError):
            self._http2.initiate_connection()
            if self._server.window is not None:
                # In force once the client has heard of it.
                self._http2.update_settings(
                    {h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: self._server.window}
                )
            self._flush()
            while data := self._client.recv(65536):
                for event in self._http2.receive_data(data):
                    self._event(event)
                for number in list(self._answers):
                    self._send(number)
                self._flush()

    def _event(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.RequestReceived):
            self._bodies[event.stream_id] = b""
        elif isinstance(event, h2.events.DataReceived):
            self._bodies[event.stream_id] += event.data
            if event.flow_controlled_length and event.stream_ended is None:
                self._http2.increment_flow_control_window(event.flow_controlled_length, event.stream_id)
                self._http2.increment_flow_control_window(event.flow_controlled_length)
        elif isinstance(event, h2.events.PingReceived):
            self._pings += 1
            if self._server.pings_unpunished is not None and self._pings > self._server.pings_unpunished:
                self._http2.close_connection(h2.errors.ErrorCodes.ENHANCE_YOUR_CALM, b"too_many_pings", 0)
                self._flush()
                raise ConnectionError("enough")
        elif isinstance(event, h2.events.StreamReset):
            self._answers.pop(event.stream_id, None)
        elif isinstance(event, h2.events.StreamEnded):
            body = self._bodies.pop(event.stream_id)
            self._server.requests.append(body)
            if self._server.mute:
                return
            self._pings = 0
            if self._server.page is not None:
                self._http2.send_headers(
                    event.stream_id, [(b":status", b"502"), (b"content-type", b"text/html")]
                )
                self._http2.send_data(event.stream_id, self._server.page[: 16 * 1024])
                return
            asked = service.DownloadFileRequest.FromString(body[5:])
            encoding = ((b"grpc-encoding", b"gzip"),) if self._server.compress else ()
            self._http2.send_headers(
                event.stream_id,
                [
                    (b":status", b"200"),
                    (b"content-type", b"application/grpc"),
                    *encoding,
                    *self._server.headers,
                ],
            )
            self._answers[event.stream_id] = (asked, asked.start_from_chunk_index, b"")

    def _send(self, number: int) -> None:
        """As much of an answer as its window takes."""
        asked, index, rest = self._answers[number]
        block, size = asked.chunk_size_kb * 1024, self._server.size
        while True:
            if not rest and index * block < size:
                limit = self._server.garbage_after
                if limit is not None and index == limit and self._number <= self._server.garbage_on:
                    self._flush()
                    self._client.sendall(b"\0\0\4\0\0\0\0\0\0oops")  # DATA of no stream
                    raise ConnectionError("enough")
                data = content(asked.file_path, index * block, min(block, size - index * block))
                if index == self._server.reset_at:
                    self._http2.reset_stream(number, h2.errors.ErrorCodes.REFUSED_STREAM)
                    del self._answers[number]
                    return
                if index == self._server.goodbye_at and not self._left:
                    self._left = True
                    self._flush()
                    goodbye = GoAwayFrame(last_stream_id=number)
                    self._client.sendall(goodbye.serialize())
                chunk = service.FileChunk(index=index, data=data).SerializeToString()
                if self._server.compress:
                    chunk = gzip.compress(chunk)
                rest = bytes((self._server.compress,)) + len(chunk).to_bytes(4, "big") + chunk
                if index == self._server.cut_at:
                    rest, size = rest[: len(rest) // 2], 0
                index += 1
            if not rest:
                self._http2.send_headers(number, [(b"grpc-status", b"0")], end_stream=True)
                del self._answers[number]
                return
            room = min(self._http2.local_flow_control_window(number), self._http2.max_outbound_frame_size)
            padding = self._server.padding
            if padding is not None and room > padding + 1:
                room -= padding + 1
            else:
                padding = None
            room = min(room, self._server.frame, len(rest))
            if room <= 0:
                self._answers[number] = (asked, index, rest)
                return
            self._http2.send_data(number, rest[:room], pad_length=padding)
            rest = rest[room:]

    def _flush(self) -> None:
        self._client.sendall(self._http2.data_to_send())
