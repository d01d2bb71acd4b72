"""What breaks and comes back in the middle of a copy is not noticed by who copies."""

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from exportfs.simulator import (
    Action,
    Config,
    Cut,
    Fail,
    LoginConfig,
    Proxy,
    ResetStream,
    Simulator,
    SimulatorServer,
)
from tests.faults.chaos import StreamTrouble, Surroundings, digest, digests, is_stream, results
from tests.harness import MountProcess, eventually

pytestmark = pytest.mark.mount

MIB = 1 << 20
WINDOW = 20 * MIB
"""Bytes that may be under way and lost when a connection breaks: what is read ahead, and a block."""


@dataclass
class Scene:
    """A mount with a login, through a proxy."""

    simulator: Simulator
    server: SimulatorServer
    proxy: Proxy
    mount: MountProcess

    def add(self, *sizes: int) -> list[str]:
        """Sessions of one file each; their ids, once they show."""
        ids = [self.simulator.add_computed(size) for size in sizes]
        names = {self.simulator.files(session_id)[0].path for session_id in ids}
        eventually(lambda: names <= results(self.mount.mountpoint).keys())
        return ids

    def true(self, session_id: str) -> tuple[int, str]:
        return self.simulator.digest(session_id, self.simulator.files(session_id)[0].path)

    def path(self, session_id: str) -> Path:
        name = self.simulator.files(session_id)[0].path
        path: Path = eventually(lambda: results(self.mount.mountpoint).get(name))
        return path


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    simulator = Simulator(Config(login=LoginConfig(token_life=4)))
    with SimulatorServer(simulator) as server, Proxy(server.port) as proxy:
        options = ("--insecure", "--timeout", "6", "--refresh", "0.5", "--user", "demo")
        mount = MountProcess(proxy.address, tmp_path, *options, env={"EXPORTFS_PASSWORD": "demo"})
        try:
            yield Scene(simulator, server, proxy, mount.start())
            mount.check_log()
        finally:
            mount.clean_up()
    simulator.close()


def graceful_restart(scene: Scene) -> None:
    scene.server.stop(grace=0.1)
    scene.server.start()


BREAKS: dict[str, Callable[[Scene], object]] = {
    "reset": lambda scene: scene.proxy.reset(),
    "close": lambda scene: scene.proxy.disconnect(),
    "strand": lambda scene: scene.proxy.strand(),
    "restart": lambda scene: scene.server.restart(forget_tokens=True),
    "graceful restart": graceful_restart,
    "revoked": lambda scene: scene.simulator.accounts.revoke(),
    "outage": lambda scene: (
        scene.proxy.blackhole(),
        scene.proxy.refuse(),
        scene.proxy.reset(),
        outage(scene),
    ),
}


def outage(scene: Scene) -> None:
    """Back once the mount has tried in vain for as long as it tries."""
    eventually(lambda: "cannot be had" in scene.mount.log.read_text(), within=20)
    scene.proxy.heal()
    scene.proxy.accept()
    eventually(lambda: listed(scene.mount.mountpoint / "sessions"))


def listed(directory: Path) -> bool:
    """Whether names are to be had: for a moment after an outage they still say that the server is away."""
    try:
        return bool(os.listdir(directory))
    except OSError as error:
        if error.errno != errno.ENOTCONN:
            raise
        return False


@pytest.mark.promise("E6")
@pytest.mark.parametrize("what", BREAKS)
def test_break_in_the_middle(scene: Scene, what: str) -> None:
    (session_id,) = scene.add(48 * MIB)
    with open(scene.path(session_id), "rb", buffering=0) as file:
        assert len(file.read(4 * MIB)) > 0
        BREAKS[what](scene)
        assert digest(file.name) == scene.true(session_id)
    # What the server hands to a dead connection is lost with it, on each connection until its buffers are full.
    lost = 3 * WINDOW if what == "strand" else WINDOW
    assert scene.simulator.log.bytes_sent() <= 48 * MIB + lost


@pytest.mark.parametrize(
    ("action", "outcome"),
    [
        (Cut(5 * MIB), "UNAVAILABLE"),
        (Cut(5 * MIB, "INTERNAL"), "INTERNAL"),
        (Cut(5 * MIB, ""), "OK"),
        (ResetStream(5 * MIB), "CANCELLED"),
        (Fail("RESOURCE_EXHAUSTED"), "RESOURCE_EXHAUSTED"),
        (Fail("UNAUTHENTICATED"), "UNAUTHENTICATED"),
    ],
    ids=str,
)
def test_stream_broken(scene: Scene, action: Action, outcome: str) -> None:
    (session_id,) = scene.add(24 * MIB)
    fault = scene.simulator.faults.add("DownloadFile", action, times=2, when=is_stream)
    assert digest(scene.path(session_id)) == scene.true(session_id)
    assert fault.hits == 2
    *broken, _ = filter(is_stream, scene.simulator.log.calls("DownloadFile", session_id))
    sent = 0 if isinstance(action, Fail) else 5 * MIB
    assert (outcome, sent) in [(call.outcome, call.bytes_sent) for call in broken]


@pytest.mark.slow
@pytest.mark.promise("E6")
def test_hundreds_of_faults(scene: Scene) -> None:
    """Four readers, and more than two hundred faults among them; logins expire all the while."""
    trouble = StreamTrouble(seed=1, reach=3 * MIB // 2)
    scene.simulator.faults.add("DownloadFile", trouble, times=None)
    with Surroundings(scene.simulator, scene.server, scene.proxy, every=0.3, strand=False) as around:
        while len(trouble.hits) + len(around.done) < 200:
            ids = scene.add(*[64 * MIB] * 4)
            found = digests([scene.path(session_id) for session_id in ids])
            assert found == [scene.true(session_id) for session_id in ids]
