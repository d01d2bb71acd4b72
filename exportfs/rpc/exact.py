"""Exact downloads: the server sends what is wanted and nothing beyond, to the byte.

How many bytes a block takes on the wire is known before it comes (but for what a server may add, which shows in the
message's own length), so the stream's window is opened for just the blocks that are wanted, and of those only for so
many bytes as may be on their way. Of the last block of a seek only the beginning may be wanted, and then no more of it
comes. What is on its way when a download is cancelled is all that is wasted.
"""

from collections import deque

import trio

from exportfs.config import KIB
from exportfs.errors import Corrupt, ExportfsError
from exportfs.model import Fetch
from exportfs.rpc.blocks import block_of, wire_range
from exportfs.rpc.handle import Sink
from exportfs.rpc.http2 import Http2Connection
from exportfs.rpc.http2_client import WINDOW, Misunderstood
from exportfs.rpc.messages import PREFIX, Messages
from exportfs.rpc.wire_format import MalformedMessage, file_chunk_head

HEAD = 32
"""Bytes of a message within which its block's number and length are told."""
LUMP = 16
"""Windows are opened in pieces of no less than this part of what may be on its way."""
SHORT = KIB
"""Bytes that are not left for another round trip, though there is no room for them on the way: what 128 KiB in blocks
of 16 are wrapped in once delayed the last of them by 40 ms."""


class ExactDownload:
    """One running call. All in trio's thread; the sink is called from where the connection is read."""

    def __init__(self, connection: Http2Connection, fetch: Fetch, sink: Sink) -> None:
        self._connection = connection
        self._line = connection.line
        self._fetch = fetch
        self._sink = sink
        self._until = fetch.until
        self._number: int | None = None
        self._most = WINDOW
        self._received = 0
        self._granted = 0
        self._grants: deque[tuple[int, float, bool]] = deque()
        """Offsets in the stream from which on it was let send, when, and whether more was wanted."""
        self._messages = Messages()
        self._next = fetch.first
        self._over = False
        self._part = self._wanted_of_last()
        """Bytes of data that are wanted of the last block; None where that is all of it."""

    def allow(self, until: int) -> None:
        if until > self._until:
            self._until = until
            self._grant()

    def window(self, amount: int) -> None:
        self._most = amount
        self._grant()

    def cancel(self) -> None:
        if not self._over:
            self._finish()
            self._connection.cancel(self, self._number)

    def suspect(self) -> None:
        """Nothing moves: the next download gets a new connection."""
        self._connection.suspect()

    def opened(self, number: int) -> None:
        self._number = number
        now = trio.current_time()
        self._granted = WINDOW
        self._line.granted(now, WINDOW)
        self._grant()

    def data(self, data: memoryview, more: int = 0) -> None:
        if self._over:
            return
        if len(data) + more > self._granted - self._received:
            raise Misunderstood("HTTP/2: more data than the stream's window lets through")
        now = trio.current_time()
        self._received += len(data)
        self._line.arrived(now, len(data))
        # To its first bytes: the time that its own bytes take on the line does not count.
        while self._grants and self._grants[0][0] < self._received:
            _, granted_at, limited = self._grants.popleft()
            self._line.delayed(now, now - granted_at, limited=limited)
        try:
            while data and not self._over:
                room = self._messages.room(len(data))
                room[:] = data[: len(room)]
                data = data[len(room) :]
                message = self._messages.filled(len(room))
                if message is not None:
                    self._take(message)
            if not self._over:
                self._take_part()
        except Corrupt as error:
            self._fail(error)
        self._grant()

    def ended(self, error: ExportfsError | None) -> None:
        if not self._over:
            if error is None and self._messages.within:
                error = Corrupt("the download ended within a block")
            self._finish()
            self._sink.ended(error)

    def _take(self, message: bytearray) -> None:
        index, data = block_of(message)
        if data:  # some servers begin or end a file with an empty block
            self._next += 1
        self._sink.block(index, data)
        if self._fetch.stop and self._next >= self._until and not self._over:
            self.cancel()
            self._sink.ended(None)

    def _take_part(self) -> None:
        """Takes the beginning of the last block, where that is all that is wanted of it and there."""
        messages, last = self._messages, self._next == self._until - 1
        # What is on its way already may as well come whole.
        if (
            self._part is None
            or not last
            or messages.length is None
            or self._granted >= messages.base + PREFIX + messages.length
        ):
            return
        beginning = bytes(messages.beginning[:HEAD])
        try:
            head = file_chunk_head(memoryview(beginning))
        except MalformedMessage as error:
            raise Corrupt(f"a block cannot be read: {error}") from None
        if head is None or head[0] != self._next or head[2] + head[1] != messages.length:
            if len(beginning) == HEAD:
                self._part = None  # not as it was expected: whoever judges it gets all of it
            return
        index, whole, start = head
        if messages.here < start + self._part:
            return
        self._sink.block(index, memoryview(bytes(messages.beginning[start:])), whole)
        if not self._over:
            self.cancel()
            self._sink.ended(None)

    def _wanted_of_last(self) -> int | None:
        fetch, last = self._fetch, self._fetch.until - 1
        # The first block comes with the call, and only with the end of the stream is the file's last one complete.
        if (
            not fetch.stop
            or fetch.end is None
            or last <= fetch.first
            or fetch.until * fetch.chunk_size >= fetch.size
        ):
            return None
        part = max(fetch.end - last * fetch.chunk_size, HEAD)
        return part if part < fetch.chunk_size else None

    def _fail(self, error: ExportfsError) -> None:
        self.cancel()
        self._sink.ended(error)

    def _finish(self) -> None:
        self._over = True
        if self._number is not None:
            self._line.dropped(self._granted - self._received)

    def _wanted(self) -> int:
        """Offset in the stream up to which it is to be sent."""
        fetch, messages = self._fetch, self._messages
        size = wire_range(self._next, self._until, fetch.chunk_size, fetch.size, messages.length)
        if self._part is not None and self._next < self._until:
            size -= fetch.chunk_size - self._part
        return messages.base + size

    def _grant(self) -> None:
        if self._number is None or self._over:
            return
        wanted, most = self._wanted(), self._received + self._most
        target = wanted if wanted - most < SHORT else most
        amount = target - self._granted
        if amount <= 0 or (
            target < wanted and amount < max(self._most // LUMP, min(self._most // 4, WINDOW))
        ):
            return
        now = trio.current_time()
        # Before anything has come, what is measured has the server's own time in it, too.
        if self._received:
            self._grants.append((self._granted, now, target < wanted))
        self._granted = target
        self._line.granted(now, amount)
        self._connection.window(self._number, amount)
