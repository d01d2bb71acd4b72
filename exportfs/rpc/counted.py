"""Counting calls: each by its method, the status that it ended with, and how long that took."""

import contextlib
from collections.abc import Callable, Iterator

import grpc
import trio

from exportfs.errors import Corrupt, ExportfsError, TimedOut, Unauthenticated, Unreachable
from exportfs.metrics import CallCounters

OK = grpc.StatusCode.OK.name
CANCELLED = grpc.StatusCode.CANCELLED.name
STALLED = grpc.StatusCode.DEADLINE_EXCEEDED.name
_WITHOUT_STATUS = (
    (TimedOut, grpc.StatusCode.DEADLINE_EXCEEDED),
    (Unreachable, grpc.StatusCode.UNAVAILABLE),
    (Unauthenticated, grpc.StatusCode.UNAUTHENTICATED),
    (Corrupt, grpc.StatusCode.DATA_LOSS),
)
"""What calls count as that the server did not end with a status."""


def code_of(error: ExportfsError | None) -> str:
    """The status that a call ended with, by what became of it: the server's own, or else the nearest."""
    if error is None:
        return OK
    if error.status is not None:
        return error.status
    nearest = (code for kind, code in _WITHOUT_STATUS if isinstance(error, kind))
    return next(nearest, grpc.StatusCode.UNKNOWN).name


@contextlib.contextmanager
def counted(calls: CallCounters, method: str) -> Iterator[Callable[[], None]]:
    """Counts the call that is made within. One that is cancelled from outside counts as CANCELLED. Gives what is to be
    called where its answer has begun and goes on."""
    begun = trio.current_time()
    code, call = CANCELLED, object()
    calls.unanswered[call] = begun

    def answered() -> None:
        calls.unanswered.pop(call, None)

    try:
        yield answered
        code = OK
    except ExportfsError as error:
        code = code_of(error)
        raise
    finally:
        answered()
        calls.ended(short(method), code, trio.current_time() - begun)


def short(method: str) -> str:
    """A method's name without that of its service."""
    return method.rpartition("/")[2]


class Tally:
    """Counts one call that ends in one of several places, once."""

    __slots__ = ("_begun", "_calls", "_method", "_over")

    def __init__(self, calls: CallCounters, method: str) -> None:
        self._calls = calls
        self._method = method
        self._begun = trio.current_time()
        self._over = False

    def left_to_another(self) -> None:
        """It goes on as a call that has a tally of its own."""
        self._over = True

    def ended(self, code: str) -> None:
        if not self._over:
            self._over = True
            self._calls.ended(self._method, code, trio.current_time() - self._begun)
