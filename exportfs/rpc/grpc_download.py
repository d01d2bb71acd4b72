"""A running DownloadFile call over gRPC, for servers whose HTTP/2 ours does not understand: a thread takes the blocks
and hands them over to trio.

The thread never runs further ahead than it is allowed (`allow`), which is what bounds the memory: what is not taken
stays on the server, held back by flow control.
"""

import threading
from typing import Any

import grpc

from exportfs.errors import ExportfsError, Interrupted
from exportfs.model import Fetch
from exportfs.naming import encode
from exportfs.rpc.blocks import block_of
from exportfs.rpc.channel import Connection, Connections, Lane, Metadata
from exportfs.rpc.counted import CANCELLED, STALLED, Tally, code_of
from exportfs.rpc.handle import Sink
from exportfs.rpc.handover import HandOver
from exportfs.rpc.login import Login
from exportfs.rpc.server import SERVICE
from exportfs.rpc.status import translate
from exportfs.rpc.wire_format import message

METHOD = "DownloadFile"


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
        self._tally = Tally(connections.calls, METHOD)
        self._hand_over = HandOver(sink, lambda error: self._tally.ended(code_of(error)))
        self._lane = Lane.STREAMS if fetch.wide else Lane.SEEKS
        self._stop = fetch.stop
        self._request = download_request(fetch)
        self._turn = threading.Condition()
        self._until = fetch.until
        self._call: Any = None
        self._connection: Connection | None = None
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
        self.let_go()
        self._hand_over.over(error)

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
            self._hand_over.close()
            self._turn.notify()
            call = self._call
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
        self._hand_over.over(error)

    def _take(self) -> None:
        call, hand_over = self._call, self._hand_over
        for raw in call:
            index, data = block_of(raw)
            if not data:
                continue  # no block: its number would be waited on, and the stream's end never seen
            hand_over.block(index, data)
            if index + 1 >= self._until:
                if self._stop:
                    # While trio wakes up: what the server sends until then is wasted.
                    hand_over.over(None)
                    call.cancel()
                    return
                with self._turn:
                    while index + 1 >= self._until and not hand_over.closed:
                        self._turn.wait()
            if hand_over.closed:
                return
