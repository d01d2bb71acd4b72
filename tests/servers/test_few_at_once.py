"""A server that serves fewer calls at once than we make, and lets the others queue: as one with few threads does, and
proxies that give a connection so many places (Apache), or read for one call only once another takes (HAProxy)."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from exportfs.simulator import Config, LoginConfig, Simulator, SimulatorServer
from tests.servers.frames import PROTOCOL_ERROR, REFUSED_STREAM, FrameProxy, Judge, Verdict
from tests.servers.test_retries import start_many
from tests.support.harness import InProcessTree, config_for, eventually

SIZE = 64 << 20
SMALL = 1 << 20
TIMEOUT = 90.0


@pytest.mark.promise("E3")
def test_seeks_of_several_readers(tmp_path: Path) -> None:
    """Whoever comes first in our order may be last in the server's: nobody waits until the download is given up."""
    simulator = Simulator(Config(login=LoginConfig(required=False)))
    sessions = [simulator.add_computed(SIZE) for _ in range(2)]
    with SimulatorServer(simulator, workers=1) as server:
        tree = InProcessTree(config_for(server.address, tmp_path, timeout=TIMEOUT))

        def seek(number: int) -> float:
            """Gives the longest read's seconds."""
            chance, longest = random.Random(number), 0.0
            session = sessions[number % 2]
            name = simulator.files(session)[0].path
            place = f"sessions/{session.replace('/', '%2F')}/{name}"
            whole = simulator.content(session, name)
            for _ in range(10):
                offset, length = chance.randrange(SIZE - 200_000), chance.randrange(1, 200_000)
                begun = time.monotonic()
                assert tree.read(place, offset, length) == whole[offset : offset + length]
                longest = max(longest, time.monotonic() - begun)
            return longest

        try:
            eventually(lambda: len(tree.listdir("sessions")) == 2)
            with ThreadPoolExecutor(5) as threads:
                assert max(threads.map(seek, range(5))) < TIMEOUT / 6
        finally:
            tree.close()
    simulator.close()


@pytest.mark.promise("R6")
@pytest.mark.parametrize("code", [REFUSED_STREAM, PROTOCOL_ERROR])
@pytest.mark.parametrize("at_once", [1, 2])
def test_calls_before_it_is_told(at_once: int, code: int, tmp_path: Path) -> None:
    """The server says late, on each connection, how few calls it takes there, and what is beyond that it refuses as the
    standard lets it (RFC 9113, 5.1.2): so nothing is asked beyond that, and no block grows for it."""
    simulator = Simulator(Config(login=LoginConfig(required=False)))
    sessions = [simulator.add_computed(SMALL) for _ in range(6)]
    passed: Judge = lambda _: Verdict.PASS  # noqa: E731
    with (
        SimulatorServer(simulator) as server,
        FrameProxy(server.port, passed, at_once=at_once, late=0.3, code=code) as proxy,
    ):
        tree = InProcessTree(config_for(proxy.address, tmp_path, timeout=TIMEOUT))

        def read(session: str) -> bool:
            name = simulator.files(session)[0].path
            whole = simulator.content(session, name)
            return tree.read(f"sessions/{session.replace('/', '%2F')}/{name}") == whole

        try:
            with ThreadPoolExecutor(6) as threads:
                assert all(threads.map(read, sessions))
        finally:
            tree.close()
        assert proxy.refused == 0
        asked = {call.request.chunk_size_kb for call in simulator.log.calls("DownloadFile")}
        assert max(asked) <= 64
    simulator.close()


@pytest.mark.promise("W12")
@pytest.mark.parametrize("code", [REFUSED_STREAM, PROTOCOL_ERROR])
async def test_exports_are_started_once_each(
    server: SimulatorServer, simulator: Simulator, code: int
) -> None:
    with FrameProxy(server.port, lambda _: Verdict.PASS, at_once=1, late=0.3, code=code) as proxy:
        assert not await start_many(proxy.address, 24, at_once=6)
        assert proxy.refused == 0
    assert simulator.log.count("StartSession") == len(simulator.sessions.ids()) == 24
