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
from dataclasses import replace
from typing import Any
from weakref import WeakSet

import grpc
import trio

from exportfs.config import ServerConfig
from exportfs.errors import Corrupt, ExportfsError, Interrupted
from exportfs.metrics import CallCounters
from exportfs.model import Fetch
from exportfs.naming import encode
from exportfs.rpc.channel import Connection, Connections, Lane, Metadata
from exportfs.rpc.counted import CANCELLED, STALLED, Tally, code_of
from exportfs.rpc.exact import ExactDownload
from exportfs.rpc.handle import Handle, Sink
from exportfs.rpc.http2 import Http2Connection, LineObserver, Misunderstood, NoExact, Unusable
from exportfs.rpc.login import Login
from exportfs.rpc.server import SERVICE
from exportfs.rpc.status import translate
from exportfs.rpc.threads import Threads
from exportfs.rpc.wire_format import MalformedMessage, file_chunk, message

log = logging.getLogger(__name__)


METHOD = "DownloadFile"
MOST_THREADS = 128
"""More than downloads run at a time: one that was cancelled may take a moment to notice."""
MISUNDERSTOOD = 3
"""Connections for exact downloads on which something came that we do not understand: no more are made then."""
HOLD_BACK = 0.02
"""Seconds for which the blocks of a seek are collected, so that trio is woken once for all of them."""


class Downloads:
    """Starts downloads. Belongs to one trio run.

    Wide ones run over gRPC, each in a thread. Exact ones (`rpc.exact`) share one connection of their own, or as few as
    the server's limit of calls on each allows, made while `run` runs; without it, or where the server speaks nothing
    that it understands, they run over gRPC, too, with as small a window as that has.
    """

    def __init__(
        self, connections: Connections, login: Login, line: LineObserver, config: ServerConfig | None = None
    ) -> None:
        self._connections = connections
        self._login = login
        self._line = line
        self._config = config
        self._threads = Threads("download", MOST_THREADS)
        self._started: WeakSet[Download] = WeakSet()
        self._nursery: trio.Nursery | None = None
        self._made: list[Http2Connection] = []
        self._exact = config is not None
        self._misunderstood = 0
        # Threads that wait to be allowed more would keep the process from ending.
        connections.at_close(self._cancel_all)
        connections.near = lambda: line.nearby

    async def run(self) -> None:
        """Makes connections for exact downloads, the first at once. Runs until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                if self._exact:
                    self._connection()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    def _cancel_all(self) -> None:
        for download in list(self._started):
            download.cancel()
        self._threads.close()

    def start(self, fetch: Fetch, sink: Sink) -> Handle:
        """Asks for the blocks of `fetch`. Never raises: failures go to the sink."""
        if fetch.wide or fetch.quick or not self._exact or self._nursery is None:
            return self._start_wide(fetch, sink)
        fallback = _Fallback(self, fetch, sink, self._connections.calls)
        try:
            metadata = self._login.metadata()
        except ExportfsError as error:
            fallback.late(error)
            return fallback
        fallback.begin(self._connection(), metadata)
        return fallback

    def _start_wide(self, fetch: Fetch, sink: Sink) -> "Download":
        download = Download(self._connections, self._login, fetch, sink)
        self._started.add(download)
        download.begin()
        try:
            self._threads.start(download.run)
        except RuntimeError as error:  # no thread can be started, or the mount is ending
            download.refuse(Interrupted(f"no thread for the download: {error}"))
        return download

    def _connection(self) -> Http2Connection:
        """The first on which a call need not wait."""
        usable = []
        for connection in self._made:
            if connection.usable and not connection.forgotten:
                usable.append(connection)
            elif not connection.busy:
                connection.close()
        self._made = usable
        free = next((connection for connection in usable if not connection.full), None)
        if free is None:
            assert self._config is not None
            assert self._nursery is not None
            free = Http2Connection(self._config, self._line, self._connections.roots, self._limited)
            self._made.append(free)
            self._nursery.start_soon(self._serve, free)
        return free

    def _limited(self, at_once: int) -> None:
        self._connections.at_once = at_once

    async def _serve(self, connection: Http2Connection) -> None:
        try:
            await connection.run()
        except Unusable as error:
            self._misunderstood += 1
            if isinstance(error, Misunderstood) and self._misunderstood < MISUNDERSTOOD:
                log.info("the connection for exact downloads is made anew: %s", error)
                return
            if self._exact:
                log.warning("no exact downloads from this server, more than is read will be sent: %s", error)
            self._exact = False
        except Exception:
            log.exception("the connection for exact downloads failed")


class _Fallback:
    """An exact download that goes on over gRPC where its connection cannot be used with this server."""

    def __init__(self, downloads: Downloads, fetch: Fetch, sink: Sink, calls: CallCounters) -> None:
        self._tally = Tally(calls, METHOD)
        self._downloads = downloads
        self._fetch = fetch
        self._sink = sink
        self._handle: Handle | None = None
        self._metadata: Metadata = ()
        self._cancelled = False
        self._next, self._until = fetch.first, fetch.until

    def begin(self, connection: Http2Connection, metadata: Metadata) -> None:
        self._metadata = metadata
        request = download_request(self._fetch)
        download = ExactDownload(connection, self._fetch, self)
        self._handle = download
        connection.start(download, SERVICE + METHOD, request, metadata)

    def late(self, error: ExportfsError) -> None:
        """Fails, but not before who started it knows of it."""
        token = trio.lowlevel.current_trio_token()
        token.run_sync_soon(self.ended, error)

    def block(self, index: int, data: memoryview, length: int | None = None) -> None:
        if data:
            self._next += 1
        try:
            self._sink.block(index, data, length)
        except Exception as error:  # it would end the connection, and all other downloads with it
            log.exception("a block could not be taken")
            self.cancel()
            with contextlib.suppress(Exception):
                self._sink.ended(Interrupted(f"the download failed: {type(error).__name__}: {error}"))

    def ended(self, error: ExportfsError | None) -> None:
        if self._cancelled:
            return
        if isinstance(error, NoExact):
            fetch = replace(self._fetch, first=self._next, until=self._until)
            self._tally.left_to_another()
            self._handle = self._downloads._start_wide(fetch, self._sink)
            return
        self._cancelled = True
        self._tally.ended(code_of(error))
        try:
            self._sink.ended(error)
        except Exception:
            log.exception("the end of a download could not be taken")

    def allow(self, until: int) -> None:
        self._until = max(self._until, until)
        if self._handle is not None:
            self._handle.allow(until)

    def window(self, amount: int) -> None:
        if self._handle is not None:
            self._handle.window(amount)

    def cancel(self) -> None:
        self._cancelled = True
        self._tally.ended(CANCELLED)
        if self._handle is not None:
            self._handle.cancel()

    def suspect(self) -> None:
        self._tally.ended(STALLED)
        if self._handle is not None:
            self._handle.suspect()


def download_request(fetch: Fetch) -> bytes:
    """Serialized DownloadFileRequest."""
    return message(
        (1, encode(fetch.session_id)),
        (2, encode(fetch.file_id)),
        (3, fetch.chunk_size // 1024),
        (4, fetch.first),
    )


class Download:
    """One running call. `allow`, `cancel` and `suspect` are called in trio's thread."""

    def __init__(self, connections: Connections, login: Login, fetch: Fetch, sink: Sink) -> None:
        self._connections = connections
        self._login = login
        self._sink = sink
        self._tally = Tally(connections.calls, METHOD)
        self._lane = Lane.STREAMS if fetch.wide else Lane.SEEKS
        self._stop = fetch.stop
        self._request = download_request(fetch)
        self._token = trio.lowlevel.current_trio_token()
        self._turn = threading.Condition()
        self._until = fetch.until
        self._cancelled = False
        self._call: Any = None
        self._connection: Connection | None = None
        self._queue: deque[tuple[int, memoryview]] = deque()
        self._end: tuple[ExportfsError | None] | None = None
        self._metadata: Metadata = ()
        self._gone = False
        self._early: ExportfsError | None = None
        """What the call failed with before there was one."""

    def begin(self) -> None:
        """Sends the call, from trio's thread and without waiting: the server is at work while ours wakes up."""
        try:
            self._metadata = self._login.metadata()
            self._connection = self._connections.acquire(self._lane)
            start = self._connection.stream(SERVICE + METHOD)
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

    def window(self, amount: int) -> None:
        """Means nothing: gRPC has windows of its own."""

    def cancel(self) -> None:
        """Ends the call; the sink hears nothing more."""
        self._tally.ended(CANCELLED)
        with self._turn:
            self._cancelled = True
            self._turn.notify()
            call = self._call
        self._queue.clear()
        if call is not None:
            call.cancel()

    def suspect(self) -> None:
        """Nothing moves: the next download in this lane gets a new connection."""
        self._tally.ended(STALLED)
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
        for raw in call:
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
            self._tally.ended(code_of(end[0]))
            self._sink.ended(end[0])
