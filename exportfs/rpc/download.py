"""Running DownloadFile calls: a thread takes the blocks from gRPC and hands them over to trio.

The thread never runs further ahead than it is allowed (`allow`), which is what bounds the memory: what is not
taken stays on the server, held back by flow control. Hand-overs are coalesced: however many blocks came, trio is
woken once.
"""

import contextlib
import logging
import threading
import time
from collections import deque
from typing import Any, Protocol
from weakref import WeakSet

import grpc
import trio

from exportfs.core.names import encode
from exportfs.core.roundtrips import RoundTrips
from exportfs.errors import Corrupt, ExportfsError, Interrupted
from exportfs.model import Fetch
from exportfs.rpc.channel import Connection, Connections, Lane, Metadata
from exportfs.rpc.cut import MalformedMessage, file_chunk, message
from exportfs.rpc.login import Login
from exportfs.rpc.server import SERVICE
from exportfs.rpc.status import translate
from exportfs.rpc.threads import Threads

log = logging.getLogger(__name__)


class Sink(Protocol):
    """Who gets the blocks. Both are called in trio's thread."""

    def block(self, index: int, data: memoryview) -> None: ...
    def ended(self, error: ExportfsError | None) -> None:
        """After the last block: None for a clean end of the stream."""


MOST_THREADS = 128
"""More than downloads run at a time: one that was cancelled may take a moment to notice."""
HOLD_BACK = 0.02
"""Seconds for which the blocks of a seek are collected, so that trio is woken once for all of them."""


class Downloads:
    """Starts downloads. Belongs to one trio run."""

    def __init__(self, connections: Connections, login: Login, round_trips: RoundTrips) -> None:
        self._connections = connections
        self._round_trips = round_trips
        self._login = login
        self._threads = Threads("download", MOST_THREADS)
        self._started: WeakSet[Download] = WeakSet()
        # Threads that wait to be allowed more would keep the process from ending.
        connections.at_close(self._cancel_all)

    def _cancel_all(self) -> None:
        for download in list(self._started):
            download.cancel()
        self._threads.close()

    def start(self, fetch: Fetch, sink: Sink) -> "Download":
        """Asks for the blocks of `fetch`. Never raises: failures go to the sink."""
        download = Download(self._connections, self._login, self._round_trips, fetch, sink)
        self._started.add(download)
        download.begin()
        try:
            self._threads.start(download.run)
        except RuntimeError as error:  # no thread can be started, or the mount is ending
            download.refuse(Interrupted(f"no thread for the download: {error}"))
        return download


class Download:
    """One running call. `allow`, `cancel` and `suspect` are called in trio's thread."""

    def __init__(
        self, connections: Connections, login: Login, round_trips: RoundTrips, fetch: Fetch, sink: Sink
    ) -> None:
        self._connections = connections
        self._round_trips = round_trips
        self._login = login
        self._sink = sink
        self._lane = Lane.SEEKS if fetch.seek else Lane.STREAMS
        self._line = fetch.line
        self._stop = fetch.stop
        self._request = message(
            (1, encode(fetch.session_id)),
            (2, encode(fetch.file_id)),
            (3, fetch.chunk_size // 1024),
            (4, fetch.first),
        )
        self._token = trio.lowlevel.current_trio_token()
        self._turn = threading.Condition()
        self._until = fetch.until
        self._cancelled = False
        self._call: Any = None
        self._connection: Connection | None = None
        self._queue: deque[tuple[int, memoryview]] = deque()
        self._end: tuple[ExportfsError | None] | None = None
        self._metadata: Metadata = ()
        self._begun = 0.0
        self._gone = False
        self._early: ExportfsError | None = None
        """What the call failed with before there was one."""

    def begin(self) -> None:
        """Sends the call, from trio's thread and without waiting: the server is at work while ours wakes up."""
        try:
            self._metadata = self._login.metadata()
            self._connection = self._connections.acquire(self._lane, self._line)
            start = self._connection.stream(SERVICE + "DownloadFile")
            self._begun = time.monotonic()
            self._call = self._connections.begin(
                self._connection, lambda: start(self._request, metadata=self._metadata)
            )
        except ExportfsError as error:
            self._early = error
        except Exception as error:
            self._early = Interrupted(f"the download failed: {type(error).__name__}: {error}")

    def let_go(self) -> None:
        """Nothing more is wanted of the call and its connection."""
        with self._turn:
            again, self._gone = self._gone, True
        if again:
            return
        if self._call is not None:
            self._call.cancel()
        if self._connection is not None:
            self._connections.release(self._connection)

    def refuse(self, error: ExportfsError) -> None:
        """Ends it in trio's thread, where no other thread will run it, or one that is late."""
        self._end = (error,)
        self.let_go()
        self._wake()

    def allow(self, until: int) -> None:
        """Lets the thread take the blocks below `until`."""
        with self._turn:
            if until > self._until:
                self._until = until
                self._turn.notify()

    def cancel(self) -> None:
        """Ends the call; the sink hears nothing more."""
        with self._turn:
            self._cancelled = True
            self._turn.notify()
            call = self._call
        self._queue.clear()
        if call is not None:
            call.cancel()

    def suspect(self) -> None:
        """Nothing moves: the next download in this lane gets a new connection."""
        if self._connection is not None:
            self._connections.suspect(self._connection)

    def run(self) -> None:
        """Takes the blocks; in a thread of its own."""
        error = self._early
        try:
            if error is None:
                self._take()
        except grpc.RpcError as failure:
            error = translate(failure, self._metadata)
        except ExportfsError as failure:
            error = failure
        except Exception as failure:
            error = Interrupted(f"the download failed: {type(failure).__name__}: {failure}")
        finally:
            self.let_go()
        if self._end is None:
            self._end = (error,)
            self._wake()

    def _take(self) -> None:
        call = self._call
        seek, woken = self._lane is Lane.SEEKS, time.monotonic()
        begun: float | None = self._begun
        for raw in call:
            if begun is not None:
                self._round_trips.note(time.monotonic() - begun)
                begun = None
            try:
                index, data = file_chunk(raw)
            except MalformedMessage as error:
                raise Corrupt(f"a block cannot be read: {error}") from None
            if not data:
                continue  # no block: its number would be waited on, and the stream's end never seen
            self._queue.append((index, data))
            full = index + 1 >= self._until
            if full and self._stop:
                self._end = (None,)
                self._wake()
                # While trio wakes up: what the server sends until then is wasted.
                call.cancel()
                return
            if full or not seek or time.monotonic() - woken > HOLD_BACK:
                self._wake()
                woken = time.monotonic()
            if full:
                with self._turn:
                    while index + 1 >= self._until and not self._cancelled:
                        self._turn.wait()
            if self._cancelled:
                return

    def _wake(self) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._deliver, idempotent=True)

    def _deliver(self) -> None:
        try:
            self._hand_over()
        except Exception as error:  # from here it would end trio's run, and the mount
            log.exception("a block could not be taken")
            self.cancel()
            with contextlib.suppress(Exception):
                self._sink.ended(Interrupted(f"the download failed: {type(error).__name__}: {error}"))

    def _hand_over(self) -> None:
        # `end` is read first: what the thread put before it is then in the queue.
        end = self._end
        while self._queue and not self._cancelled:
            self._sink.block(*self._queue.popleft())
        if end is not None and not self._cancelled:
            self._cancelled = True
            self._sink.ended(end[0])
