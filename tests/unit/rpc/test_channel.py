"""What a connection announces to the server."""

import socket

import pytest

from exportfs.config import MIB, ServerConfig
from exportfs.rpc.channel import Connections, Lane

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, INITIAL_WINDOW_SIZE = 4, 4
"""A type of frame and an identifier of HTTP/2 (RFC 9113, 6.5)."""


@pytest.mark.parametrize(("near", "window"), [(False, 4 * MIB), (True, 2 * MIB)])
def test_a_near_server_may_send_less_that_nobody_wants(near: bool, window: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        connections = Connections(ServerConfig("127.0.0.1", listener.getsockname()[1], insecure=True))
        connections.near = lambda: near
        connections.acquire(Lane.STREAMS).state(connect=True)
        server, _ = listener.accept()
        with server, server.makefile("rb") as file:
            assert file.read(len(PREFACE)) == PREFACE
            head = file.read(9)
            assert head[3] == SETTINGS
            announced = file.read(int.from_bytes(head[:3], "big"))
        connections.close()
    settings = {
        int.from_bytes(announced[at : at + 2], "big"): int.from_bytes(announced[at + 2 : at + 6], "big")
        for at in range(0, len(announced), 6)
    }
    assert settings[INITIAL_WINDOW_SIZE] == window
