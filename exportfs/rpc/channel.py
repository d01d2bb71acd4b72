"""Connections to the server: one for calls, one for streams, one with a small receive window for seeks, and more of a
kind where the server takes few calls at once on each.

A channel keeps its connection for as long as the connection looks alive to it, which a silently dropped network
does for many minutes. So whoever sees nothing move for too long calls `suspect`, and the next use gets a new
connection. Pings would need the server's leave (it closes connections that ping too often), a stall timer does not.
One that has been quiet for long is not used again at all (`quiet.py`).
"""

import ctypes
import enum
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc

from exportfs.config import KIB, MIB, STREAMS_WINDOW, STREAMS_WINDOW_NEAR, ServerConfig
from exportfs.errors import Interrupted, NotSent
from exportfs.metrics import CallCounters
from exportfs.rpc import authorities, quiet

T = TypeVar("T")

METADATA = MIB
"""Bytes of an answer's headers or trailers. Proxies and servers send more than the 8 KiB that gRPC takes unasked."""
CLOSE_TIMEOUT = 2.0
"""Seconds that closing all connections may take; what is not closed by then ends with the process."""
_NO_THREAD = (
    "this machine gives the mount no more threads; raise the limit of processes, or see what uses them up"
)

_COMMON: list[tuple[str, int | str]] = [
    # Each channel its own connection: otherwise gRPC shares one among channels with equal options.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Not a pause, whatever its name: how long one attempt, TLS included, may take. By satellite that is seconds.
    ("grpc.min_reconnect_backoff_ms", 20_000),
    # gRPC waits up to two minutes by default; a server that restarts is back within seconds.
    ("grpc.max_reconnect_backoff_ms", 1000),
    # Only what HTTP/2 says was not processed is sent again by gRPC: its "transparent" retries, which this switches on
    # together with the others. Those need a policy from a service config, and there is none: not from us, and not from
    # the name's TXT records. Any other trying again is ours, since we know which calls may be repeated.
    ("grpc.enable_retries", 1),
    ("grpc.service_config_disable_resolution", 1),
    # It keeps the request for that: a larger one would count as sent for good.
    ("grpc.per_rpc_retry_buffer_size", 64 * MIB),
    ("grpc.max_send_message_length", 64 * MIB),
    ("grpc.max_metadata_size", METADATA),
    ("grpc.absolute_max_metadata_size", METADATA),
    # Answers come from loopback tunnels and plant networks; a proxy from the environment is a surprise.
    ("grpc.enable_http_proxy", 0),
]


_DOWNLOADS: list[tuple[str, int | str]] = [
    # For its timeout, which gRPC makes TCP_USER_TIMEOUT of where there are pings: so there are, after two hours of a
    # call without an answer, which is never.
    ("grpc.keepalive_time_ms", 2 * 3600 * 1000),
    ("grpc.keepalive_timeout_ms", int(quiet.UNHEARD * 1000)),
]


class Lane(enum.Enum):
    """What a connection is for."""

    CALLS = "calls"
    STREAMS = "streams"
    SEEKS = "seeks"


_OPTIONS: dict[Lane, list[tuple[str, int | str]]] = {
    Lane.CALLS: [("grpc.max_receive_message_length", 256 * MIB)],
    Lane.STREAMS: [
        *_DOWNLOADS,
        ("grpc.max_receive_message_length", 16 * MIB),
        # Fixed: what probing lets it grow to has no bound that memory could keep.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.optimization_target", "throughput"),
    ],
    Lane.SEEKS: [
        *_DOWNLOADS,
        ("grpc.max_receive_message_length", 4 * MIB),
        # What is under way when a seek is cancelled is wasted: a small window that does not grow by probing.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.http2.lookahead_bytes", 256 * KIB),
        # Receives in the thread that asks: no hand-over inside gRPC, which small blocks feel.
        ("SingleThreadedUnaryStream", 1),
    ],
}


@dataclass(eq=False)
class Connection:
    """A channel and those who use it; closed when it has been given up and nobody uses it any more."""

    lane: Lane
    line: int
    channel: grpc.Channel
    users: int = 0
    left_at: float = field(default_factory=quiet.now)
    """When its last call ended, by `quiet.now`."""
    given_up: bool = field(default=False)
    poisoned: bool = field(default=False)
    """gRPC could not start its thread for it: no call on it ever ends, nor does closing it."""
    _streams: dict[str, Any] = field(default_factory=dict)

    @property
    def connecting(self) -> bool:
        """Whether there is no connection yet, or none any more, so that what is silent is the way to one."""
        return self.state() not in (grpc.ChannelConnectivity.READY, None)

    def state(self, *, connect: bool = False) -> grpc.ChannelConnectivity | None:
        """None where gRPC does not tell; `connect`: makes a connection where there is none.

        Asked of the channel's inner half: the public way costs a thread that looks five times a second, and closing
        the channel waits for its next look.
        """
        inner: Any = getattr(self.channel, "_channel", None)
        try:
            number = inner.check_connectivity_state(connect)
        except (AttributeError, TypeError, ValueError):  # another version, or closed
            return None
        return next((state for state in grpc.ChannelConnectivity if state.value[0] == number), None)

    def stream(self, method: str) -> Any:
        """Starts calls of a server-streaming method, with serialized messages in and out."""
        start = self._streams.get(method)
        if start is None:
            start = self._streams[method] = self.channel.unary_stream(method, None, None)
        return start


class Connections:
    """All connections to one server. Safe to use from any thread.

    Raises InvalidArgument where the CA file cannot be used.
    """

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self.roots: bytes | None = None
        """The authorities in PEM, None for those of the library. Read once, for all connections: the file may go away,
        or be given relative to a directory that the mount has left, and a file that changes is for the next mount."""
        self._credentials = None
        if not config.insecure:
            self.roots = authorities.load(config.ca_file).pem
            self._credentials = grpc.ssl_channel_credentials(self.roots)
        self._lock = threading.Lock()
        self._current: dict[tuple[Lane, int], Connection] = {}
        self._open_ones: set[Connection] = set()
        self._at_close: list[Callable[[], None]] = []
        self._closing: list[threading.Thread] = []
        self._out_of_threads = False
        self.at_once = sys.maxsize
        """Calls at a time that the server takes on a connection, as far as is known: gRPC has the next one wait until
        one of them ends, and does not tell. Set from another connection to the same server."""
        self.near: Callable[[], bool] = lambda: False
        """Whether the server is near, as far as has been measured. Set by who measures it."""
        self.calls = CallCounters()
        """Calls that were made over them; touched in trio's thread only."""

    def acquire(self, lane: Lane) -> Connection:
        """The lane's first connection on which a call need not wait, made where there is none. `release` must follow.
        Raises NotSent where there are no threads for a new one."""
        if self._out_of_threads:
            self._try_thread()
        forgotten = None
        with self._lock:
            line = 0
            while (connection := self._current.get((lane, line))) and connection.users >= self.at_once:
                line += 1
            if connection is not None and not connection.users and quiet.too_long(connection.left_at):
                forgotten, connection = connection, None
                forgotten.given_up = True
            if connection is None:
                connection = self._current[lane, line] = Connection(lane, line, self._open(lane))
                self._open_ones.add(connection)
            connection.users += 1
        if forgotten is not None:
            self._close(forgotten)
        return connection

    def release(self, connection: Connection) -> None:
        """The counterpart of `acquire`."""
        with self._lock:
            connection.users -= 1
            connection.left_at = quiet.now()
            close = connection.given_up and connection.users == 0
        if close:
            self._close(connection)

    def suspect(self, connection: Connection) -> None:
        """Nothing moves on this connection: the next use of its lane gets a new one.

        Nothing happens while it is being made: a handshake that takes long would be begun anew, and anew.
        """
        if connection.connecting and not connection.poisoned:
            return
        with self._lock:
            place = (connection.lane, connection.line)
            if self._current.get(place) is connection:
                del self._current[place]
            connection.given_up = True
            close = connection.users == 0
        if close:
            self._close(connection)

    def begin(self, connection: Connection, start: Callable[[], T]) -> T:
        """Starts a call on a connection. Raises Interrupted where gRPC cannot start the thread that it needs for that:
        it takes the thread for started ever after, so the connection is given up for good."""
        try:
            return start()
        except RuntimeError as error:
            connection.poisoned = True
            self._out_of_threads = True
            self.suspect(connection)
            raise Interrupted(f"{_NO_THREAD} ({error})") from None

    def _try_thread(self) -> None:
        """Before another connection is made and poisoned: are there threads again?"""
        try:
            threading.Thread(target=_nothing, daemon=True).start()
        except RuntimeError as error:
            raise NotSent(f"{_NO_THREAD} ({error})") from None
        self._out_of_threads = False

    def at_close(self, work: Callable[[], None]) -> None:
        """Something to be done when all is closed."""
        self._at_close.append(work)

    def close(self) -> None:
        """Closes all; calls that still run are cancelled. Takes CLOSE_TIMEOUT seconds at most."""
        for work in self._at_close:
            work()
        with self._lock:
            connections = list(self._open_ones)
            self._current.clear()
        for connection in connections:
            self._close(connection)
        deadline = time.monotonic() + CLOSE_TIMEOUT
        for thread in self._closing:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _close(self, connection: Connection) -> None:
        """In a thread of its own: gRPC waits there until all its calls have ended."""
        with self._lock:
            self._open_ones.discard(connection)
            self._closing = [thread for thread in self._closing if thread.is_alive()]
        if not connection.poisoned:
            thread = threading.Thread(target=connection.channel.close, name="close", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                self._out_of_threads = True
            else:
                self._closing.append(thread)
                return
        # Never to be finalized, not even when the process ends: that would close it, and wait for ever.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection.channel))

    def _open(self, lane: Lane) -> grpc.Channel:
        options: list[tuple[str, int | str]] = [*_COMMON, *_OPTIONS[lane]]
        if lane is Lane.STREAMS:
            window = STREAMS_WINDOW_NEAR if self.near() else STREAMS_WINDOW
            options.append(("grpc.http2.lookahead_bytes", window))
        if self._credentials is None:
            return grpc.insecure_channel(self._config.address, options=options)
        if self._config.tls_server_name:
            options.append(("grpc.ssl_target_name_override", self._config.tls_server_name))
        return grpc.secure_channel(self._config.address, self._credentials, options=options)


def _nothing() -> None:
    pass


Metadata = Sequence[tuple[str, str]]
