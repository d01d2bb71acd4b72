"""What HTTP/2 says was not processed is sent again, and nothing else: StartSession starts one export, no more."""

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import trio

from exportfs.config import ServerConfig
from exportfs.errors import ExportfsError, Interrupted, NotSent, Unreachable
from exportfs.rpc.server import Server
from exportfs.simulator import Simulator, SimulatorServer
from exportfs.wire import export
from tests.servers.conftest import needed
from tests.servers.frames import FrameProxy, Verdict
from tests.servers.fronts import Nginx, Node
from tests.support.harness import CAMERA, InProcessTree, config_for, eventually

# What is on its way when a connection ends is another thing each time.
pytestmark = [pytest.mark.promise("E7"), pytest.mark.deep]
DROPS = 20


def options(number: int) -> bytes:
    """Of a request that nobody else makes."""
    archive = export.ArchiveMode(
        sources=[export.ArchiveMode.Source(origin=CAMERA)],
        start_timestamp="20260511T080411",
        end_timestamp=f"20260511T080421.{number:06}",
    )
    stream = export.StreamType(format=export.StreamType.MP4)
    return bytes(export.Options(archive=archive, stream=stream).SerializeToString())


async def start_many(address: str, count: int, at_once: int = 3) -> list[ExportfsError]:
    """Starts so many exports over one client; what failed."""
    host, _, port = address.rpartition(":")
    server = Server(ServerConfig(host, int(port), insecure=True), timeout=20)
    numbers, failures = iter(range(count)), []

    async def some() -> None:
        for number in numbers:
            try:
                await server.start_session(options(number), within=20)
            except ExportfsError as error:
                failures.append(error)

    try:
        async with trio.open_nursery() as nursery:
            for _ in range(at_once):
                nursery.start_soon(some)
    finally:
        await server.close()
    return failures


@pytest.mark.parametrize("verdict", [Verdict.GOAWAY, Verdict.REFUSE])
async def test_what_was_not_processed_is_sent_again(
    server: SimulatorServer, simulator: Simulator, verdict: Verdict
) -> None:
    """Every other call is refused: as many drops as sessions, and each is started once."""
    turns = itertools.count(1)
    drops = []

    def judge(headers: bytes) -> Verdict:
        if next(turns) % 2:
            return Verdict.PASS
        drops.append(verdict)
        return verdict

    with FrameProxy(server.port, judge) as proxy:
        failures = await start_many(proxy.address, DROPS, at_once=1)
    assert not failures, (len(failures), len(drops), failures[:3])
    assert len(drops) >= DROPS - 1
    assert simulator.log.count("StartSession") == len(simulator.sessions.ids()) == DROPS


@pytest.mark.parametrize("verdict", [Verdict.LOSE, Verdict.LOSE_AFTER_GOAWAY])
async def test_what_may_have_been_processed_is_not(
    server: SimulatorServer, simulator: Simulator, verdict: Verdict
) -> None:
    with FrameProxy(server.port, lambda headers: verdict) as proxy:
        failures = await start_many(proxy.address, 20, at_once=1)
    assert len(failures) == 20
    assert all(isinstance(failure, Interrupted | Unreachable) for failure in failures)
    assert not any(isinstance(failure, NotSent) for failure in failures)
    assert simulator.log.count("StartSession") == len(simulator.sessions.ids()) <= 20


async def test_a_proxy_that_ends_connections(
    server: SimulatorServer, simulator: Simulator, tmp_path: Path
) -> None:
    """nginx sends GOAWAY after so many requests, to whatever is on its way by then."""
    needed(Nginx)
    with Nginx(server, tmp_path, http="keepalive_requests 7;") as nginx:
        failures = await start_many(nginx.address, 9 * DROPS)
    assert not failures
    assert simulator.log.count("StartSession") == len(simulator.sessions.ids()) == 9 * DROPS


@pytest.mark.slow
def test_a_goaway_in_the_middle_of_a_download(
    server: SimulatorServer, simulator: Simulator, tmp_path: Path
) -> None:
    """Streams that run may end first, and are cut off when that takes too long: who reads notices neither."""
    needed(Node)
    size = 48 << 20
    session_id = simulator.add_computed(size)
    name = simulator.files(session_id)[0].path
    with Node(server, tmp_path) as node, ThreadPoolExecutor(1) as threads:
        tree = InProcessTree(config_for(node.address, tmp_path, timeout=20))
        try:
            place = f"sessions/{eventually(lambda: tree.listdir('sessions'))[0]}/{name}"
            reading = threads.submit(tree.read, place)
            for share in (1, 2, 3):
                eventually(lambda share=share: simulator.log.bytes_sent() > share * size // 5)
                node.order("drain 0.1" if share % 2 else "drain 10")
            assert reading.result() == simulator.content(session_id, name)
        finally:
            tree.close()
