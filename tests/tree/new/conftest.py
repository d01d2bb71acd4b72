"""One real mount for many writers: each test has names and a request of its own."""

import itertools
import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from exportfs.simulator import Config, LoginConfig, Simulator, SimulatorServer
from tests.support.harness import REFRESH, InProcessTree, config_for, mounted
from tests.tree.new.drop import Drop, request

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Simulator, Path]]:
    """A simulator, and the `new/` of a mount of it."""
    simulator = Simulator(Config(login=LoginConfig(required=False), export_seconds=0.2))
    with SimulatorServer(simulator) as server:
        options = ("--insecure", "--refresh", str(REFRESH), "--timeout", "5")
        with mounted(server.address, tmp_path_factory.mktemp("mount"), *options) as mount:
            yield simulator, mount.mountpoint / "new"
    simulator.close()


@pytest.fixture
def drop(place: tuple[Simulator, Path], tmp_path: Path) -> Iterator[Drop]:
    """A request that nobody else makes, and what has become of it."""
    simulator, new = place
    number = next(_numbers)
    source = tmp_path / f"r{number}.json"
    source.write_bytes(json.dumps(request(number), indent=1).encode() + b"\n")
    drop = Drop(simulator, new, f"r{number}", source, simulator.log.count("StartSession"))
    yield drop
    drop.check_nothing_stray()


@pytest.fixture
def inside(server: SimulatorServer, tmp_path: Path, patience: float) -> Iterator[InProcessTree]:
    """The filesystem object alone, for cases that the kernel adds nothing to."""
    with closing(InProcessTree(config_for(server.address, tmp_path, timeout=patience))) as tree:
        yield tree
