"""Downloads with a connection and a thread of their own: for much at a time, and where the line is fast.

As to the byte as exact downloads (`rpc.exact`): the stream's window is opened for the blocks that are wanted, and of
those for as many bytes as may be on their way. The thread reads them from the socket into the block that they belong to
(`rpc.framed`), and hands them over to trio.
"""

import logging
import ssl
import threading
from collections.abc import Callable
from functools import partial

import h2.events

from exportfs.config import STREAMS_WINDOW, STREAMS_WINDOW_NEAR
from exportfs.errors import Corrupt, ExportfsError, Interrupted, Unreachable
from exportfs.model import Fetch
from exportfs.rpc.answer import Answer, reset
from exportfs.rpc.blocks import block_of, wire_range
from exportfs.rpc.channel import Metadata
from exportfs.rpc.framed import FramedConnection, Head, Waker
from exportfs.rpc.frames import DATA, END_STREAM, PADDED
from exportfs.rpc.handle import Sink
from exportfs.rpc.handover import HandOver
from exportfs.rpc.http2_client import WINDOW, Misunderstood, NoExact, Unusable
from exportfs.rpc.messages import Messages
from exportfs.rpc.streams import Streams

log = logging.getLogger(__name__)

LUMP = 4
"""Windows are opened in pieces of no less than this part of what may be on its way."""


class StreamDownload:
    """One call. `begin`, `allow`, `cancel` and `suspect` in trio's thread."""

    def __init__(self, streams: Streams, fetch: Fetch, sink: Sink) -> None:
        self._streams = streams
        self._fetch = fetch
        self._hand_over = HandOver(sink)
        self._until = fetch.until
        self._window = STREAMS_WINDOW_NEAR if streams.near() else STREAMS_WINDOW
        self._waker = Waker()
        self._connection: FramedConnection | None = None
        self._number = 0
        self._answer = Answer(())
        self._cancelled = False
        self._suspect = False
        self._turn = threading.Lock()
        self._engaged = False
        """Whether the thread takes a frame though the server may send no more of the call; guarded by `_turn`."""
        # In the thread.
        self._unsaid = b""
        self._next = fetch.first
        self._messages = Messages()
        self._received = 0
        """Bytes of messages."""
        self._granted = 0

    def begin(self, method: str, request: bytes, metadata: Metadata, roots: bytes | None) -> None:
        """Makes the call, as soon as there is a connection."""
        try:
            encryption = self._streams.encryption(roots)
        except Unusable as error:
            self._over(error)
            return
        self._answer = Answer(metadata)
        ask = partial(self._ask, method, b"\0" + len(request).to_bytes(4, "big") + request, metadata)
        while (connection := self._streams.idle()) is not None:
            try:
                ask(connection)  # at once: the server is at work while the thread wakes up
            except (OSError, Unusable):
                connection.close()
                continue
            self._connection = connection
            self._start(partial(self._work, lambda: None))
            return
        if self._streams.nursery is not None:
            self._streams.nursery.start_soon(self._connect, encryption, ask)
        else:
            self._over(NoExact("no connection can be made"))

    async def _connect(
        self, encryption: ssl.SSLContext | None, ask: Callable[[FramedConnection], None]
    ) -> None:
        def begin() -> None:
            connection.begin(encryption)
            if not self._cancelled:
                ask(connection)

        try:
            self._connection = connection = await self._streams.connect()
        except ExportfsError as error:
            self._over(error)
            return
        except Exception as error:
            log.exception("a connection for a download failed")
            self._over(Interrupted(f"the download failed: {type(error).__name__}: {error}"))
            return
        self._start(partial(self._work, begin))

    def _start(self, work: Callable[[], None]) -> None:
        error: ExportfsError | None = None
        if not self._cancelled:
            try:
                self._streams.threads.start(work)
                return
            except RuntimeError as failure:  # no thread can be started, or the mount is ending
                error = Interrupted(f"no thread for the download: {failure}")
        # It speaks no HTTP/2 yet, or the call has been made on it.
        if self._connection is not None:
            self._connection.usable = False
        self._finished(error)

    def allow(self, until: int) -> None:
        if until > self._until:
            self._until = until
            self._waker.wake()

    def window(self, amount: int) -> None:
        """Means nothing: what is fast has a window of its own."""

    def cancel(self) -> None:
        """Ends the call; the sink hears nothing more."""
        self._hand_over.close()
        with self._turn:
            self._cancelled = True
            engaged = self._engaged
        self._waker.wake()
        # A thread that waits for what was let go hears nothing else; what is on its way is not waited for.
        if self._connection is not None and (engaged or not self._number or self._granted > self._received):
            self._connection.shut()

    def suspect(self) -> None:
        """Nothing moves: its connection is not used again."""
        self._suspect = True
        if self._connection is not None:
            self._connection.shut()

    def _over(self, error: ExportfsError | Unusable | None) -> None:
        self._waker.close()
        if isinstance(error, Unusable):
            self._streams.unusable(error)
            error = NoExact(str(error))
        self._hand_over.over(error)

    def _finished(self, error: ExportfsError | Unusable | None) -> None:
        """In trio's thread, when the connection is of no more use to it."""
        connection, self._connection = self._connection, None
        if connection is not None:
            if connection.usable and not self._suspect:
                self._streams.give_back(connection)
            else:
                connection.close()
        self._over(error)

    # --- In a thread of its own ---

    def _work(self, begin: Callable[[], None]) -> None:
        connection = self._connection
        assert connection is not None
        error: ExportfsError | Unusable | None
        try:
            begin()
            error = self._take(connection)
        except (ExportfsError, Unusable) as failure:
            connection.usable, error = False, failure
        except OSError as failure:
            connection.usable = False
            error = Unreachable(f"the server cannot be reached: the connection broke: {failure}")
        except Exception as failure:
            connection.usable = False
            error = Interrupted(f"the download failed: {type(failure).__name__}: {failure}")
        self._hand_over.soon(partial(self._finished, error))

    def _ask(self, method: str, request: bytes, metadata: Metadata, connection: FramedConnection) -> None:
        self._number = connection.call(method, metadata)
        self._unsaid = connection.say(self._number, request)
        self._granted = WINDOW
        connection.flush(self._opened(connection))

    def _take(self, connection: FramedConnection) -> ExportfsError | None:
        """Gives how it ended, with all its blocks handed over."""
        while not self._cancelled:
            if self._done:
                break
            grant = self._opened(connection)
            if grant:
                connection.flush(grant)
            if self._cancelled:
                break
            self._engaged = False
            if self._granted <= self._received and not self._something(connection):
                continue
            head = connection.head()
            if head.kind == DATA:
                if self._data(connection, head):
                    connection.usable = False  # no call ends so, and h2 has not heard that this one did
                    return self._ended() or Interrupted("the call ended without a status")
                continue
            events, last = connection.events(head)
            if last is not None and last < self._number:
                raise Unreachable("the server ends the connection")
            for event in events:
                if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
                    if event.stream_id == self._number:
                        self._answer.headers(event.headers)
                        if (refusal := self._answer.refusal()) is not None:
                            connection.usable = False  # a page for people follows
                            return refusal
                elif isinstance(event, h2.events.StreamEnded) and event.stream_id == self._number:
                    return self._ended()
                elif isinstance(event, h2.events.StreamReset) and event.stream_id == self._number:
                    connection.usable = False  # whatever it is that it takes amiss
                    return reset(event.error_code)
            if self._unsaid:
                self._unsaid = connection.say(self._number, self._unsaid)
                connection.flush()
        if self._granted > self._received or self._messages.within:
            connection.usable = False  # what is on its way would come first
        else:
            self._reset(connection)
        return None

    def _something(self, connection: FramedConnection) -> bool:
        """Waits until the server says something though it may send no more of the call, or there is more to be done."""
        if not connection.wait(self._waker):
            return False
        with self._turn:
            self._engaged = not self._cancelled
            return self._engaged

    def _reset(self, connection: FramedConnection) -> None:
        """Ends the call that has brought all that is wanted. That it has done so stays true if this is not heard."""
        connection.reset(self._number)
        try:
            connection.flush()
        except OSError:
            connection.usable = False

    @property
    def _done(self) -> bool:
        return self._fetch.stop and self._next >= self._until

    def _ended(self) -> ExportfsError | None:
        error = self._answer.error()
        if error is None and self._messages.within:
            return Corrupt("the download ended within a block")
        return error

    def _opened(self, connection: FramedConnection) -> bytes:
        """What lets the server send what is wanted, as far as that may be on its way; empty where it is enough."""
        fetch, messages = self._fetch, self._messages
        size = wire_range(self._next, self._until, fetch.chunk_size, fetch.size, messages.length)
        wanted = messages.base + size
        target = min(wanted, self._received + self._window)
        amount = target - self._granted
        if amount <= 0 or (target < wanted and amount < self._window // LUMP):
            return b""
        self._granted = target
        return connection.window(self._number, amount)

    def _data(self, connection: FramedConnection, head: Head) -> bool:
        """Takes a DATA frame; says whether it is the call's last."""
        ours = head.stream == self._number
        if ours and not self._answer.begun:
            raise Misunderstood("HTTP/2: data before the answer's headers")
        if ours and head.length > self._granted - self._received:
            raise Misunderstood("HTTP/2: more data than the stream's window lets through")
        length, padding = head.length, 0
        if head.flags & PADDED:
            if not length:
                raise Misunderstood("HTTP/2: a padded frame of no bytes")
            pad = bytearray(1)
            connection.exactly(memoryview(pad))
            length, padding = length - 1, pad[0]
            if padding > length:
                raise Misunderstood("HTTP/2: more padding than the frame has bytes")
        left = length - padding
        while ours and left and not self._cancelled:
            left -= self._some(connection, left)
        connection.skip(left + padding)
        connection.consumed(head.length)
        if ours and head.length > length - padding:
            connection.flush(connection.window(self._number, head.length - (length - padding)))
        return ours and bool(head.flags & END_STREAM)

    def _some(self, connection: FramedConnection, most: int) -> int:
        """Reads some of a message; gives the number of bytes."""
        count = connection.some(self._messages.room(most))
        self._received += count
        message = self._messages.filled(count)
        if message is not None:
            index, data = block_of(message)
            if data:  # some servers begin or end a file with an empty block
                self._next += 1
                self._hand_over.block(index, data)
        return count
