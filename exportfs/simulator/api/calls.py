"""A record of every call that the server got, for tests to count and look at."""

import threading
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import grpc

from exportfs.simulator.api.refusal import Refused

_KEPT = 100_000
"""Calls of a long run beyond these are counted, but no longer kept."""


@dataclass(slots=True, eq=False)
class Call:
    """One call. What it asked stands from the start; the rest grows until `outcome` is set."""

    method: str
    request: Any
    """The message of the contract."""
    token: str | None
    at: float
    """When it came, seconds since the epoch on the simulator's clock."""
    monotonic: float
    """When it came, `time.monotonic()`."""
    number: int = 0
    session_id: str = ""
    file_id: str = ""
    start_index: int = 0
    chunk_size_kb: int = 0
    bytes_sent: int = 0
    blocks_sent: int = 0
    outcome: str = ""
    """`OK`, or a status; empty while it runs. CANCELLED: the client or the connection went away."""
    is_download: bool = False
    """Whether it holds one of the downloads that the server serves at once."""
    revoke: str = ""
    """Set by a fault: `one` revokes its token, `all` every token, before the token is looked at."""
    export_fails: str = ""
    """Set by a fault: the started export will not succeed, `with` or `without` files."""
    cancel: Callable[[], object] = field(default=lambda: None, repr=False)
    """Ends it from the server's side with a reset of its stream."""
    _wake: threading.Event | None = field(default_factory=threading.Event, repr=False)
    _stopping: bool = False

    @property
    def start_offset(self) -> int:
        """For DownloadFile: the first byte that was asked for."""
        return self.start_index * self.chunk_size_kb * 1024

    def wait(self, seconds: float | None) -> bool:
        """Waits for so long (None: without end), and says whether `wake` came before.

        Raises Refused when the call or the server ends meanwhile.
        """
        wake, woken = self._wake, False
        if wake is not None and not self.outcome:
            woken = wake.wait(seconds)
            wake.clear()
        if self._stopping:
            raise Refused(grpc.StatusCode.UNAVAILABLE, "The server is stopping")
        if self.outcome:
            raise Refused(grpc.StatusCode.CANCELLED, "The call was cancelled")
        return woken

    def wake(self, *, stopping: bool = False) -> None:
        """Ends a `wait` before its time."""
        self._stopping = self._stopping or stopping
        wake = self._wake
        if wake is not None:
            wake.set()

    def end(self, outcome: str) -> None:
        self.outcome = outcome
        self.wake()
        self._wake = None


class CallLog:
    """All calls, in the order in which they came. Every method may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._calls: deque[Call] = deque(maxlen=_KEPT)
        self._running: set[Call] = set()
        self._counts: Counter[str] = Counter()
        self._bytes: Counter[tuple[str, str]] = Counter()
        self._downloads = 0
        self._peak = 0

    # For tests.

    def calls(
        self, method: str | None = None, session: str | None = None, file: str | None = None
    ) -> list[Call]:
        """The kept calls that match all that is given."""
        with self._lock:
            kept = list(self._calls)
        return [
            call
            for call in kept
            if (method is None or call.method == method)
            and (session is None or call.session_id == session)
            and (file is None or call.file_id == file)
        ]

    def count(self, method: str | None = None) -> int:
        """Calls of `method`, or of all, since the start or `clear`."""
        with self._lock:
            return self._counts.total() if method is None else self._counts[method]

    def counts(self) -> dict[str, int]:
        """Calls by method."""
        with self._lock:
            return dict(self._counts)

    def bytes_sent(self, file: str | None = None, session: str | None = None) -> int:
        """Bytes of blocks handed to the transport, of all downloads that match."""
        with self._lock:
            return sum(
                sent
                for (of_session, of_file), sent in self._bytes.items()
                if (file is None or of_file == file) and (session is None or of_session == session)
            )

    @property
    def downloads_now(self) -> int:
        """DownloadFile calls being served."""
        with self._lock:
            return self._downloads

    @property
    def downloads_peak(self) -> int:
        """The most DownloadFile calls that were served at once."""
        with self._lock:
            return self._peak

    def running(self) -> list[Call]:
        """Calls without an outcome yet."""
        with self._lock:
            return sorted(self._running, key=lambda call: call.number)

    def clear(self) -> None:
        """Forgets all calls but those that run."""
        with self._lock:
            self._calls = deque(self._running, maxlen=_KEPT)
            self._counts.clear()
            self._bytes.clear()
            self._peak = self._downloads

    # For the service.

    def begin(self, call: Call) -> None:
        with self._lock:
            self._counts[call.method] += 1
            call.number = self._counts.total()
            self._calls.append(call)
            self._running.add(call)

    def begin_download(self, call: Call, limit: int | None) -> bool:
        """Whether one more download may run; if so, it does."""
        with self._lock:
            if limit is not None and self._downloads >= limit:
                return False
            # Already over: it must not hold a place that nobody would give back.
            if call in self._running:
                call.is_download = True
                self._downloads += 1
                self._peak = max(self._peak, self._downloads)
            return True

    def sent(self, call: Call, size: int) -> None:
        with self._lock:
            call.bytes_sent += size
            call.blocks_sent += 1
            self._bytes[call.session_id, call.file_id] += size

    def end(self, call: Call, outcome: str) -> None:
        """The first outcome of a call stands."""
        with self._lock:
            if call not in self._running:
                return
            self._running.discard(call)
            if call.is_download:
                self._downloads -= 1
            call.end(outcome)
