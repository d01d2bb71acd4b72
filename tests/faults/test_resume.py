"""What breaks and comes back in the middle of a copy is not noticed by who copies."""

import hashlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
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
    make_certificates,
)
from tests.faults.chaos import StreamTrouble, Surroundings, digest, digests, is_stream, results
from tests.support.harness import MountProcess, eventually, security
from tests.support.ports import reserved

pytestmark = pytest.mark.mount

MIB = 1 << 20
WINDOW = 32 * MIB
"""Bytes that may be under way and lost when a connection breaks: what is read ahead, a block, and what the proxy and
the system hold."""


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
def encrypted() -> bool:
    """Whether it goes over TLS, as in the field."""
    return True


@pytest.fixture
def scene(tmp_path: Path, encrypted: bool) -> Iterator[Scene]:
    tls = make_certificates(tmp_path) if encrypted else None
    simulator = Simulator(Config(login=LoginConfig(token_life=4)))
    with (
        reserved() as port,
        reserved() as front,
        SimulatorServer(simulator, port=port, tls=tls) as server,
        Proxy(port, port=front) as proxy,
    ):
        options = (*security(tls), "--timeout", "15", "--refresh", "0.5", "--user", "demo")
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


def outage(scene: Scene) -> None:
    """Back once who reads has tried in vain, and again."""

    def retries() -> int:
        status = json.loads((scene.mount.mountpoint / ".status.json").read_bytes())
        return int(status["downloads"]["retries"])

    before = retries()
    scene.proxy.refuse()
    scene.proxy.reset()
    eventually(lambda: retries() > before + 2)
    scene.proxy.accept()


def revoked(scene: Scene) -> None:
    scene.simulator.accounts.revoke()
    scene.proxy.disconnect()


BREAKS: dict[str, Callable[[Scene], object]] = {
    "reset": lambda scene: scene.proxy.reset(),
    "close": lambda scene: scene.proxy.disconnect(),
    "strand": lambda scene: scene.proxy.strand(),
    "restart": lambda scene: scene.server.restart(forget_tokens=True),
    "graceful restart": graceful_restart,
    # It is looked at when a download begins.
    "revoked": revoked,
    "outage": outage,
}


@pytest.mark.slow
@pytest.mark.promise("E6")
@pytest.mark.parametrize("what", BREAKS)
def test_break_in_the_middle(scene: Scene, what: str) -> None:
    # What the server hands to a dead connection is lost with it, on each connection until its buffers are full.
    # To begin again from the start would cost more than that: so much, and 24 MiB, has been read before.
    lost = 2 * WINDOW if what == "strand" else WINDOW
    before, size = lost, lost + 48 * MIB
    (session_id,) = scene.add(size)
    got, sha256 = 0, hashlib.sha256()
    with open(scene.path(session_id), "rb", buffering=0) as file, ThreadPoolExecutor(1) as threads:

        def read(until: int) -> None:
            nonlocal got
            while got < until and (data := file.read(min(MIB, until - got))):
                sha256.update(data)
                got += len(data)

        read(before)
        scene.proxy.bandwidth = 12 * MIB
        reading = threads.submit(read, size)
        eventually(lambda: got > before + 24 * MIB)  # nothing is ahead any more: who reads waits for the line
        assert not reading.done()
        BREAKS[what](scene)
        scene.proxy.bandwidth = None
        reading.result()
    assert (got, sha256.hexdigest()) == scene.true(session_id)
    assert scene.simulator.log.bytes_sent() <= size + lost


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
@pytest.mark.parametrize("encrypted", [False], ids=["plain"])  # over TLS slow cores may have no stream
def test_stream_broken(scene: Scene, action: Action, outcome: str) -> None:
    (session_id,) = scene.add(24 * MIB)
    # A first block that is refused may be too large: the next is smaller then.
    sequential = (lambda call: call.chunk_size_kb >= 64) if isinstance(action, Fail) else is_stream
    fault = scene.simulator.faults.add("DownloadFile", action, times=2, when=sequential)
    assert digest(scene.path(session_id)) == scene.true(session_id)
    assert fault.hits == 2
    *broken, _ = filter(sequential, scene.simulator.log.calls("DownloadFile", session_id))
    sent = 0 if isinstance(action, Fail) else 5 * MIB
    assert (outcome, sent) in [(call.outcome, call.bytes_sent) for call in broken]


@pytest.mark.slow
@pytest.mark.promise("E6")
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "TLS"])
def test_a_hundred_faults(scene: Scene) -> None:
    """Four readers, and faults of every kind among them; logins expire all the while."""
    trouble = StreamTrouble(seed=1, reach=3 * MIB // 2)
    scene.simulator.faults.add("DownloadFile", trouble, times=None)
    with Surroundings(scene.simulator, scene.server, scene.proxy, every=0.3, strand=False) as around:
        kinds = StreamTrouble.KINDS | around.kinds
        while len(done := [*trouble.hits, *around.done]) < 100 or set(done) != kinds:
            ids = scene.add(*[16 * MIB] * 4)
            found = digests([scene.path(session_id) for session_id in ids])
            assert found == [scene.true(session_id) for session_id in ids]
