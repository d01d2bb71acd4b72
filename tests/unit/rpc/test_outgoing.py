"""What is said on a connection goes out at once, whole and in its order, whatever the kernel takes of it."""

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio

from exportfs.rpc.outgoing import Outgoing

LONG = b"".join(number.to_bytes(4, "big") for number in range(1 << 20))
"""More than sockets hold."""


class Scene:
    """`said` is what comes up to be said; `near` is ours, `far` the server's end."""

    def __init__(self, near: trio.SocketStream, far: socket.socket) -> None:
        self.said = b""
        self.outgoing = Outgoing(self._more)
        self.near, self.far = near, far

    def _more(self) -> bytes:
        said, self.said = self.said, b""
        return said

    def here(self) -> bytes:
        """What has come to the server's end by now."""
        try:
            return self.far.recv(1 << 20, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return b""

    async def heard(self, length: int) -> bytes:
        data = bytearray()
        while len(data) < length:
            data += self.here()
            await trio.lowlevel.checkpoint()
        return bytes(data)


@asynccontextmanager
async def scene(*, at_once: bool = True) -> AsyncIterator[Scene]:
    near, far = socket.socketpair()
    near.setblocking(False)
    with far:
        async with trio.SocketStream(trio.socket.from_stdlib_socket(near)) as stream:
            made = Scene(stream, far)
            if at_once:
                made.outgoing.at_once_on(stream)
            yield made


async def test_at_once_without_a_turn_of_the_loop() -> None:
    async with scene() as it:
        it.outgoing.add(b"one ")
        it.said = b"two"
        it.outgoing.flush()
        assert it.here() == b"one two"
        assert not len(it.outgoing)


async def test_through_what_lies_between_by_the_task() -> None:
    async with scene(at_once=False) as it, trio.open_nursery() as nursery:
        nursery.start_soon(it.outgoing.run, it.near)
        await trio.testing.wait_all_tasks_blocked()
        it.said = b"one "
        it.outgoing.flush()
        it.outgoing.add(b"two")
        assert it.here() == b""
        assert await it.heard(7) == b"one two"
        nursery.cancel_scope.cancel()


async def test_what_the_kernel_does_not_take_follows_in_its_order() -> None:
    async with scene() as it, trio.open_nursery() as nursery:
        nursery.start_soon(it.outgoing.run, it.near)
        it.said = LONG
        it.outgoing.flush()
        assert 0 < len(it.outgoing) < len(LONG)
        it.outgoing.add(b"two ")
        await trio.testing.wait_all_tasks_blocked()  # the task is in the middle of it
        it.said = b"three"
        it.outgoing.flush()
        assert await it.heard(len(LONG) + 9) == LONG + b"two three"
        nursery.cancel_scope.cancel()


async def test_what_is_held_goes_out_together() -> None:
    async with scene() as it, trio.open_nursery() as nursery:
        nursery.start_soon(it.outgoing.run, it.near)
        await trio.testing.wait_all_tasks_blocked()
        it.outgoing.hold()
        it.outgoing.add(b"one ")
        it.outgoing.soon()
        await trio.testing.wait_all_tasks_blocked()
        assert it.here() == b""
        it.outgoing.flush()
        assert it.here() == b"one "
        nursery.cancel_scope.cancel()


async def test_a_broken_connection_is_met_by_the_task_alone() -> None:
    async with scene() as it:
        it.far.close()
        it.said = b"one"
        it.outgoing.flush()
        with pytest.raises(trio.BrokenResourceError):
            await it.outgoing.run(it.near)
