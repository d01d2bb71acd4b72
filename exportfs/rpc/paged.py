"""One streamed answer, taken whole: for listings."""

import contextlib
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import grpc
import trio

from exportfs.errors import Corrupt, ExportfsError, Interrupted, TimedOut
from exportfs.rpc.channel import Connection, Connections, Lane, Metadata
from exportfs.rpc.counted import counted
from exportfs.rpc.status import translate
from exportfs.rpc.unary import LATE

T = TypeVar("T")

_OVERHEAD = 256
"""Bytes that a message takes here beyond its own, about."""


async def collect(
    connections: Connections,
    method: str,
    request: bytes,
    metadata: Metadata,
    timeout: float,
    take: Callable[[bytes], T],
    most: int,
    *,
    first_within: float,
    moved: Callable[[T], None] | None = None,
) -> list[T]:
    """All messages of a server-streaming call, each put through `take` in the thread that reads them.

    Raises one of our errors; `take` may raise them too. A stream that never ends does: the whole call has
    `timeout` seconds and `most` bytes (Corrupt beyond). With `moved`, which is told in trio's thread what `take` made
    of each message, only the next message has `timeout` seconds, and how long all may take is the caller's to bound.
    Where nothing at all has come within `first_within` seconds, or the next one in time, the connection is given up
    (TimedOut).
    """
    with counted(connections.calls, method) as answered:
        token = trio.lowlevel.current_trio_token()
        begun, done = trio.Event(), trio.Event()
        outcome: list[T] = []
        failure: list[ExportfsError] = []
        whole = timeout if moved is None else None
        connection, call = _start(connections, method, request, metadata, whole)
        # A moment more than gRPC has: where it has no threads for deadlines, it keeps none.
        rest = trio.CancelScope(deadline=trio.current_time() + timeout + LATE)

        def came(taken: T) -> None:
            assert moved is not None
            rest.deadline = trio.current_time() + timeout
            moved(taken)

        def tell(what: Callable[..., object], *args: T) -> None:
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(what, *args)

        def read() -> None:
            total = 0
            try:
                for message in call:
                    if not total:
                        tell(begun.set)
                    # Empty messages cost memory, too.
                    total += len(message) + _OVERHEAD
                    if total > most:
                        raise Corrupt("the server's answer does not end")
                    taken = take(message)
                    outcome.append(taken)
                    if moved is not None:
                        tell(came, taken)
            except grpc.RpcError as error:
                if call.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                    connections.suspect(connection)
                failure.append(translate(error, metadata))
            except ExportfsError as error:
                failure.append(error)
            except Exception as error:
                failure.append(Interrupted(f"the server's answer cannot be read: {error}"))
            finally:
                call.cancel()
                connections.release(connection)
                tell(begun.set)
                tell(done.set)

        try:
            threading.Thread(target=read, name="listing", daemon=True).start()
        except RuntimeError as error:
            call.cancel()
            connections.release(connection)
            raise Interrupted(f"no thread for the call: {error}") from None
        try:
            with trio.move_on_after(first_within) as scope:
                await begun.wait()
            if scope.cancelled_caught:
                connections.suspect(connection)
                raise TimedOut("the server did not answer in time")
            answered()
            if moved is not None:
                rest.deadline = trio.current_time() + timeout
            with rest:
                await done.wait()
            if rest.cancelled_caught:
                connections.suspect(connection)
                raise TimedOut("the server did not go on with its answer in time")
        finally:
            call.cancel()
        if failure:
            raise failure[0]
        return outcome


def _start(
    connections: Connections, method: str, request: bytes, metadata: Metadata, timeout: float | None
) -> tuple[Connection, Any]:
    """The call, of so many seconds if any, and the connection that it keeps until it is released. Raises one of our
    errors."""
    connection = connections.acquire(Lane.CALLS)
    try:
        start = connection.stream(method)
        call = connections.begin(connection, lambda: start(request, timeout=timeout, metadata=metadata))
    except ExportfsError:
        connections.release(connection)
        raise
    except Exception as error:
        connections.release(connection)
        raise Interrupted(f"the call failed: {type(error).__name__}: {error}") from None
    return connection, call
