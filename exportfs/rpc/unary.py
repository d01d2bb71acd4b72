"""From gRPC's threads to trio: unary calls as awaitables, bounded and cancellable.

A unary call needs no thread of ours: gRPC runs it and tells us when it is done. Streams need one each, since
taking the next message blocks; see `paged.py` and `download.py`.
"""

import contextlib
from typing import Any

import grpc
import trio

from exportfs.errors import ExportfsError, Interrupted, TimedOut, Unreachable
from exportfs.rpc.channel import Connection, Connections, Lane, Metadata
from exportfs.rpc.counted import counted
from exportfs.rpc.status import translate

LATE = 1.0
"""Seconds after its deadline that gRPC has for saying so. It keeps deadlines in threads of its own, if it has any."""
_LOOK = 0.005
"""Seconds between two looks at whether there is a connection, at the start only."""
_BEGINS = 0.5
"""Seconds in which gRPC has begun to connect; where it does not after that it has been connected, and cut off."""


def _identity(data: bytes) -> bytes:
    return data


class Bridge:
    """Makes calls over the calls connection. Belongs to one trio run."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def call(
        self, method: str, request: bytes, metadata: Metadata, timeout: float, *, hints: Metadata = ()
    ) -> bytes:
        """Makes one unary call with serialized messages and gives it `timeout` seconds. hints: headers that are no
        secret, beside those of the login.

        Raises one of our errors. When the caller is cancelled, so is the call.
        """
        with counted(self._connections.calls, method):
            token = trio.lowlevel.current_trio_token()
            done = trio.Event()

            def wake(_: object) -> None:
                with contextlib.suppress(trio.RunFinishedError):
                    token.run_sync_soon(done.set)

            connection = self._connections.acquire(Lane.CALLS)
            call: Any = None
            try:
                start: Any = connection.channel.unary_unary(method, _identity, _identity)
                call = self._connections.begin(
                    connection,
                    lambda: start.future(request, timeout=timeout, metadata=(*metadata, *hints)),
                )
                call.add_done_callback(wake)
                with trio.move_on_after(timeout + LATE) as scope:
                    await done.wait()
                if scope.cancelled_caught:
                    self._connections.suspect(connection)
                    raise TimedOut("the server did not answer in time")
                return self._result(call, connection, metadata)
            finally:
                if call is not None:
                    call.cancel()
                self._connections.release(connection)

    async def connect(self, within: float) -> None:
        """Returns when there is a connection. Raises Unreachable at once where none can be made, or TimedOut."""
        connection = self._connections.acquire(Lane.CALLS)
        try:
            state, begun = connection.state(connect=True), trio.current_time()
            with trio.move_on_after(within):
                while state is not grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                    lost = state is grpc.ChannelConnectivity.IDLE and trio.current_time() > begun + _BEGINS
                    if lost or state in (grpc.ChannelConnectivity.READY, None):
                        return  # where it is lost already, or gRPC does not tell, the first call will
                    await trio.sleep(_LOOK)
                    state = connection.state()
                raise Unreachable("the server cannot be reached")
        finally:
            self._connections.release(connection)
        raise TimedOut("the server did not answer in time")

    def _result(self, call: Any, connection: Connection, metadata: Metadata) -> bytes:
        error = call.exception()
        if error is None:
            result: bytes | None = call.result()
            if result is None:
                raise Interrupted("the server ended the call without an answer")
            return result
        if not isinstance(error, grpc.RpcError):
            raise ExportfsError(f"the call failed: {type(error).__name__}")
        if call.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
            self._connections.suspect(connection)
        raise translate(error, metadata)
