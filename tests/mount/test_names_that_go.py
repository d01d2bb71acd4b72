"""Names of sessions that go: at once, and whatever the mount that tells the kernel comes to."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from exportfs.simulator import Hang, Simulator
from tests.conftest import MountFactory
from tests.support.harness import DEADLINE, MountProcess, eventually

pytestmark = pytest.mark.mount

DESTROYS = """
import os, sys
control = os.open(sys.argv[1], os.O_WRONLY)
print("open", flush=True)
sys.stdin.read()
os.write(control, b"destroy\\n")
print("destroyed", flush=True)
"""
LOOKS = {
    "a listing": "import os, sys\nwhile True: os.listdir(sys.argv[1])",
    "a name": "import os, sys\nwhile True: os.path.lexists(f'{sys.argv[1]}/nobody') or os.stat(sys.argv[1])",
}


@pytest.fixture
def patience() -> float:
    return DEADLINE


@pytest.fixture
def endable(start_mount: MountFactory, simulator: Simulator) -> MountProcess:
    """A mount of two sessions."""
    for _ in range(2):
        simulator.add_computed(1000)
    return start_mount()


def free(mount: MountProcess, device: int) -> None:
    """Where it has not ended, ends what waits for it."""
    assert mount.process is not None
    if mount.process.poll() is None:
        connection = Path(f"/sys/fs/fuse/connections/{device}/abort")
        if connection.exists():
            connection.write_text("1\n")
        subprocess.run(["umount", "-f", mount.mountpoint], check=False, capture_output=True)


def waits_for_a_listing(mount: MountProcess) -> bool:
    status = json.loads((mount.mountpoint / ".status.json").read_bytes())
    return bool({"lookup", "readdir"} & {each["op"] for each in status["operations"]})


@pytest.mark.promise("C3")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
@pytest.mark.parametrize("what", LOOKS)
def test_it_ends(endable: MountProcess, simulator: Simulator, what: str, number: int) -> None:
    """A thread of it waited in the kernel for the program that looks, and that for an answer: neither could be killed,
    nor the mount be used or unmounted."""
    mount, sessions = endable, endable.mountpoint / "sessions"
    device = os.stat(mount.mountpoint).st_dev
    control = os.fspath(next(sessions.iterdir()) / ".control")
    with (
        subprocess.Popen(
            [sys.executable, "-c", DESTROYS, control], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as destroyer,
        subprocess.Popen(
            [sys.executable, "-c", LOOKS[what], os.fspath(sessions)], stderr=subprocess.DEVNULL
        ) as looker,
    ):
        assert destroyer.stdin is not None
        assert destroyer.stdout is not None
        assert destroyer.stdout.readline() == b"open\n"
        simulator.faults.add("ListSessions", Hang(), times=None)
        eventually(lambda: waits_for_a_listing(mount))
        destroyer.stdin.close()
        assert destroyer.stdout.readline() == b"destroyed\n"
        assert waits_for_a_listing(mount)
        assert mount.process is not None
        mount.process.send_signal(number)
        try:
            mount.process.wait(DEADLINE)
            assert looker.wait(DEADLINE) != 0
            assert destroyer.wait(DEADLINE) == 0
        finally:
            free(mount, device)


HAS_IT_OPEN = """
import os, sys
folder = os.open(sys.argv[1], os.O_RDONLY)
print("open", flush=True)
sys.stdin.read()
print(os.fstat(folder).st_nlink)
try:
    os.stat(".session.json", dir_fd=folder)
except FileNotFoundError:
    print("not there")
"""


@pytest.mark.promise("T4", "S9")
def test_a_name_is_gone_at_once(start_mount: MountFactory, simulator: Simulator) -> None:
    """Although the kernel was told that it may believe in it for a minute."""
    for _ in range(4):
        simulator.add_computed(1000)
    mount = start_mount("--refresh", "60")
    calls: list[Callable[[Path], object]] = [
        os.stat,
        os.listdir,
        lambda place: os.stat(place / ".session.json"),
        lambda place: (place / ".session.json").read_bytes(),
    ]
    for call, place in zip(calls, sorted((mount.mountpoint / "sessions").iterdir()), strict=True):
        call(place)
        words = [sys.executable, "-c", HAS_IT_OPEN, os.fspath(place)]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "open\n"
            (place / ".control").write_text("destroy\n")
            with pytest.raises(FileNotFoundError):
                call(place)
            assert other.communicate()[0].split("\n") == ["0", "not there", ""]
