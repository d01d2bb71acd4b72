"""A gateway: the machine, a simulated server, and results in it."""

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from exportfs.simulator import Config, LoginConfig, Simulator, SimulatorServer
from tests.gateway.machine import Machine, commands, machine


def needed(program: str, packages: str) -> None:
    """Skips the test where a server is not installed; CI has all of them."""
    if shutil.which(program, path=f"{os.environ['PATH']}:/usr/sbin") is None:
        pytest.skip(f"no {program}: apt install {packages}")


class Gateway:
    """What the tests look at."""

    def __init__(self, simulator: Simulator, session_id: str, machine: Machine, folder: Path) -> None:
        self.simulator = simulator
        self.machine = machine
        self.folder = folder
        self._requests = 0
        self.session_id = session_id
        self.results: dict[str, tuple[int, str]] = {}
        """Size and digest by path in the mount."""
        for file in simulator.files(session_id):
            (path,) = machine.tree.glob(f"sessions/*/{file.path}")
            self.results[f"sessions/{path.parent.name}/{path.name}"] = simulator.digest(session_id, file.path)

    @property
    def session(self) -> str:
        """The path of their session."""
        return next(iter(self.results)).rpartition("/")[0]

    def __repr__(self) -> str:
        return "gateway"

    def content(self, path: str, offset: int, length: int) -> bytes:
        """What the server holds there."""
        return self.simulator.content(self.session_id, path.rpartition("/")[2], offset, length)

    def ranges(self, path: str) -> Iterator[tuple[int, int, str]]:
        """Offsets and lengths as a seeking player has them, and their digests."""
        size, _ = self.results[path]
        for offset, length in (
            (0, 100),
            (size - 8192, 8192),
            (size // 2 - 1, 200_000),
            (131_071, 2),
            (7, 65_536),
        ):
            yield offset, length, hashlib.sha256(self.content(path, offset, length)).hexdigest()

    def request(self) -> str:
        """One that nobody else makes."""
        self._requests += 1
        return REQUEST.replace("080421", f"0805{self._requests:02d}")

    def exports(self) -> int:
        """How many were started."""
        return self.simulator.log.count("StartSession")

    def remount(self) -> None:
        self.machine.unmount()
        self.machine.mount()


REQUEST = """{
    "archive": {
        "sources": [{"origin": "hosts/Server/DeviceIpint.1/SourceEndpoint.video:0:0"}],
        "startTimestamp": "20260511T080411",
        "endTimestamp": "20260511T080421"
    },
    "stream": {"format": "MP4"}
}
"""


@pytest.fixture(scope="package")
def place() -> Iterator[Gateway]:
    """One for all tests: each has requests and names in `new/` of its own, ends what it serves, and remounts."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a machine of its own")
    needed("ip", "iproute2")
    simulator = Simulator(Config(login=LoginConfig(required=False), export_seconds=0.2))
    # Not below tmp_path, which nobody but its owner may enter.
    with (
        closing(simulator),
        tempfile.TemporaryDirectory(prefix="exportfs-gateway-") as name,
        SimulatorServer(simulator) as server,
        machine(Path(name), server.address) as made,
    ):
        folder = Path(name)
        folder.chmod(0o755)
        for user in ("ana", "ben"):
            made.run("sh", "-c", f"id {user} || useradd --create-home {user}")
        made.run("sh", "-e", input=commands("The mount"))
        # Ends that are no multiples of anything; the second is longer than what is read ahead.
        session_id = simulator.add_computed(3_000_017, 20_000_003, expires=False)
        made.mount()
        yield Gateway(simulator, session_id, made, folder)


@pytest.fixture
def gateway(place: Gateway) -> Iterator[Gateway]:
    """Whatever a test does, no export is stopped or destroyed, and the mount says of nothing unexpected."""
    simulator, log = place.simulator, place.folder / "mount.log"
    before = log.stat().st_size
    yield place
    assert place.session_id in simulator.sessions.ids()
    assert simulator.log.count("StartSession") == len(simulator.sessions.ids()) - 1
    assert not {"StopSession", "DestroySession"} & set(simulator.log.counts())
    said = log.read_bytes()[before:].decode()
    assert "Traceback" not in said, said
