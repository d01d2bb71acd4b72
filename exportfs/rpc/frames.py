"""Takes apart what a server sends over HTTP/2 (RFC 9113, 4.1): DATA for whoever it belongs to, pings for the
connection, all else for h2. Pure.

h2 looks at a frame of DATA for 20 microseconds when that is all that it does (16 KiB, in a loop) and copies it three
times over; here it takes one.
"""

from typing import NamedTuple, TypeAlias

from exportfs.config import KIB

FRAME = 64 * KIB
"""Bytes of the largest frame that the server may send."""
HEAD = 9
"""Bytes of a frame's head: 3 of length, type, flags, 4 of stream."""
DATA, HEADERS, RST_STREAM, PING, GOAWAY, CONTINUATION = 0, 1, 3, 6, 7, 9
END_STREAM, ACK, END_HEADERS, PADDED = 1, 1, 4, 8
_PING_HEAD, _PONG_HEAD = (bytes([0, 0, 8, PING, flags, 0, 0, 0, 0]) for flags in (0, ACK))


class Data(NamedTuple):
    """Some of a DATA frame, as much as is here."""

    stream: int
    payload: memoryview
    padding: int
    """Bytes of padding, with that of its length, which count as much as payload for windows; said with a frame's first
    piece."""
    ended: bool
    """Whether the stream ends with it."""
    more: int
    """Bytes of the frame's payload that are still to come."""


class Goodbye(NamedTuple):
    """A GOAWAY: after one, h2 would know of no stream any more."""

    last: int
    """The last stream that the server goes on with."""


class Ping(NamedTuple):
    """The server's, to be answered (`pong`), which gRPC's servers send with each block; or its answer to ours."""

    payload: bytes
    answer: bool


Piece: TypeAlias = Data | Goodbye | Ping | bytes
"""Bytes are whole frames of other kinds."""


def pong(payload: bytes) -> bytes:
    """The frame that answers a ping."""
    return _PONG_HEAD + payload


class Malformed(Exception):
    """No HTTP/2, or not what may come."""


class Frames:
    """Of one connection."""

    def __init__(self) -> None:
        self._held = b""
        """The beginning of what can only be judged as a whole."""
        self._stream = 0
        self._left = 0
        """Bytes of payload of the current DATA frame that are still to come."""
        self._skip = 0
        """And of padding after them."""
        self._ends = False
        self._within_headers = False

    def split(self, data: bytes) -> list[Piece]:
        """What has come, in its order. Raises Malformed."""
        if self._held:
            data, self._held = self._held + data, b""
        view, at, pieces = memoryview(data), 0, list[Piece]()
        while True:
            if self._left or self._skip:
                at = self._rest(view, at, pieces)
                if self._left or self._skip:
                    return pieces
            if len(data) - at < HEAD:
                break
            length = int.from_bytes(data[at : at + 3], "big")
            if length > FRAME:
                raise Malformed(f"a frame of {length} bytes")
            kind, flags = data[at + 3], data[at + 4]
            if self._within_headers and kind != CONTINUATION:
                raise Malformed("another frame within headers")
            if kind == DATA:
                begun = self._begin(data, at, length, flags, pieces)
                if not begun:
                    break
                at += begun
                continue
            end = at + HEAD + length
            if end > len(data):
                break
            # Those that are malformed are h2's to refuse.
            if kind == PING and (data.startswith(_PONG_HEAD, at) or data.startswith(_PING_HEAD, at)):
                pieces.append(Ping(data[at + HEAD : end], bool(flags)))
            elif kind == GOAWAY and length >= 8:
                pieces.append(Goodbye(int.from_bytes(data[at + HEAD : at + HEAD + 4], "big") & 0x7FFFFFFF))
            else:
                if kind in (HEADERS, CONTINUATION):
                    self._within_headers = not flags & END_HEADERS
                pieces.append(data[at:end])
            at = end
        self._held = data[at:]
        return pieces

    def _begin(self, data: bytes, at: int, length: int, flags: int, pieces: list[Piece]) -> int:
        """Takes the head of a DATA frame, with the length of its padding; gives the bytes of both, 0 where they are not
        all here."""
        stream = int.from_bytes(data[at + 5 : at + HEAD], "big") & 0x7FFFFFFF
        if not stream:
            raise Malformed("data of no stream")
        taken, padding = HEAD, 0
        if flags & PADDED:
            if not length:
                raise Malformed("a padded frame of no bytes")
            if len(data) - at <= HEAD:
                return 0
            taken, padding = HEAD + 1, data[at + HEAD]
            if padding >= length:
                raise Malformed("more padding than the frame has bytes")
        self._stream, self._ends = stream, bool(flags & END_STREAM)
        self._skip, self._left = padding, length - (taken - HEAD) - padding
        counted = taken - HEAD + padding
        if counted or not length:
            done = self._ends and not (self._left or self._skip)
            pieces.append(Data(stream, memoryview(b""), counted, done, self._left))
        return taken

    def _rest(self, view: memoryview, at: int, pieces: list[Piece]) -> int:
        """Takes what is here of the current DATA frame; gives where that ends."""
        payload = view[at : at + self._left]
        at += len(payload)
        self._left -= len(payload)
        skipped = min(self._skip, len(view) - at)
        self._skip -= skipped
        if payload or skipped:
            done = self._ends and not (self._left or self._skip)
            if payload or done:
                pieces.append(Data(self._stream, payload, 0, done, self._left))
        return at + skipped
