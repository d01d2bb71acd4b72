"""One HTTP/2 connection for exact downloads, on `h2`, in trio's thread.

gRPC's library lets a server send at least 64 KiB ahead of what is taken, and offers no way to ask for less. Here each
stream's window is what is wanted, to the byte: a stream begins with WINDOW bytes (a block, the least that is ever
asked for), and gets the rest with WINDOW_UPDATEs. Otherwise a call is as gRPC makes it:
https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md
"""

import contextlib
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import h2.connection
import h2.events
import h2.exceptions
import trio
from h2.errors import ErrorCodes
from hyperframe.frame import WindowUpdateFrame

from exportfs.config import KIB, MIB, ServerConfig
from exportfs.errors import ExportfsError, Interrupted, Unreachable
from exportfs.rpc import quiet
from exportfs.rpc.answer import Answer, reset
from exportfs.rpc.arrivals import Arrivals, Observer
from exportfs.rpc.channel import Metadata
from exportfs.rpc.frames import FRAME, Data, Frames, Goodbye, Malformed, Ping, pong
from exportfs.rpc.http2_client import (
    CONNECT_SECONDS,
    CONNECTION_WINDOW,
    WINDOW,
    Misunderstood,
    NoExact,
    Unusable,
    acknowledged,
    call_headers,
    connected,
    encrypted,
    new_connection,
    round_trip_of,
    say,
    to_send,
)
from exportfs.rpc.outgoing import Outgoing
from exportfs.rpc.pings import Pings
from exportfs.rpc.turns import Call, Stream, Turns

log = logging.getLogger(__name__)

RECEIVE = 256 * KIB
"""Bytes taken from the socket at a time."""
UNSENT = MIB
"""Bytes that may wait to be sent, each a dozen for a block or an answer to a ping: a server that asks for those and
reads none would fill the memory."""


class LineObserver(Observer, Protocol):
    """Who measures the line. Times are monotonic seconds, amounts bytes."""

    def busy(self) -> float:
        """Seconds in which our thread has worked, or waited for a core."""
        ...

    def round_trip_took(self, seconds: float, *, ours: float, least: float) -> None: ...
    def granted(self, now: float, amount: int) -> None: ...
    def arrived(self, now: float, amount: int) -> None: ...
    def dropped(self, amount: int) -> None: ...
    def delayed(self, now: float, delay: float, *, limited: bool) -> None: ...

    @property
    def nearby(self) -> bool:
        """Whether the round trip has been measured, and is a local network's."""
        ...


class Http2Connection:
    """Connects when it is run. `start` may be called before that and queues."""

    def __init__(
        self,
        config: ServerConfig,
        line: LineObserver,
        roots: bytes | None,
        limited: Callable[[int], None] = lambda _: None,
        known: Callable[[], int | None] = lambda: None,
    ) -> None:
        """`roots`: the authorities in PEM, None for the system's; not asked for where the config is `insecure`.
        `limited`, `known`: see `Turns`."""
        self._config = config
        self._roots = roots
        self.line = line
        self._http2: h2.connection.H2Connection | None = None
        self._streams: dict[int, Stream] = {}
        self._turns = Turns(limited, known)
        self._calls: dict[int, Answer] = {}
        self._unsent: dict[int, bytes] = {}
        """What the server's windows have not let go of requests yet."""
        self._unreachable = False
        self._outgoing = Outgoing(self._said)
        self._pings = Pings()
        self._busy_then = 0.0
        """As `LineObserver.busy`, when the last ping was sent."""
        self._tcp_round_trip = 0.0
        self._consumed = 0
        self._frames = Frames()
        self._tcp: trio.SocketStream | None = None
        self._heard = quiet.Heard()
        self.usable = True
        """Whether new calls may be made on it."""
        self._scope = trio.CancelScope()

    @property
    def ready(self) -> bool:
        """Whether it has been made."""
        return self._http2 is not None

    async def run(self) -> None:
        """Connects and serves until it is closed or breaks; whoever still uses it hears of that. Raises Unusable."""
        error: ExportfsError = Interrupted("the connection was closed")
        try:
            with self._scope:
                with trio.move_on_after(CONNECT_SECONDS) as connecting:
                    stream = await self._connect()
                if connecting.cancelled_caught:
                    raise Unreachable("the server cannot be reached: no connection within 15 s")
                try:
                    await self._serve(stream)
                finally:
                    with trio.move_on_after(1.0, shield=True), contextlib.suppress(Exception):
                        await trio.aclose_forcefully(stream)
            if self._unreachable:
                raise Unreachable("the server cannot be reached: no connection came in time")
        except Unusable as failure:
            error = NoExact(str(failure))
            raise
        except ExportfsError as failure:
            error = failure
        except (OSError, trio.BrokenResourceError, trio.ClosedResourceError) as failure:
            error = Unreachable(f"the server cannot be reached: the connection broke: {failure}")
        except h2.exceptions.ProtocolError as failure:
            error = Unreachable(f"the server cannot be reached: the connection broke: {failure}")
        finally:
            self.usable = False
            streams = [*self._streams.values(), *self._turns.dissolve()]
            self._streams.clear()
            for stream_ in streams:
                stream_.ended(error)

    def close(self) -> None:
        """Ends it; calls that still run are interrupted."""
        self.usable = False
        self._scope.cancel()

    def suspect(self) -> None:
        """Nothing moves on it: no new calls; where it has not even been made, the others that wait for it need not."""
        self._take_no_more()
        if not self.ready:
            self._unreachable = True
            self._scope.cancel()

    def _take_no_more(self) -> None:
        """No new calls on it: what still waits for the server's settings would never be sent here."""
        self.usable = False
        if self._turns.waiting:
            # Not at once: whoever suspects it may be among those, and is about to end.
            trio.lowlevel.current_trio_token().run_sync_soon(self._leave_to_others)

    def _leave_to_others(self) -> None:
        if self.ready:
            self._send_on("nothing more is sent on this connection")
            self._close_if_done()

    @property
    def busy(self) -> bool:
        """Whether any call is on it."""
        return bool(self._streams or self._turns.waiting)

    @property
    def forgotten(self) -> bool:
        """Whether what is between may have forgotten it."""
        if self._tcp is None or not self.ready or self.busy:
            return False
        return self._heard.too_long_ago(acknowledged(self._tcp))

    @property
    def unused(self) -> bool:
        """Whether it has been kept for long enough."""
        return self.ready and not self.busy and quiet.now() - self._heard.at > quiet.KEPT

    @property
    def full(self) -> bool:
        """Whether another call would have to wait until one of its calls ends."""
        return self._turns.full(len(self._streams))

    def start(self, stream: Stream, method: str, request: bytes, metadata: Metadata) -> None:
        """Makes a call of a server-streaming method as soon as there is a connection."""
        self._turns.add(Call(stream, method, request, metadata))
        self._start_waiting()

    def window(self, number: int, amount: int) -> None:
        """Lets the server send so many bytes more."""
        if number in self._streams:
            self._let(number, amount)

    def _let(self, number: int, amount: int) -> None:
        """h2, which hears nothing of DATA, keeps no account of windows."""
        self._outgoing.add(WindowUpdateFrame(number, window_increment=amount).serialize())

    def _said(self) -> bytes:
        """What h2 has to send."""
        return b"" if self._http2 is None else to_send(self._http2)

    def cancel(self, stream: Stream, number: int | None) -> None:
        """Ends a call; it hears nothing more."""
        if number is None:
            self._turns.withdraw(stream)
            self._close_if_done()
            return
        if self._streams.pop(number, None) is None:
            return
        self._forget(number)
        self._reset(number)
        self._outgoing.soon()
        self._start_waiting()
        self._close_if_done()

    def _close_if_done(self) -> None:
        """A connection that takes no new calls goes with its last one: nobody else would close it."""
        if not self.usable and not self.busy:
            self._scope.cancel()

    async def _connect(self) -> trio.abc.Stream:
        config = self._config
        self._tcp = tcp = await connected(config)
        self._tcp_round_trip = round_trip_of(tcp)
        arrivals = Arrivals(tcp, self.line)
        if config.insecure:
            self._outgoing.at_once_on(tcp)
            return arrivals
        try:
            return await encrypted(config, arrivals, self._roots)
        except BaseException:
            await trio.aclose_forcefully(tcp)
            raise

    async def _serve(self, stream: trio.abc.Stream) -> None:
        http2 = new_connection(WINDOW, FRAME)
        self._http2 = http2
        self._ping()
        self._start_waiting()
        self._outgoing.soon()
        failures: list[Exception] = []

        async def until_it_fails(work: Callable[[], Awaitable[None]]) -> None:
            try:
                await work()
            except Exception as error:
                failures.append(error)
            self.usable = False  # whoever starts a call before the rest of us has ended needs another one
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(until_it_fails, partial(self._outgoing.run, stream))
            nursery.start_soon(until_it_fails, partial(self._read, stream, http2))
        if failures:
            raise failures[0]

    async def _read(self, stream: trio.abc.Stream, http2: h2.connection.H2Connection) -> None:
        while True:
            data = await stream.receive_some(RECEIVE)
            if not data:
                raise Unreachable("the server cannot be reached: it closed the connection")
            self._heard.again()
            self._outgoing.hold()
            try:
                for piece in self._frames.split(bytes(data)):
                    if isinstance(piece, Data):
                        self._data(piece)
                    elif isinstance(piece, Ping):
                        self._pinged(piece)
                    elif isinstance(piece, Goodbye):
                        self._server_leaves(piece.last)
                    else:
                        for event in http2.receive_data(piece):
                            self._event(event)
            except (h2.exceptions.ProtocolError, Malformed) as error:
                raise Misunderstood(f"HTTP/2: {error}") from None
            self._outgoing.flush()
            if len(self._outgoing) > UNSENT:
                raise Unreachable("the server cannot be reached: it takes nothing of what it asks for")

    def _start_waiting(self) -> None:
        http2 = self._http2
        while http2 is not None and self.usable:
            call = self._turns.next(http2.open_outbound_streams)
            if call is None:
                return
            try:
                self._call(http2, call)
            except h2.exceptions.ProtocolError:
                # Closed, and we have not come to that yet: `run` ends what waits.
                self._turns.add(call)
                self.usable = False
                self._scope.cancel()

    def _call(self, http2: h2.connection.H2Connection, call: Call) -> None:
        if not self._streams and self._pings.due(trio.current_time()):
            self._ping()
        number = http2.get_next_available_stream_id()
        http2.send_headers(number, call_headers(self._config, call.method, call.metadata))
        self._unsent[number] = b"\0" + len(call.request).to_bytes(4, "big") + call.request
        self._send_requests()
        self._streams[number] = call.stream
        self._calls[number] = Answer(call.metadata)
        call.stream.opened(number)
        self._outgoing.flush()

    def _send_requests(self) -> None:
        """As much of them as the server's windows let go."""
        http2 = self._http2
        assert http2 is not None
        for number, data in list(self._unsent.items()):
            rest = say(http2, number, data)
            if rest:
                self._unsent[number] = rest
            else:
                del self._unsent[number]

    def _ping(self) -> None:
        assert self._http2 is not None
        payload = self._pings.ping(trio.current_time())
        if payload is not None:
            self._busy_then = self.line.busy()
            self._http2.ping(payload)

    def _pinged(self, ping: Ping) -> None:
        if not ping.answer:
            self._outgoing.add(pong(ping.payload))
            return
        took = self._pings.answered(ping.payload, trio.current_time())
        if took is not None:
            ours = self.line.busy() - self._busy_then
            self.line.round_trip_took(took, ours=ours, least=self._tcp_round_trip)
            if self._pings.beginning and not self._streams:
                self._ping()

    def _event(self, event: h2.events.Event) -> None:
        if isinstance(event, h2.events.ResponseReceived | h2.events.TrailersReceived):
            answer = self._calls.get(event.stream_id)
            if answer is not None:
                self._pings.heard()
                answer.headers(event.headers)
                if (refusal := answer.refusal()) is not None:
                    self._refused(event.stream_id, refusal)
        elif isinstance(event, h2.events.StreamEnded):
            answer = self._calls.get(event.stream_id)
            if event.stream_id in self._unsent:
                # For both sides it would stay open, and count among those at once.
                self._reset(event.stream_id)
            self._over(event.stream_id, None if answer is None else answer.error())
        elif isinstance(event, h2.events.StreamReset):
            if event.error_code == ErrorCodes.REFUSED_STREAM:
                # gRPC's servers count calls that were cancelled, some for ever: they would refuse all that come.
                self._take_no_more()
            self._over(event.stream_id, reset(event.error_code))
        elif isinstance(event, h2.events.WindowUpdated):
            self._send_requests()
        elif isinstance(event, h2.events.RemoteSettingsChanged):
            assert self._http2 is not None
            self._turns.say(self._http2.remote_settings.max_concurrent_streams)
            self._send_requests()
            self._start_waiting()
            if not self._turns.room(len(self._streams)):
                self._send_on("the server takes no more calls at once on this connection")

    def _server_leaves(self, last: int) -> None:
        """It takes no new calls here, and those numbered above `last` it has not begun: they are for another
        connection. The others go on (RFC 9113, 6.8)."""
        self.usable = False
        unheard = []
        for number in [number for number in self._streams if number > last]:
            self._forget(number)
            unheard.append(self._streams.pop(number))
        self._send_on("the server ends the connection", *unheard)
        self._close_if_done()

    def _send_on(self, why: str, *others: Stream) -> None:
        """What waits to be sent, and others of which the server knows nothing, is for another connection."""
        for stream in (*self._turns.dissolve(), *others):
            stream.ended(Unreachable(why))

    def _data(self, data: Data) -> None:
        self._consumed += len(data.payload) + data.padding
        if self._consumed > CONNECTION_WINDOW // 4:
            self._let(0, self._consumed)
            self._consumed = 0
        stream, answer = self._streams.get(data.stream), self._calls.get(data.stream)
        if stream is None or answer is None:
            return  # ended by us, and on its way by then
        if not answer.begun:
            raise Malformed("data before the answer's headers")
        if data.padding:
            self._let(data.stream, data.padding)
        if data.payload:
            stream.data(data.payload, data.more)
        if data.ended and data.stream in self._streams:
            # No call ends so, and h2 has not heard that this one did.
            self._refused(data.stream, answer.error() or Interrupted("the call ended without a status"))

    def _forget(self, number: int) -> None:
        self._calls.pop(number, None)
        self._unsent.pop(number, None)

    def _refused(self, number: int, error: ExportfsError) -> None:
        """What comes now is a page of a proxy's, for people."""
        self._reset(number)
        self._over(number, error)

    def _reset(self, number: int) -> None:
        assert self._http2 is not None
        with contextlib.suppress(h2.exceptions.ProtocolError, KeyError):
            self._http2.reset_stream(number, ErrorCodes.CANCEL)

    def _over(self, number: int, error: ExportfsError | None) -> None:
        self._forget(number)
        stream = self._streams.pop(number, None)
        if stream is not None:
            stream.ended(error)
        self._start_waiting()
        self._close_if_done()
