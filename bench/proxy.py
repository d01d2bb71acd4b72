"""A long line on loopback: a proxy that delays each byte by half a round trip, either way.

    python -m bench.proxy MILLISECONDS PORT...

prints a port of its own for each target port, in one line, and ends with stdin. Bandwidth is not limited, but
a direction of a connection holds 3 MiB at most, as a line of that length would: the sender waits.
"""

import contextlib
import socket
import sys
import threading
import time
from collections import deque

from bench.content import KIB, MIB

IN_FLIGHT = 3 * MIB
PIECE = 256 * KIB


class Direction:
    """One way of one connection: a thread that takes in, and a thread that lets out when it is due."""

    def __init__(self, source: socket.socket, sink: socket.socket, delay: float, not_before: float) -> None:
        self.source, self.sink, self.delay, self.not_before = source, sink, delay, not_before
        self.queue: deque[tuple[float, bytes]] = deque()
        self.held = 0
        self.changed = threading.Condition()

    def start(self) -> list[threading.Thread]:
        threads = [threading.Thread(target=run, daemon=True) for run in (self._take, self._let)]
        for thread in threads:
            thread.start()
        return threads

    def _take(self) -> None:
        while True:
            try:
                data = self.source.recv(PIECE)
            except OSError:
                data = b""
            due = max(time.monotonic() + self.delay, self.not_before)
            with self.changed:
                self.queue.append((due, data))
                self.held += len(data)
                self.changed.notify()
                if not data:
                    return
                self.changed.wait_for(lambda: self.held < IN_FLIGHT)

    def _let(self) -> None:
        broken = False
        while True:
            with self.changed:
                self.changed.wait_for(lambda: self.queue)
                due, data = self.queue[0]
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                if data and not broken:
                    self.sink.sendall(data)
                elif not data:
                    self.sink.shutdown(socket.SHUT_WR)
            except OSError:
                broken = True  # whoever sends must notice
                with contextlib.suppress(OSError):
                    self.source.shutdown(socket.SHUT_RDWR)
            with self.changed:
                self.queue.popleft()
                self.held -= len(data)
                self.changed.notify()
            if not data:
                return


def join(client: socket.socket, port: int, delay: float) -> None:
    # A proxy accepts at once; over a real line the handshake takes a round trip before the first byte leaves.
    first = time.monotonic() + 3 * delay
    try:
        server = socket.create_connection(("127.0.0.1", port))
    except OSError:
        client.close()
        return
    with client, server:
        for side in (client, server):
            side.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        threads = (
            Direction(client, server, delay, first).start() + Direction(server, client, delay, 0).start()
        )
        for thread in threads:
            thread.join()


def listen(port: int, delay: float) -> int:
    listener = socket.create_server(("127.0.0.1", 0))
    # Unread bytes in the proxy's own socket would count as sent although no line holds them.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, PIECE)

    def accept() -> None:
        while True:
            client, _ = listener.accept()
            threading.Thread(target=join, args=(client, port, delay), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return listener.getsockname()[1]


def main() -> None:
    delay = float(sys.argv[1]) / 2000
    print(*(listen(int(port), delay) for port in sys.argv[2:]), flush=True)
    with contextlib.suppress(KeyboardInterrupt):
        sys.stdin.read()


if __name__ == "__main__":
    main()
