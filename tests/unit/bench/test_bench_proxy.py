"""The long line: later, but whole and in order, both ways, and to the end of either side."""

import secrets
import socket
import threading
import time

from bench.content import MIB
from bench.proxy import listen


def test_bytes_come_back_whole_and_not_before_the_delay():
    data = secrets.token_bytes(8 * MIB)  # more than the line holds
    with socket.create_server(("127.0.0.1", 0)) as target:

        def echo() -> None:
            peer, _ = target.accept()
            with peer:
                while piece := peer.recv(MIB):
                    peer.sendall(piece)

        threading.Thread(target=echo, daemon=True).start()
        start = time.monotonic()
        with socket.create_connection(("127.0.0.1", listen(target.getsockname()[1], 0.01))) as client:
            sender = threading.Thread(target=lambda: (client.sendall(data), client.shutdown(socket.SHUT_WR)))
            sender.start()
            got = bytearray(client.recv(MIB))
            first = time.monotonic() - start
            while piece := client.recv(MIB):
                got += piece
            sender.join()
    assert bytes(got) == data
    assert first >= 0.04  # a handshake and a round trip; how much more is the machine's business


def test_a_target_that_is_not_there_ends_the_connection():
    with socket.create_server(("127.0.0.1", 0)) as gone:
        port = gone.getsockname()[1]
    with socket.create_connection(("127.0.0.1", listen(port, 0.01))) as client:
        client.settimeout(10)
        assert client.recv(1) == b""
