"""Servers that refuse some sizes of blocks, each in its own way, and those that send blocks without bytes."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exportfs.simulator import Simulator, SimulatorServer
from tests.servers.conftest import needed
from tests.servers.fronts import Node
from tests.support.harness import InProcessTree, config_for, eventually

MIB = 1 << 20
SIZE = 4 * MIB
GRPC_STATUS = {
    "UNKNOWN": 2,
    "INVALID_ARGUMENT": 3,
    "NOT_FOUND": 5,
    "RESOURCE_EXHAUSTED": 8,
    "FAILED_PRECONDITION": 9,
    "OUT_OF_RANGE": 11,
    "UNIMPLEMENTED": 12,
    "INTERNAL": 13,
}

Reading = Callable[..., list[float]]


@pytest.fixture
def reading(server: SimulatorServer, simulator: Simulator, tmp_path: Path) -> Iterator[Reading]:
    """Reads three files to the end through a front with settings; the seconds that each took."""
    needed(Node)
    trees: list[InProcessTree] = []
    fronts: list[Node] = []

    def read(**settings: Any) -> list[float]:
        front = Node(server, tmp_path, **settings)
        fronts.append(front)
        front.start()
        trees.append(InProcessTree(config_for(front.address, tmp_path, timeout=20)))
        ids = [simulator.add_computed(SIZE) for _ in range(3)]
        eventually(lambda: len(trees[0].listdir("sessions")) == 3)
        took = []
        for session_id in ids:
            path = simulator.files(session_id)[0].path
            place = next(
                f"sessions/{name}/{path}"
                for name in trees[0].listdir("sessions")
                if path in trees[0].listdir(f"sessions/{name}")
            )
            begun = time.monotonic()
            assert trees[0].read(place) == simulator.content(session_id, path)
            took.append(time.monotonic() - begun)
        return took

    yield read
    for tree in trees:
        tree.close()
    for front in fronts:
        front.__exit__()


@pytest.mark.parametrize("status", GRPC_STATUS)
@pytest.mark.parametrize("bounds", [{"most": 65536}, {"least": 262144}], ids=str)
def test_refused_with_any_status(
    reading: Reading, simulator: Simulator, status: str, bounds: dict[str, int]
) -> None:
    took = reading(code=GRPC_STATUS[status], details="no", **bounds)
    assert max(took) < 5
    # Refused downloads never get to the simulator. 12 MiB are 192 blocks of 64 KiB; calls are far fewer.
    assert simulator.log.count("DownloadFile") < 20


def test_the_servers_own_limit_of_a_message(reading: Reading, simulator: Simulator) -> None:
    """As gRPC has it: RESOURCE_EXHAUSTED, which elsewhere says that the server is full."""
    took = reading(options={"grpc.max_send_message_length": 500_000})
    assert max(took) < 5


@pytest.mark.parametrize("where", ["emptyBegin", "emptyEnd"])
def test_blocks_without_bytes(reading: Reading, where: str) -> None:
    """A second or so at most; it was a third of the timeout for each file."""
    assert max(reading(**{where: True})) < 4
