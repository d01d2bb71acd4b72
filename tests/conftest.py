"""Fixtures of all tests: a simulator in this process, and trees of it."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from exportfs.simulator import Config, LoginConfig, Simulator, SimulatorServer
from tests.support import prepared
from tests.support.harness import (
    REFRESH,
    InProcessTree,
    MountedTree,
    MountProcess,
    Tree,
    config_for,
    security,
)
from tests.support.ports import reserved

# Side by side on a busy machine anything may take a while: what hangs is for the bound of every test.
settings.register_profile("busy machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy machine")

pytest_plugins = ["tests.support.side_by_side"]

FUSE = Path("/dev/fuse").exists()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mount tests are skipped only where there is no FUSE at all."""
    if FUSE:
        return
    for item in items:
        if item.get_closest_marker("mount"):
            item.add_marker(pytest.mark.skip(reason="no /dev/fuse"))


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """An export server without login whose exports take 0.2 s."""
    simulator = Simulator(Config(login=LoginConfig(required=False), export_seconds=0.2))
    yield simulator
    simulator.close()


FrontFactory = Callable[[SimulatorServer], AbstractContextManager[Any]]


@pytest.fixture
def front() -> FrontFactory:
    """What stands before the simulator: nothing. `tests/servers` puts other servers there."""
    return nullcontext


@pytest.fixture
def server(simulator: Simulator, front: FrontFactory) -> Iterator[SimulatorServer]:
    """It, listening in plaintext on loopback, or what stands before it."""
    # Other tests would get its port while it is stopped.
    with reserved() as port, SimulatorServer(simulator, port=port) as server, front(server) as seen:
        yield seen


MountFactory = Callable[..., MountProcess]

IMPATIENT = pytest.mark.parametrize("patience", [4.0])
"""For tests that wait until it has passed; half of it has to be enough for a listing, on a machine that is busy."""


@pytest.fixture
def patience() -> float:
    """`--timeout` of mounts and trees, in seconds."""
    return 5.0


@pytest.fixture
def fresh() -> bool:
    """Whether mounts start with an interpreter of their own, which takes them most of a second."""
    return False


@pytest.fixture
def intervals() -> dict[str, float]:
    """Constants of the program, by their full names, that are shorter in mounts and trees: seconds that the tests of a
    module would wait for and are not about."""
    return {}


@pytest.fixture
def start_mount(
    server: SimulatorServer, tmp_path: Path, fresh: bool, patience: float, intervals: dict[str, float]
) -> Iterator[MountFactory]:
    """Starts a real mount of the server with further options; all are ended, and their logs looked at."""
    mounts: list[MountProcess] = []

    def start(
        *options: str, folder: Path = tmp_path, check_log: bool = True, address: str = ""
    ) -> MountProcess:
        bounds = ("--refresh", str(REFRESH), "--timeout", str(patience))
        options = (*security(server.tls), *bounds, *options)
        env = prepared.shorter(intervals)
        mount = MountProcess(address or server.address, folder, *options, env=env, fresh=fresh)
        mounts.append(mount)
        mount.checked = check_log
        return mount.start()

    yield start
    try:
        for mount in mounts:
            if mount.checked:
                mount.check_log()
    finally:
        for mount in mounts:
            mount.clean_up()


@pytest.fixture
def mount(start_mount: MountFactory) -> MountProcess:
    """A real mount of the server."""
    return start_mount()


@pytest.fixture(params=["object", pytest.param("mount", marks=pytest.mark.mount)])
def tree(
    request: pytest.FixtureRequest,
    server: SimulatorServer,
    tmp_path: Path,
    patience: float,
    intervals: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Tree]:
    """The tree of the server: the filesystem object, and a real mount of it."""
    if request.param == "mount":
        mount: MountProcess = request.getfixturevalue("mount")
        yield MountedTree(mount.mountpoint)
        return
    for name, seconds in intervals.items():
        monkeypatch.setattr(name, seconds)
    config = config_for(server.address, tmp_path, tls=server.tls, timeout=patience)
    with closing(InProcessTree(config)) as tree:
        yield tree
