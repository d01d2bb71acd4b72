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
LARGE = (4 * MIB, MIB, MIB)
"""Files of which the first is long enough for blocks of 256 KiB on any line, and of 1 MiB on a fast one."""
SMALL = (MIB, MIB, MIB)
"""Blocks of 16 and 32 KiB are all that is tried of these, as long as none is refused."""
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

TIMEOUT = 60.0
"""Seconds, of which a third is waited for a block that does not come; a busy machine takes some for what does."""

Reading = Callable[..., tuple[list[float], int]]


@pytest.fixture
def reading(server: SimulatorServer, simulator: Simulator, tmp_path: Path) -> Iterator[Reading]:
    """Reads files to the end through a front with settings; the seconds that each took, and refusals."""
    needed(Node)
    trees: list[InProcessTree] = []
    fronts: list[Node] = []

    def read(sizes: tuple[int, ...], **settings: Any) -> tuple[list[float], int]:
        front = Node(server, tmp_path, **settings)
        fronts.append(front)
        front.start()
        trees.append(InProcessTree(config_for(front.address, tmp_path, timeout=TIMEOUT)))
        ids = [simulator.add_computed(size) for size in sizes]
        eventually(lambda: len(trees[0].listdir("sessions")) == len(sizes))
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
        return took, front.refused()

    yield read
    for tree in trees:
        tree.close()
    for front in fronts:
        front.__exit__()


@pytest.mark.parametrize("status", GRPC_STATUS)
@pytest.mark.parametrize(
    ("bounds", "sizes"), [({"most": 65536}, LARGE), ({"least": 262144}, SMALL)], ids=["most", "least"]
)
def test_refused_with_any_status(
    reading: Reading, simulator: Simulator, status: str, bounds: dict[str, int], sizes: tuple[int, ...]
) -> None:
    took, refused = reading(sizes, code=GRPC_STATUS[status], details="no", **bounds)
    assert refused > 0
    assert max(took) < TIMEOUT / 4
    # Refused downloads never get to the simulator. 6 MiB are 96 blocks of 64 KiB; calls are far fewer.
    assert simulator.log.count("DownloadFile") < 20


def test_the_servers_own_limit_of_a_message(reading: Reading) -> None:
    """As gRPC has it: RESOURCE_EXHAUSTED, which elsewhere says that the server is full."""
    took, _ = reading(LARGE, options={"grpc.max_send_message_length": 100_000})
    assert max(took) < TIMEOUT / 4


@pytest.mark.parametrize("where", ["emptyBegin", "emptyEnd"])
def test_blocks_without_bytes(reading: Reading, where: str) -> None:
    """A second or so at most; it was a third of the timeout for each file."""
    took, _ = reading(SMALL, **{where: True})
    assert max(took) < TIMEOUT / 5
