"""Ports that nobody else gets."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reserved() -> Iterator[int]:
    """One at which nobody listens who does not ask for it by its number, now or later: the kernel gives it neither to
    other servers nor to connections, one to that very port included, which would be its own other end."""
    with socket.socket() as keeper:
        # Whoever listens may share it, as long as this one does not listen.
        keeper.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        keeper.bind(("127.0.0.1", 0))
        yield int(keeper.getsockname()[1])
