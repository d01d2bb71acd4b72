"""The benchmark's server is only worth something if it serves the right blocks and counts them."""

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from bench.bare import Client, cut
from bench.content import KIB, Content, make_file
from bench.security import security
from bench.server import SERVICE, SESSION, ExportServer, chunk_head
from exportfs.wire import service

SIZE = 200 * KIB + 17


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ExportServer]:
    make_file(tmp_path / "a.mp4", SIZE)
    made = ExportServer(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def client(server: ExportServer) -> Iterator[Client]:
    made = Client(f"127.0.0.1:{server.port}")
    yield made
    made.channel.close()


@pytest.mark.parametrize("index", [0, 1, 127, 128, 1 << 40])
@pytest.mark.parametrize("data", [b"", b"x", b"y" * 300])
def test_a_block_encoded_by_hand_is_the_message_and_is_cut_again(index: int, data: bytes) -> None:
    message = chunk_head(index, len(data)) + data
    assert message == service.FileChunk(index=index, data=data).SerializeToString()
    assert cut(message) == data


@pytest.mark.parametrize("block", [1, 16, 64, 100, 1024])
def test_blocks_of_any_size_from_any_start_are_the_file(
    server: ExportServer, client: Client, block: int
) -> None:
    content = server.files["a.mp4"].map[:]
    for index in (0, 1, 3):
        got = [bytes(data) for data in client.blocks("a.mp4", block * KIB, index)]
        assert b"".join(got) == content[index * block * KIB :]
        assert all(len(data) == block * KIB for data in got[:-1])


def test_block_numbers_count_from_the_start_of_the_file(server: ExportServer) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call: grpc.UnaryStreamMultiCallable[bytes, service.FileChunk] = channel.unary_stream(
            f"/{SERVICE}/DownloadFile", response_deserializer=service.FileChunk.FromString
        )
        asked = service.DownloadFileRequest(
            session_id=SESSION, file_path="a.mp4", chunk_size_kb=64, start_from_chunk_index=2
        )
        assert [chunk.index for chunk in call(asked.SerializeToString())] == [2, 3]


def test_a_range_over_two_blocks(server: ExportServer, client: Client) -> None:
    content = server.files["a.mp4"].map[:]
    assert client.read("a.mp4", 64 * KIB, 60 * KIB + 5, 64 * KIB) == content[60 * KIB + 5 :][: 64 * KIB]


def test_it_counts_what_it_serves(server: ExportServer, client: Client) -> None:
    assert sum(map(len, client.blocks("a.mp4", 16 * KIB))) == SIZE
    assert sum(map(len, client.blocks("a.mp4", 16 * KIB, 12))) == SIZE - 192 * KIB
    stats = server.counters.stats()
    assert (stats["downloads"], stats["bytes"]) == (2, 2 * SIZE - 192 * KIB)
    assert stats["most_active"] >= 1
    server.counters.reset()
    assert server.counters.stats()["bytes"] == 0


def test_over_tls_it_serves_the_same(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    make_file(tmp_path / "data" / "a.mp4", SIZE)
    over = security(tmp_path, tls=True)
    words = over.server()
    server = ExportServer(tmp_path / "data", tls=[Path(word) for word in words[1:]])
    client = Client(f"127.0.0.1:{server.port}", tls=over.bare())
    try:
        assert b"".join(client.blocks("a.mp4", 16 * KIB)) == server.files["a.mp4"].map[:]
        with (
            grpc.insecure_channel(f"127.0.0.1:{server.port}") as plain,
            pytest.raises(grpc.FutureTimeoutError),
        ):
            grpc.channel_ready_future(plain).result(timeout=0.5)
    finally:
        client.channel.close()
        server.stop()


def test_what_it_does_not_serve_is_not_found(client: Client) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        list(client.blocks("b.mp4", 16 * KIB))
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


def test_it_lists_one_completed_session(server: ExportServer) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        call: grpc.UnaryStreamMultiCallable[bytes, service.ListSessionsResponse] = channel.unary_stream(
            f"/{SERVICE}/ListSessions", response_deserializer=service.ListSessionsResponse.FromString
        )
        (response,) = call(service.ListSessionsRequest(page_size=100).SerializeToString())
    (info,) = response.sessions
    assert info.session.id == SESSION
    assert info.state.state == service.S_COMPLETED
    assert info.state.result.succeeded
    assert [(file.path, file.size) for file in info.state.result.files] == [("a.mp4", SIZE)]


def test_a_copy_is_compared_to_its_end(tmp_path: Path) -> None:
    make_file(tmp_path / "a", 5000)
    content = Content(tmp_path / "a")
    right = (tmp_path / "a").read_bytes()
    (tmp_path / "b").write_bytes(right)
    assert content.difference(tmp_path / "b") is None
    for wrong in (right[:-1], right + b"\0", right[:-1] + bytes([right[-1] ^ 1])):
        (tmp_path / "b").write_bytes(wrong)
        assert content.difference(tmp_path / "b")
    content.close()
