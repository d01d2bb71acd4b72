"""What becomes of calls when something fails around them. No server: what is told apart happens before or after one."""

from collections.abc import Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from exportfs.config import ServerConfig
from exportfs.content.line import Line
from exportfs.errors import ExportfsError, Interrupted, NotSent, Unauthenticated
from exportfs.model import Fetch
from exportfs.rpc.download import Downloads
from exportfs.rpc.grpc_download import Download
from exportfs.rpc.renewal import Token
from exportfs.rpc.server import Server
from exportfs.wire import auth

FETCH = Fetch("session", "file", 1024, 0, 4)


class Sink:
    """Takes no block, and notes the end."""

    def __init__(self) -> None:
        self.over = trio.Event()
        self.error: ExportfsError | None = None

    def block(self, index: int, data: memoryview, length: int | None = None) -> None:
        raise ZeroDivisionError

    def ended(self, error: ExportfsError | None) -> None:
        self.error = error
        self.over.set()


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(ServerConfig("127.0.0.1", 1, user="u", password="p", insecure=True), timeout=30)
    server.login._token = Token("t", "old", 0.0, 1e9)
    yield server
    server.connections.close()


async def test_no_thread_for_a_download(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Refused, and run all the same, late."""
    downloads = Downloads(server.connections, server.login, Line())
    late = []

    def submit(work: Any) -> None:
        late.append(work)
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(downloads._threads, "start", submit)
    sink = Sink()
    download = downloads.start(FETCH, sink)
    with trio.fail_after(60):
        await sink.over.wait()
        assert isinstance(sink.error, Interrupted)
        await trio.to_thread.run_sync(late[0])
    assert isinstance(download, Download)
    assert download._connection is not None
    assert download._connection.users == 0


async def test_an_error_in_taking_a_block_ends_the_download_only(server: Server) -> None:
    downloads = Downloads(server.connections, server.login, Line())
    sink = Sink()
    download = downloads.start(FETCH, sink)
    assert isinstance(download, Download)
    download._hand_over.block(0, memoryview(b"data"))
    with trio.fail_after(60):
        await sink.over.wait()
    assert isinstance(sink.error, Interrupted)


@pytest.mark.parametrize(("login_takes", "sent"), [(0.1, 2), (1.0, 1), (9.5, 1)])
async def test_an_export_is_not_started_after_its_time(
    server: Server, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, login_takes: float, sent: int
) -> None:
    """Its session would be the answer to nobody; who wrote the request has been told of an error by then."""
    tries: list[float] = []

    async def call(method: str, request: bytes, metadata: Any, timeout: float, *, hints: Any = ()) -> bytes:
        if not method.endswith("StartSession"):
            await trio.sleep(login_takes)
            code = auth.AuthenticateResponseEx.AUTHENTICATE_CODE_OK
            answer = auth.AuthenticateResponseEx(
                error_code=code, token_name="t", token_value="new", expires_in=300
            )
            return bytes(answer.SerializeToString())
        tries.append(timeout)
        if dict(metadata)["t"] == "old":
            await trio.sleep(6.0)
            error = Unauthenticated("expired")
            error.credentials = metadata
            raise error
        raise Interrupted("an answer at least")

    monkeypatch.setattr(server._bridge, "call", call)
    with pytest.raises(Interrupted if sent == 2 else NotSent):
        await server.start_session(b"options", within=7.5)
    assert trio.current_time() <= 7.5
    assert len(tries) == sent
