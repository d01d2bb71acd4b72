import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from exportfs.simulator import (
    Action,
    Answer,
    Config,
    CorruptBlock,
    Cut,
    Delay,
    EndlessPages,
    EndlessStream,
    Fail,
    Hang,
    LongBlock,
    Overrun,
    RepeatBlock,
    ResetStream,
    RevokeToken,
    ShortBlock,
    Simulator,
    SimulatorServer,
    SkipBlock,
    Slow,
    Stall,
    SwapBlocks,
    WrongIndex,
    content,
)
from exportfs.wire import service
from tests.support.harness import DEADLINE, eventually
from tests.unit.simulator.conftest import Make
from tests.unit.simulator.helpers import Client, archive

BLOCK = 16 * 1024
SIZE = 5 * BLOCK
WHOLE = [(number, content("f/0", number * BLOCK, BLOCK)) for number in range(5)]


@pytest.fixture
def file(simulator: Simulator) -> tuple[str, str]:
    return simulator.add_computed(SIZE, seed="f", names=["f"]), "f"


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def _got(call: Any) -> tuple[list[tuple[int, bytes]], grpc.StatusCode]:
    """Blocks and status of a download."""
    blocks: list[tuple[int, bytes]] = []
    try:
        blocks.extend((chunk.index, chunk.data) for chunk in call)
    except grpc.RpcError as error:
        # extend keeps what came before.
        return blocks, error.code()
    return blocks, grpc.StatusCode.OK


def _code(call: Callable[[], object]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code()


def _until(true: Callable[[], bool]) -> None:
    eventually(true, every=0.002)


_, FIRST = WHOLE[0]
FLIPPED = bytes([FIRST[0] ^ 0xFF]) + FIRST[1:]


@pytest.mark.parametrize(
    ("action", "blocks", "code"),
    [
        (Cut(2 * BLOCK), WHOLE[:2], "UNAVAILABLE"),
        (Cut(2 * BLOCK + 5, "DATA_LOSS"), WHOLE[:2], "DATA_LOSS"),
        (Cut(3 * BLOCK, ""), WHOLE[:3], "OK"),
        (ResetStream(BLOCK), WHOLE[:1], "CANCELLED"),
        (ShortBlock(1, 100), [WHOLE[0], (1, WHOLE[1][1][:-100]), *WHOLE[2:]], "OK"),
        (LongBlock(4, 3), [*WHOLE[:4], (4, WHOLE[4][1] + bytes(3))], "OK"),
        (RepeatBlock(1), [*WHOLE[:2], *WHOLE[1:]], "OK"),
        (SkipBlock(2), [*WHOLE[:2], *WHOLE[3:]], "OK"),
        (WrongIndex(3, 10), [*WHOLE[:3], (13, WHOLE[3][1]), WHOLE[4]], "OK"),
        (WrongIndex(3, 1, True), [*WHOLE[:3], (4, WHOLE[3][1]), (5, WHOLE[4][1])], "OK"),
        (CorruptBlock(0), [(0, FLIPPED), *WHOLE[1:]], "OK"),
        (SwapBlocks(1), [WHOLE[0], WHOLE[2], WHOLE[1], *WHOLE[3:]], "OK"),
        (Overrun(2, 10), [*WHOLE, (5, bytes(10)), (6, bytes(10))], "OK"),
        (Slow(1e9), WHOLE, "OK"),
        (Fail("RESOURCE_EXHAUSTED"), [], "RESOURCE_EXHAUSTED"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Action) else "",
)
def test_what_can_go_wrong_with_a_download(
    client: Client,
    simulator: Simulator,
    file: tuple[str, str],
    action: Action,
    blocks: list[tuple[int, bytes]],
    code: str,
) -> None:
    fault = simulator.faults.add("DownloadFile", action)
    got = _got(client.download(*file, kb=16))
    # A reset may overtake blocks on their way.
    assert got == (blocks, grpc.StatusCode[code]) or (isinstance(action, ResetStream) and got[1].name == code)
    assert fault.hits == 1
    assert _got(client.download(*file, kb=16)) == (WHOLE, grpc.StatusCode.OK)
    assert {call.outcome for call in simulator.log.calls("DownloadFile")} == {code, "OK"}


def test_blocks_are_counted_within_the_call(
    client: Client, simulator: Simulator, file: tuple[str, str]
) -> None:
    simulator.faults.add("DownloadFile", SkipBlock(0))
    assert _got(client.download(*file, kb=16, start=3)) == (WHOLE[4:], grpc.StatusCode.OK)


def test_rules_choose_their_calls(client: Client, simulator: Simulator, file: tuple[str, str]) -> None:
    other = simulator.add_computed(5, names=["o"])
    simulator.faults.add("GetSessionState", Fail(), skip=1, times=2, session=file[0])
    outcomes = []
    for _ in range(5):
        client.state(other)
        try:
            client.state(file[0])
            outcomes.append("ok")
        except grpc.RpcError as error:
            outcomes.append(error.code().name)
    assert outcomes == ["ok", "UNAVAILABLE", "UNAVAILABLE", "ok", "ok"]
    rule = simulator.faults.add("*", Fail("INTERNAL"), times=None, when=lambda call: call.file_id == "o")
    assert _code(lambda: client.read(other, "o")) == grpc.StatusCode.INTERNAL
    assert client.read(*file)
    simulator.faults.remove(rule)
    assert client.read(other, "o")
    simulator.faults.add("DownloadFile", Fail("ABORTED"), file="f", times=None)
    assert client.read(other, "o")
    assert _code(lambda: client.read(*file)) == grpc.StatusCode.ABORTED
    simulator.faults.clear()
    assert client.read(*file)


def test_a_lost_reply_of_start_session(client: Client, simulator: Simulator) -> None:
    simulator.faults.add("StartSession", Fail("UNAVAILABLE", after_work=True))
    assert _code(lambda: client.start(archive())) == grpc.StatusCode.UNAVAILABLE
    [info] = client.all()
    assert info.session.options == archive()
    simulator.faults.add("StartSession", Fail("UNAVAILABLE"))
    assert _code(lambda: client.start(archive())) == grpc.StatusCode.UNAVAILABLE
    assert len(client.all()) == 1


def test_delays(client: Client, simulator: Simulator) -> None:
    simulator.faults.add("ListSessions", Delay(0.05))
    begin = time.monotonic()
    client.all()
    assert time.monotonic() - begin >= 0.05
    simulator.faults.add("StartSession", Delay(30, after_work=True))
    request = service.StartSessionRequest(session_options=archive())
    started = client.stub.StartSession.future(request, metadata=client.metadata)
    _until(lambda: bool(simulator.sessions.ids()))
    started.cancel()
    assert len(client.all()) == 1
    _until(lambda: not simulator.log.running())
    assert simulator.log.calls("StartSession")[0].outcome == "CANCELLED"


def test_hanging_until_released(client: Client, simulator: Simulator, threads: ThreadPoolExecutor) -> None:
    simulator.faults.add("ListSessions", Hang(), times=None)
    waiting = [threads.submit(client.all) for _ in range(3)]
    _until(lambda: len(simulator.log.running()) == 3)
    assert not any(future.done() for future in waiting)
    simulator.faults.release()
    assert [future.result(DEADLINE) for future in waiting] == [[], [], []]
    assert client.all() == []


def test_a_hanging_call_can_be_cancelled(client: Client, simulator: Simulator) -> None:
    simulator.faults.add("GetSessionState", Hang())
    with pytest.raises(grpc.RpcError) as caught:
        client.state("x", timeout=0.05)
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    _until(lambda: not simulator.log.running())


def test_a_stalled_stream_goes_on_when_released(
    client: Client, simulator: Simulator, file: tuple[str, str], threads: ThreadPoolExecutor
) -> None:
    simulator.faults.add("DownloadFile", Stall(2 * BLOCK))
    call = client.download(*file, kb=16)
    got = [next(call), next(call)]
    rest = threads.submit(lambda: list(call))
    _until(lambda: simulator.log.calls("DownloadFile")[0].blocks_sent == 2)
    assert not rest.done()
    simulator.faults.release()
    assert [(chunk.index, chunk.data) for chunk in got + rest.result(DEADLINE)] == WHOLE
    simulator.faults.add("DownloadFile", Stall(BLOCK, seconds=0.02))
    assert _got(client.download(*file, kb=16)) == (WHOLE, grpc.StatusCode.OK)


def test_stopping_the_server_ends_what_hangs(
    client: Client, server: SimulatorServer, threads: ThreadPoolExecutor
) -> None:
    server.simulator.faults.add("ListSessions", Hang(), times=None)
    server.simulator.faults.add("GetSessionState", Delay(60), times=None)
    waiting = [threads.submit(client.all), threads.submit(client.state, "x")]
    _until(lambda: len(server.simulator.log.running()) == 2)
    begin = time.monotonic()
    server.stop()
    assert time.monotonic() - begin < 30
    assert all(isinstance(future.exception(DEADLINE), grpc.RpcError) for future in waiting)


def test_stuck_downloads_do_not_block_other_calls(
    client: Client, simulator: Simulator, file: tuple[str, str]
) -> None:
    simulator.faults.add("DownloadFile", Stall(0), times=None)
    calls = [client.download(*file) for _ in range(8)]
    _until(lambda: simulator.log.downloads_now == 8)
    assert len(client.all()) == 1
    assert client.state(file[0])
    for call in calls:
        call.cancel()
    _until(lambda: simulator.log.downloads_now == 0)


def test_an_endless_listing(client: Client, simulator: Simulator, file: tuple[str, str]) -> None:
    simulator.faults.add("ListSessions", EndlessStream(pause=0.0001))
    call = client.stub.ListSessions(service.ListSessionsRequest(), metadata=client.metadata)
    messages = [next(call) for _ in range(50)]
    assert len(messages[0].sessions) == 1
    call.cancel()
    _until(lambda: not simulator.log.running())
    simulator.faults.add("ListSessions", EndlessPages(), times=None)
    token = ""
    for _ in range(20):
        *_, last = client.page(token)
        assert last.next_page_token != token
        token = last.next_page_token


@pytest.mark.parametrize("every", [False, True])
def test_revoked_tokens(client: Client, simulator: Simulator, every: bool) -> None:
    other = client.metadata
    client.login()
    simulator.faults.add("ListSessions", RevokeToken(every))
    assert _code(client.all) == grpc.StatusCode.UNAUTHENTICATED
    assert _code(client.all) == grpc.StatusCode.UNAUTHENTICATED
    client.metadata = other
    if every:
        assert _code(client.all) == grpc.StatusCode.UNAUTHENTICATED
    else:
        client.all()


def test_answers_may_be_any_bytes(client: Client, simulator: Simulator, file: tuple[str, str]) -> None:
    request = service.StartSessionRequest(session_options=archive())
    raw: grpc.UnaryUnaryMultiCallable[service.StartSessionRequest, bytes] = client.channel.unary_unary(
        "/axxonsoft.bl.mmexport.ExportService/StartSession",
        request_serializer=service.StartSessionRequest.SerializeToString,
    )
    simulator.faults.add("StartSession", Answer((b"\x0a\x02\xff\xfe",)))
    assert raw(request, metadata=tuple(client.metadata)) == b"\x0a\x02\xff\xfe"
    assert len(client.all()) == 1  # only the file's
    simulator.faults.add("StartSession", Answer((b"\xff\xff\xff",)))
    with pytest.raises(grpc.RpcError):
        client.start(archive())
    simulator.faults.add(
        "DownloadFile", Answer((service.FileChunk(index=1 << 63), service.FileChunk(data=b"x")))
    )
    assert client.blocks(*file) == [(1 << 63, b""), (0, b"x")]
    simulator.faults.add("ListSessions", Answer(()))
    assert client.page() == []


def test_ids_that_are_no_utf8(make_server: Make) -> None:
    server = make_server(Config(foreign_bytes=(("é", b"\xff\xfe"),)))
    session = server.simulator.add_computed(100, session_id="sé", names=["fé"], seed="u")
    client = Client.of(server)

    def raw(method: str) -> Any:
        return client.channel.unary_stream(f"/axxonsoft.bl.mmexport.ExportService/{method}")

    [page] = raw("ListSessions")(b"", metadata=client.metadata)
    assert b"s\xff\xfe" in page
    assert b"f\xff\xfe" in page
    with pytest.raises(grpc.RpcError):
        client.page()
    request = service.DownloadFileRequest(
        session_id="s??", file_path="f??", chunk_size_kb=1
    ).SerializeToString()
    [chunk] = raw("DownloadFile")(request.replace(b"??", b"\xff\xfe"), metadata=client.metadata)
    assert chunk.endswith(content("u/0", 0, 100))
    assert server.simulator.log.calls("DownloadFile", session=session, file="fé")
    client.close()


def test_faults_may_be_changed_while_calls_run(
    client: Client, simulator: Simulator, threads: ThreadPoolExecutor
) -> None:
    def call() -> int:
        return sum(1 for _ in range(50) if not client.all())

    running = [threads.submit(call) for _ in range(3)]
    for _ in range(100):
        simulator.faults.remove(simulator.faults.add("ListSessions", Delay(0.0001), times=None))
    assert [future.result(DEADLINE) for future in running] == [50] * 3
    assert simulator.faults.rules() == []
