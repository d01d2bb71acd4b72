"""Starts DownloadFile calls: to the byte in trio's thread; with a thread and a connection of their own where the line
is fast; over gRPC where our HTTP/2 and the server's do not understand one another."""

import contextlib
import logging
from dataclasses import replace
from weakref import WeakSet

import trio

from exportfs.config import ServerConfig
from exportfs.errors import ExportfsError, Interrupted
from exportfs.metrics import CallCounters
from exportfs.model import Fetch
from exportfs.rpc import quiet
from exportfs.rpc.backoff import Backoff
from exportfs.rpc.channel import Connections
from exportfs.rpc.counted import CANCELLED, STALLED, Tally, code_of
from exportfs.rpc.exact import ExactDownload
from exportfs.rpc.grpc_download import METHOD, Download, download_request
from exportfs.rpc.handle import Handle, Sink
from exportfs.rpc.http2 import Http2Connection, LineObserver
from exportfs.rpc.http2_client import Misunderstood, NoExact, Unusable
from exportfs.rpc.login import Login
from exportfs.rpc.server import SERVICE
from exportfs.rpc.stream import StreamDownload
from exportfs.rpc.streams import IDLE_SECONDS, Streams
from exportfs.rpc.threads import Threads

log = logging.getLogger(__name__)


MOST_THREADS = 128
"""More than downloads run at a time: one that was cancelled may take a moment to notice."""
MISUNDERSTOOD = 3
"""Connections for exact downloads, without a whole download in between, on which something came that we do not
understand: no more are made for a while then."""
AGAIN_AFTER, AGAIN_AFTER_MOST = 60.0, 3600.0
"""Seconds for which none are made: at first, and twice as long each time, up to this. What answers while a server or
its proxy is changed, or a certificate that `ssl` refuses, is not the server's last word."""


class Downloads:
    """Starts downloads. Belongs to one trio run.

    Those that read much at a time have a thread each (`rpc.stream`). All others (`rpc.exact`) share one connection, or
    as few as the server's limit of calls on each allows. Connections are made while `run` runs; without it, or where
    the server speaks nothing that we understand, all run over gRPC, with as small a window as that has.
    """

    def __init__(
        self, connections: Connections, login: Login, line: LineObserver, config: ServerConfig | None = None
    ) -> None:
        self._connections = connections
        self._login = login
        self._line = line
        self._config = config
        self._threads = Threads("download", MOST_THREADS)
        self._started: WeakSet[Download | StreamDownload] = WeakSet()
        self._nursery: trio.Nursery | None = None
        self._made: list[Http2Connection] = []
        self._at_once: int | None = None
        """Calls that the server takes at once on a connection; None before it has said so."""
        self._misunderstood = 0
        self._backoff = Backoff(AGAIN_AFTER, AGAIN_AFTER_MOST)
        self._streams: Streams | None = None
        if config is not None:
            self._streams = Streams(config, self._threads, lambda: line.nearby, self._unusable)
        # Threads that wait to be allowed more would keep the process from ending.
        connections.at_close(self._cancel_all)
        connections.near = lambda: line.nearby

    async def run(self) -> None:
        """Makes connections for exact downloads, the first at once. Runs until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                if self._exact:
                    self._connection()
                streams = self._streams
                if streams is None:
                    await trio.sleep_forever()
                    return
                streams.nursery = self._nursery
                while True:
                    await trio.sleep(IDLE_SECONDS)
                    streams.reap(quiet.now())
                    for connection in self._made:
                        if connection.unused:
                            connection.close()
        finally:
            self._nursery = None
            if self._streams is not None:
                self._streams.close()

    @property
    def _exact(self) -> bool:
        """Whether connections of our own are made."""
        return self._config is not None and not self._backoff.wait(quiet.now())

    def _cancel_all(self) -> None:
        for download in list(self._started):
            download.cancel()
        self._threads.close()

    def start(self, fetch: Fetch, sink: Sink) -> Handle:
        """Asks for the blocks of `fetch`. Never raises: failures go to the sink."""
        streams, roots = self._streams, self._connections.roots
        if streams is None or not self._exact or self._nursery is None:
            return self._start_grpc(fetch, sink)
        fallback = _Fallback(self, fetch, sink, self._connections.calls)
        try:
            metadata = self._login.metadata()
        except ExportfsError as error:
            fallback.late(error)
            return fallback
        request = download_request(fetch)
        if fetch.wide:
            try:
                download = StreamDownload(streams, fetch, fallback)
            except OSError as error:  # no more descriptors
                fallback.late(Interrupted(f"the download failed: {error}"))
                return fallback
            self._started.add(download)
            fallback.runs_as(download)
            download.begin(SERVICE + METHOD, request, metadata, roots)
        else:
            connection = self._connection()
            exact = ExactDownload(connection, fetch, fallback)
            fallback.runs_as(exact)
            connection.start(exact, SERVICE + METHOD, request, metadata)
        return fallback

    def _start_grpc(self, fetch: Fetch, sink: Sink) -> "Download":
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
            # Where the server takes no calls at all, those would be more and more.
            idle_and_full = connection.full and not connection.busy
            if connection.usable and not connection.forgotten and not idle_and_full:
                usable.append(connection)
            elif not connection.busy:
                connection.close()
        self._made = usable
        free = next((connection for connection in usable if not connection.full), None)
        if free is None:
            assert self._config is not None
            assert self._nursery is not None
            free = Http2Connection(
                self._config, self._line, self._connections.roots, self._limited, lambda: self._at_once
            )
            self._made.append(free)
            self._nursery.start_soon(self._serve, free)
        return free

    def _limited(self, at_once: int) -> None:
        self._at_once = self._connections.at_once = at_once

    async def _serve(self, connection: Http2Connection) -> None:
        try:
            await connection.run()
        except Unusable as error:
            self._unusable(error)
        except Exception:
            log.exception("the connection for exact downloads failed")

    def _unusable(self, error: Unusable) -> None:
        if not self._exact:
            return  # others that had begun before
        self._misunderstood += 1
        if isinstance(error, Misunderstood) and self._misunderstood < MISUNDERSTOOD:
            log.info("the connection for exact downloads is made anew: %s", error)
            return
        level, now = logging.INFO if self._backoff.failures else logging.WARNING, quiet.now()
        self._backoff.refused(now)
        log.log(
            level,
            "no exact downloads from this server for %.0f s, more than is read will be sent: %s",
            self._backoff.wait(now),
            error,
        )
        self._misunderstood = MISUNDERSTOOD - 1  # the next one is enough

    def understood(self) -> None:
        """A download over a connection of our own has brought all that it was to bring."""
        if self._backoff.failures:
            log.info("exact downloads from this server again")
        self._misunderstood = 0
        self._backoff.accepted()


class _Fallback:
    """A download that goes on over gRPC where its connection cannot be used with this server."""

    def __init__(self, downloads: Downloads, fetch: Fetch, sink: Sink, calls: CallCounters) -> None:
        self._tally = Tally(calls, METHOD)
        self._downloads = downloads
        self._fetch = fetch
        self._sink = sink
        self._handle: Handle | None = None
        self._cancelled = False
        self._next, self._until = fetch.first, fetch.until

    def runs_as(self, download: Handle) -> None:
        """This is the one that it began as."""
        self._handle = download

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
            self._handle = self._downloads._start_grpc(fetch, self._sink)
            return
        self._cancelled = True
        if error is None:
            self._downloads.understood()
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
