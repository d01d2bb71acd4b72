"""The behaviour suite's reading and `new/`, and the faults of connections, against servers that are not our own.

Most tests are those of the other folders; `front`, and with it `server`, `mount` and `tree`, are this folder's.
"""
# ruff: noqa: F401

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from exportfs.simulator import Config, LoginConfig, Proxy, Simulator, SimulatorServer
from tests.conftest import FrontFactory, MountFactory
from tests.faults.chaos import results
from tests.support.harness import InProcessTree, MountProcess, Tree, config_for, eventually, security
from tests.support.ports import reserved
from tests.tree.new.test_exactly_once import (
    test_lost_reply,
    test_lost_request,
    test_the_same_again_after_a_remount,
    test_the_server_restarts_at_that_moment,
)
from tests.tree.new.test_failures import test_a_limit_that_passes, test_refused_by_the_server
from tests.tree.test_main_job import test_bad_request, test_computed_result, test_request_to_result
from tests.tree.test_promises import test_faults_are_mended, test_wrong_requests
from tests.tree.test_sessions import (
    test_open_while_its_session_goes,
    test_results_appear_when_it_completes,
)
from tests.tree.test_tree import test_sessions_and_results

pytestmark = [pytest.mark.mount, pytest.mark.slow, pytest.mark.timeout(600)]

MIB = 1 << 20
SIZE = 24 * MIB
"""Of what is read while the line is so slow that every break is in the middle."""
AHEAD = 48 * MIB
"""Of what is left early: far more than is read ahead."""


@pytest.fixture
def front(other_front: FrontFactory) -> FrontFactory:
    """Each of the other servers in turn."""
    return other_front


@pytest.fixture
def tree(server: SimulatorServer, tmp_path: Path, patience: float) -> Iterator[Tree]:
    """The filesystem object: what a mount adds has nothing to do with the server."""
    config = config_for(server.address, tmp_path, tls=server.tls, timeout=patience)
    with closing(InProcessTree(config)) as tree:
        yield tree


@pytest.fixture
def inside(tree: Tree) -> Tree:
    """The tree that `new/`'s tests use."""
    return tree


@pytest.fixture
def mount(request: pytest.FixtureRequest, start_mount: MountFactory) -> MountProcess:
    """A real mount of the server, with the patience that the restart of such a server takes."""
    return start_mount(*(("--timeout", "15") if "restarts" in request.node.name else ()))


@dataclass
class Scene:
    """A mount with a login, of another server, through a proxy that breaks connections."""

    simulator: Simulator
    server: SimulatorServer
    proxy: Proxy
    mount: MountProcess


@pytest.fixture
def scene(front: FrontFactory, tmp_path: Path) -> Iterator[Scene]:
    simulator = Simulator(Config(login=LoginConfig(token_life=4)))
    with (
        reserved() as port,
        SimulatorServer(simulator, port=port) as behind,
        front(behind) as server,
        Proxy(server.port) as proxy,
    ):
        options = (*security(server.tls), "--timeout", "9", "--refresh", "0.5", "--user", "demo")
        mount = MountProcess(proxy.address, tmp_path, *options, env={"EXPORTFS_PASSWORD": "demo"})
        try:
            yield Scene(simulator, server, proxy, mount.start())
            mount.check_log()
        finally:
            mount.clean_up()
    simulator.close()


def revoked(scene: Scene) -> None:
    scene.simulator.accounts.revoke()
    scene.proxy.disconnect()


BREAKS: dict[str, Callable[[Scene], object]] = {
    "reset": lambda scene: scene.proxy.reset(),
    "close": lambda scene: scene.proxy.disconnect(),
    "strand": lambda scene: scene.proxy.strand(),
    "restart": lambda scene: scene.server.restart(forget_tokens=True),
    "revoked": revoked,
}


def test_breaks_in_the_middle(scene: Scene) -> None:
    """Who copies notices nothing of what breaks and comes back, one thing after the other."""
    session_id = scene.simulator.add_computed(SIZE)
    name = scene.simulator.files(session_id)[0].path
    path = eventually(lambda: results(scene.mount.mountpoint).get(name))
    got, sha256 = 0, hashlib.sha256()
    step = SIZE // (len(BREAKS) + 1)
    scene.proxy.bandwidth = 8 * MIB
    with open(path, "rb", buffering=0) as file:
        for number, breaks in enumerate(BREAKS.values(), 1):
            while got < number * step:
                data = file.read(min(MIB, number * step - got))
                sha256.update(data)
                got += len(data)
            breaks(scene)
        while data := file.read(MIB):
            sha256.update(data)
            got += len(data)
    assert (got, sha256.hexdigest()) == scene.simulator.digest(session_id, name)
    assert scene.simulator.log.count("DownloadFile") > len(BREAKS)  # each cut off a download


def test_cancelled_downloads_end_on_the_server(scene: Scene) -> None:
    """Closing a file ends its download there, also behind another server."""
    session_id = scene.simulator.add_computed(AHEAD)
    name = scene.simulator.files(session_id)[0].path
    path = eventually(lambda: results(scene.mount.mountpoint).get(name))
    with open(path, "rb", buffering=0) as file:
        for _ in range(8):
            file.read(MIB)
    eventually(lambda: not [call for call in scene.simulator.log.running() if call.method == "DownloadFile"])
