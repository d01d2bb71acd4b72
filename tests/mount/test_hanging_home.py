"""The home directory hangs (on NFS, its server has gone): the mount goes on, and sends nothing that is not recorded."""

import contextlib
import errno
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from exportfs.simulator import Simulator, SimulatorServer
from tests.conftest import MountFactory
from tests.support.hanging import HangingFolder
from tests.support.harness import ARCHIVE_REQUEST, OURS, MountProcess, eventually, expect_errno, is_mounted

pytestmark = pytest.mark.mount
GOOD = json.dumps(ARCHIVE_REQUEST).encode()
OTHER = GOOD.replace(b"080411", b"080410")


@pytest.fixture
def home(tmp_path: Path) -> Iterator[HangingFolder]:
    """Where the journal is."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount without fusermount3, and unmount what hangs")
    folder = HangingFolder(tmp_path / "state")
    yield folder
    folder.close()


@pytest.fixture
def patience() -> float:
    return 3.0


def starts(simulator: Simulator) -> int:
    return simulator.log.count("StartSession")


@pytest.mark.promise("E3")
def test_a_request_is_refused_and_everything_else_goes_on(
    home: HangingFolder, start_mount: MountFactory, simulator: Simulator
) -> None:
    session_id = simulator.add_computed(1 << 20)
    mount = start_mount()
    mount.tree.write("new/before.json", OTHER)
    home.hang()
    expect_errno(errno.ETIMEDOUT, mount.tree.write, "new/a.json", GOOD)
    said = mount.tree.read("new/a.json.error")
    assert b"does not answer: its file system hangs" in said
    assert b"nothing was sent" in said
    assert starts(simulator) == 1

    # What is told of earlier requests waits to be written, too.
    mount.tree.unlink("new/before.json")
    assert mount.tree.listdir("new") == ["a.json", "a.json.error"]
    assert mount.tree.statvfs().f_blocks
    (name,) = [name for name in mount.tree.listdir("sessions") if simulator_name(mount, name, session_id)]
    (result,) = [each for each in mount.tree.listdir(f"sessions/{name}") if not each.startswith(".")]
    assert mount.tree.read(f"sessions/{name}/{result}") == simulator.content(
        session_id, simulator.files(session_id)[0].path
    )

    home.go_on()
    write_until_it_is_taken(mount, "new/a.json", GOOD)
    assert starts(simulator) == 2
    # Nothing is left of the refused one, and nothing of what followed is missing.
    assert mount.stop() == 0
    mount.start()
    mount.tree.write("new/a.json", GOOD)
    assert starts(simulator) == 2
    mount.tree.write("new/before.json", OTHER)
    assert starts(simulator) == 3, "it was removed, so it is a new one"


def simulator_name(mount: MountProcess, name: str, session_id: str) -> bool:
    return mount.tree.getxattr(f"sessions/{name}", "user.exportfs.id") == session_id.encode()


def write_until_it_is_taken(mount: MountProcess, path: str, content: bytes) -> None:
    def taken() -> bool:
        with contextlib.suppress(TimeoutError):
            mount.tree.write(path, content)
            return True
        return False

    eventually(taken)


@pytest.mark.promise("W12")
def test_a_record_without_a_call_does_not_stand_in_the_way_after_a_crash(
    home: HangingFolder, start_mount: MountFactory, simulator: Simulator
) -> None:
    """What was given up is taken back in the file as well, before anything else is asked for."""
    mount = start_mount()
    home.hang()
    expect_errno(errno.ETIMEDOUT, mount.tree.write, "new/a.json", GOOD)
    home.go_on()
    write_until_it_is_taken(mount, "new/other.json", OTHER)
    mount.kill()
    mount.start()
    mount.tree.write("new/a.json", GOOD)
    assert starts(simulator) == 2


@pytest.mark.promise("C3")
def test_sigterm_ends_it(home: HangingFolder, start_mount: MountFactory) -> None:
    mount = start_mount()
    home.hang()
    expect_errno(errno.ETIMEDOUT, mount.tree.write, "new/a.json", GOOD)
    assert mount.stop() == 0
    assert not is_mounted(mount.mountpoint)


@pytest.mark.promise("C1")
def test_it_does_not_begin(home: HangingFolder, server: SimulatorServer, tmp_path: Path) -> None:
    home.hang()
    done = mounting(server, tmp_path / "mnt", home.place)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "does not answer: its file system hangs" in done.stderr


@pytest.mark.promise("C1")
def test_nor_where_its_mount_point_hangs(
    home: HangingFolder, server: SimulatorServer, tmp_path: Path
) -> None:
    place = home.place / "mnt"
    place.mkdir()
    home.hang()
    done = mounting(server, place, tmp_path / "elsewhere", made=True)
    assert done.returncode == 1
    assert "hangs" in done.stderr


@pytest.mark.promise("S10")
def test_one_that_starts_nothing_needs_no_journal(
    home: HangingFolder, start_mount: MountFactory, simulator: Simulator
) -> None:
    simulator.add_computed(1 << 20)
    home.hang()
    mount = start_mount("--read-only")
    assert len(mount.tree.listdir("sessions")) == 1
    assert mount.stop() == 0


@pytest.mark.promise("S10")
def test_nor_a_directory_for_it(start_mount: MountFactory, tmp_path: Path) -> None:
    (tmp_path / "state").touch()
    mount = start_mount("--read-only")
    expect_errno(errno.EROFS, mount.tree.write, "new/a.json", GOOD)


def mounting(
    server: SimulatorServer, place: Path, state: Path, *, made: bool = False
) -> "subprocess.CompletedProcess[str]":
    if not made:
        place.mkdir()
    words = ["mount", server.address, str(place), "--insecure", "--timeout", "6"]
    process = subprocess.Popen(
        [*OURS, *words],
        env={**os.environ, "XDG_STATE_HOME": str(state)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        out, err = process.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return subprocess.CompletedProcess(words, process.returncode, out, err)
