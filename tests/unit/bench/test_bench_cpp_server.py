"""The benchmark's server in C++ gives the same answers as the one in Python, byte for byte."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeAlias

import grpc
import pytest

from bench import cpp_server
from bench.content import KIB, MIB, make_file
from bench.processes import Child, python
from bench.security import channel, security
from bench.server import SERVICE, SESSION
from exportfs.wire import service
from tests.support.harness import eventually

Answer: TypeAlias = tuple[list[bytes], grpc.StatusCode, str | None]


class Server:
    def __init__(self, child: Child, tls: list[str]) -> None:
        self.child = child
        self.channel = channel(f"127.0.0.1:{child.line()}", tls, [("grpc.use_local_subchannel_pool", 1)])

    def call(self, method: str, request: bytes) -> "grpc._CallIterator[bytes]":
        # What answers once looks the same on the wire.
        stub: grpc.UnaryStreamMultiCallable[bytes, bytes] = self.channel.unary_stream(f"/{SERVICE}/{method}")
        return stub(request, timeout=20)

    def answer(self, method: str, request: bytes) -> Answer:
        call = self.call(method, request)
        messages: list[bytes] = []
        try:
            messages.extend(call)
        except grpc.RpcError as error:
            return messages, error.code(), error.details()
        return messages, call.code(), call.details()


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    make_file(folder / "a.mp4", 200 * KIB + 17)
    make_file(folder / "b.mp4", 64 * KIB)
    make_file(folder / "big.mp4", 32 * MIB)
    return folder


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "tls"])
def servers(
    request: pytest.FixtureRequest,
    files: Path,
    pytestconfig: pytest.Config,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[Server, Server]]:
    """In Python and in C++, which is compiled once and kept."""
    if reason := cpp_server.missing():
        pytest.skip(reason)
    assert pytestconfig.cache is not None
    program = cpp_server.build(Path(pytestconfig.cache.mkdir("bench-server")))
    own = tmp_path_factory.mktemp("log")
    over, log = security(own, tls=request.param), own / "log"
    words = [str(files), "--sessions", "3", *over.server()]
    with ExitStack() as stack:
        made = []
        for command in (python("bench.server", *words), [str(program), *words]):
            child = Child(command, log, pipes=True)
            stack.callback(child.stop)
            made.append(Server(child, over.bare()))
            stack.callback(made[-1].channel.close)
        yield made[0], made[1]


def same(servers: tuple[Server, Server], method: str, request: bytes) -> Answer:
    ours, theirs = (server.answer(method, request) for server in servers)
    assert ours == theirs
    return theirs


def download(file: str, kib: int, index: int = 0, session: str = SESSION) -> bytes:
    return service.DownloadFileRequest(
        session_id=session, file_path=file, chunk_size_kb=kib, start_from_chunk_index=index
    ).SerializeToString()


def test_sessions_and_their_state(servers: tuple[Server, Server]) -> None:
    (listed,), code, _ = same(servers, "ListSessions", b"")
    assert code == grpc.StatusCode.OK
    sessions = service.ListSessionsResponse.FromString(listed).sessions
    assert len(sessions) == 3
    for info in sessions:
        asked = service.GetSessionStateRequest(session_id=info.session.id)
        messages, code, _ = same(servers, "GetSessionState", asked.SerializeToString())
        assert (len(messages), code) == (1, grpc.StatusCode.OK)


@pytest.mark.parametrize("kib", [1, 64, 100, 1024, (1 << 64) - 1])
@pytest.mark.parametrize("index", [0, 1, 3, 200, 201, (1 << 64) - 1])
@pytest.mark.parametrize("file", ["a.mp4", "b.mp4"])
def test_blocks(servers: tuple[Server, Server], files: Path, file: str, kib: int, index: int) -> None:
    messages, code, _ = same(servers, "DownloadFile", download(file, kib, index))
    assert code == grpc.StatusCode.OK
    data = b"".join(service.FileChunk.FromString(message).data for message in messages)
    assert data == (files / file).read_bytes()[index * kib * KIB :]


def test_what_is_refused(servers: tuple[Server, Server]) -> None:
    unknown = service.GetSessionStateRequest(session_id="other").SerializeToString()
    for method, request, code in (
        ("GetSessionState", unknown, grpc.StatusCode.NOT_FOUND),
        ("DownloadFile", download("c.mp4", 64), grpc.StatusCode.NOT_FOUND),
        ("DownloadFile", download("a.mp4", 64, session="other"), grpc.StatusCode.NOT_FOUND),
        ("DownloadFile", download("a.mp4", 0), grpc.StatusCode.INVALID_ARGUMENT),
        ("StartSession", b"", grpc.StatusCode.UNIMPLEMENTED),
    ):
        assert same(servers, method, request)[:2] == ([], code)


def test_counts_and_cancelled_calls(servers: tuple[Server, Server]) -> None:
    for server in servers:
        server.child.ask("reset")
        assert server.answer("DownloadFile", download("a.mp4", 64, 1))[1] == grpc.StatusCode.OK
        eventually(lambda server=server: server.child.ask("stats")["active"] == 0)
        call = server.call("DownloadFile", download("big.mp4", 64))
        next(call)
        assert server.child.ask("stats")["active"] == 1
        call.cancel()
        eventually(lambda server=server: server.child.ask("stats")["active"] == 0)
        stats = server.child.ask("stats")
        assert 136 * KIB + 17 < stats.pop("bytes") < 32 * MIB
        assert stats == {"calls": {"DownloadFile": 2}, "downloads": 2, "active": 0, "most_active": 1}
        assert server.child.ask("reset")["bytes"] == 0
