from collections.abc import Callable

import grpc
import pytest

from exportfs.simulator import Config, DownloadConfig, Simulator
from exportfs.simulator.media.content import content
from tests.support.harness import eventually
from tests.unit.simulator.conftest import Make
from tests.unit.simulator.helpers import Client, archive

SIZE = 70_817


def _file(simulator: Simulator, size: int = SIZE) -> tuple[str, str]:
    session = simulator.add_computed(size, seed="d")
    return session, simulator.files(session)[0].path


def _refusal(call: Callable[[], object]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code()


def test_blocks_are_numbered_and_only_the_last_is_short(client: Client, simulator: Simulator) -> None:
    blocks = client.blocks(*_file(simulator), kb=16)
    assert [index for index, _ in blocks] == [0, 1, 2, 3, 4]  # observed: 70,817 bytes are 5 blocks of 16 KiB
    assert [len(data) for _, data in blocks] == [16384] * 4 + [5281]
    assert b"".join(data for _, data in blocks) == content("d/0", 0, SIZE)


@pytest.mark.parametrize("kb", [1, 3, 16, 64, 1000, 1 << 40])
@pytest.mark.parametrize("start", [0, 1, 4])
def test_the_start_index_counts_in_blocks(client: Client, simulator: Simulator, kb: int, start: int) -> None:
    blocks = client.blocks(*_file(simulator), kb=kb, start=start)
    offset = start * kb * 1024
    assert b"".join(data for _, data in blocks) == content("d/0", offset, max(0, SIZE - offset))
    assert [index for index, _ in blocks] == list(range(start, start + len(blocks)))


def test_a_whole_number_of_blocks_has_no_empty_one_at_the_end(client: Client, simulator: Simulator) -> None:
    assert len(client.blocks(*_file(simulator, 32768), kb=16)) == 2
    assert client.blocks(*_file(simulator, 0)) == []


@pytest.mark.parametrize("start", [5, 6, 1 << 62])
def test_past_the_end(make_server: Make, connect: Callable[..., Client], start: int) -> None:
    empty = make_server()
    assert connect(empty).blocks(*_file(empty.simulator), kb=16, start=start) == []
    strict = make_server(Config(downloads=DownloadConfig(past_end="error")))
    client, file = connect(strict), _file(strict.simulator)
    assert _refusal(lambda: client.blocks(*file, kb=16, start=start)) == grpc.StatusCode.OUT_OF_RANGE


def test_a_cap_on_the_block(make_server: Make, connect: Callable[..., Client]) -> None:
    refusing = make_server(Config(downloads=DownloadConfig(max_chunk_kb=64)))
    client, file = connect(refusing), _file(refusing.simulator)
    assert len(client.blocks(*file, kb=64)) == 2
    assert _refusal(lambda: client.blocks(*file, kb=65)) == grpc.StatusCode.INVALID_ARGUMENT
    capping = make_server(Config(downloads=DownloadConfig(max_chunk_kb=16, over_cap="cap")))
    blocks = connect(capping).blocks(*_file(capping.simulator), kb=64, start=1)
    assert [(index, len(data)) for index, data in blocks] == [(1, 16384), (2, 16384), (3, 16384), (4, 5281)]


def test_what_cannot_be_downloaded(client: Client, simulator: Simulator) -> None:
    session, path = _file(simulator)
    running = client.start(archive())
    assert _refusal(lambda: client.read("hosts/Server/none", path)) == grpc.StatusCode.NOT_FOUND
    assert _refusal(lambda: client.read(session, "none")) == grpc.StatusCode.NOT_FOUND
    assert _refusal(lambda: client.read(running, "x")) == grpc.StatusCode.FAILED_PRECONDITION
    assert _refusal(lambda: client.read(session, path, kb=0)) == grpc.StatusCode.INVALID_ARGUMENT


def test_one_download_more_than_the_server_serves(client: Client, simulator: Simulator) -> None:
    file = _file(simulator, 1 << 40)
    calls = [client.download(*file) for _ in range(8)]
    for call in calls:
        next(call)
    assert simulator.log.downloads_now == 8
    assert _refusal(lambda: next(client.download(*file))) == grpc.StatusCode.RESOURCE_EXHAUSTED
    client.all()
    for call in calls:
        call.cancel()
    _until(lambda: simulator.log.downloads_now == 0)
    assert simulator.log.downloads_peak == 8
    small = _file(simulator)
    assert len(client.read(*small)) == SIZE


def _until(true: Callable[[], bool]) -> None:
    eventually(true, every=0.005)


def test_a_cancelled_call_stops_at_once(client: Client, simulator: Simulator) -> None:
    file = _file(simulator, 1 << 40)
    call = client.download(*file, kb=64)
    next(call)
    call.cancel()
    _until(lambda: not simulator.log.running())
    [record] = simulator.log.calls("DownloadFile")
    assert record.outcome == "CANCELLED"
    sent = record.bytes_sent
    # What flow control let through before, and no more.
    assert 0 < sent < 64 << 20
    client.all()
    assert simulator.log.bytes_sent() == sent


def test_destroying_a_session_ends_its_downloads(client: Client, simulator: Simulator) -> None:
    session, path = _file(simulator, 1 << 40)
    call = client.download(session, path)
    next(call)
    client.destroy(session)

    def drain() -> None:
        for _ in call:
            pass

    assert _refusal(drain) == grpc.StatusCode.NOT_FOUND


def test_every_call_is_recorded(client: Client, simulator: Simulator) -> None:
    session, path = _file(simulator)
    client.read(session, path, kb=16)
    client.blocks(session, path, kb=16, start=3)
    client.state(session)
    log = simulator.log
    first, second = log.calls("DownloadFile", file=path)
    assert (first.session_id, first.file_id, first.chunk_size_kb, first.start_index) == (session, path, 16, 0)
    assert (first.bytes_sent, first.blocks_sent, first.outcome) == (SIZE, 5, "OK")
    assert (second.start_offset, second.bytes_sent) == (3 * 16384, SIZE - 3 * 16384)
    assert first.token == client.metadata[0][1]
    assert first.at == simulator.clock.now()
    assert log.bytes_sent(path) == 2 * SIZE - 3 * 16384
    assert log.bytes_sent("other") == 0
    assert log.counts() == {"AuthenticateEx2": 1, "DownloadFile": 2, "GetSessionState": 1}
    assert (log.count("DownloadFile"), log.count()) == (2, 4)
    log.clear()
    assert (log.count(), log.calls(), log.bytes_sent()) == (0, [], 0)
