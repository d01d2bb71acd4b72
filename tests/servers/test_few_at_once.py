"""A server that serves fewer calls at once than we make, and lets the others queue: as one with few threads does, and
proxies that give a connection so many places (Apache), or read for one call only once another takes (HAProxy)."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from exportfs.simulator import Config, LoginConfig, Simulator, SimulatorServer
from tests.support.harness import InProcessTree, config_for, eventually

SIZE = 64 << 20
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
