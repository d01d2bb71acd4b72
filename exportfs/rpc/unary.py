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

_LATE = 1.0
"""Seconds after its deadline that gRPC has for saying so. It keeps deadlines in threads of its own, if it has any."""


def _identity(data: bytes) -> bytes:
    return data


class Bridge:
    """Makes calls over the calls connection. Belongs to one trio run."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def call(self, method: str, request: bytes, metadata: Metadata, timeout: float) -> bytes:
        """Makes one unary call with serialized messages and gives it `timeout` seconds.

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
                    connection, lambda: start.future(request, timeout=timeout, metadata=metadata)
                )
                call.add_done_callback(wake)
                with trio.move_on_after(timeout + _LATE) as scope:
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
        token = trio.lowlevel.current_trio_token()
        settled = trio.Event()
        states: list[grpc.ChannelConnectivity] = []

        def changed(state: grpc.ChannelConnectivity) -> None:
            if state in (grpc.ChannelConnectivity.READY, grpc.ChannelConnectivity.TRANSIENT_FAILURE):
                states.append(state)
                with contextlib.suppress(trio.RunFinishedError):
                    token.run_sync_soon(settled.set)

        connection = self._connections.acquire(Lane.CALLS)
        try:
            self._connections.begin(
                connection, lambda: connection.channel.subscribe(changed, try_to_connect=True)
            )
            with trio.move_on_after(within):
                await settled.wait()
        finally:
            connection.channel.unsubscribe(changed)
            self._connections.release(connection)
        if not states:
            raise TimedOut("the server did not answer in time")
        if states[0] is not grpc.ChannelConnectivity.READY:
            raise Unreachable("the server cannot be reached")

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
