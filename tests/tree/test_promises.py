"""The simplest proof of promises whose corners have tests of their own elsewhere."""

import errno
import json
import signal
import subprocess
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import trio
from pyfuse3 import FUSEError

from exportfs.fuse.operations import ExportOperations
from exportfs.simulator import Cut, Fail, Hang, Simulator, SimulatorServer, SkipBlock
from exportfs.vfs.node import Owner
from exportfs.vfs.status import Activity
from tests.conftest import IMPATIENT, MountFactory
from tests.mount.cli.real import command
from tests.support.harness import ARCHIVE_REQUEST, DEADLINE, OURS, Tree, eventually, expect_errno, is_mounted
from tests.tree.looking import directory, exists, results

REQUEST = json.dumps(ARCHIVE_REQUEST).encode()


@pytest.mark.promise("W2", "W3", "W5", "W7")
def test_requests(tree: Tree, simulator: Simulator) -> None:
    tree.write("new/a.json", b"")
    assert simulator.log.count("StartSession") == 0
    tree.write("new/a.json", REQUEST)
    tree.write("new/a.json", REQUEST)
    assert simulator.log.count("StartSession") == 1
    assert tree.read("new/a.json") == REQUEST
    assert exists(tree, tree.readlink("new/a").removeprefix("../"))
    tree.unlink("new/a.json")
    assert tree.listdir("new") == []
    assert len(simulator.sessions.ids()) == 1


@pytest.mark.promise("W4", "W6", "W11")
def test_wrong_requests(tree: Tree, simulator: Simulator) -> None:
    expect_errno(errno.EINVAL, tree.write, "new/a.json", b'{"archive": {}}')
    assert b"sources" in tree.read("new/a.json.error")
    tree.write("new/a.json", REQUEST)
    assert not exists(tree, "new/a.json.error")
    expect_errno(errno.EFBIG, tree.write, "new/b.json", b" " * ((16 << 20) + 1))
    assert simulator.log.count("StartSession") == 1


@pytest.mark.promise("W8", "W9", "W10")
def test_scratch(tree: Tree, simulator: Simulator) -> None:
    for name in (".a.json", "a.json~", "a.tmp", "a.part", "4913"):
        tree.write(f"new/{name}", REQUEST)
    assert simulator.log.count("StartSession") == 0
    assert b"name it 4913.json" in tree.read("new/4913.error")
    tree.rename("new/a.tmp", "new/a.json")
    assert simulator.log.count("StartSession") == 1


@pytest.mark.promise("W12")
def test_a_lost_answer(tree: Tree, simulator: Simulator) -> None:
    simulator.faults.add("StartSession", Fail("UNAVAILABLE", after_work=True))
    tree.write("new/a.json", REQUEST)
    assert simulator.log.count("StartSession") == len(simulator.sessions.ids()) == 1


@pytest.mark.promise("W13")
def test_template(tree: Tree, simulator: Simulator) -> None:
    assert tree.listdir("new") == []
    tree.write("new/a.json", tree.read("new/.template.json"))
    assert simulator.log.count("StartSession") == 1
    expect_errno(errno.EPERM, tree.unlink, "new/.template.json")


@pytest.mark.promise("E1", "E2")
def test_refusals(tree: Tree, simulator: Simulator) -> None:
    for code, number in (
        ("PERMISSION_DENIED", errno.EACCES),
        ("UNIMPLEMENTED", errno.EOPNOTSUPP),
        ("FAILED_PRECONDITION", errno.EBUSY),
        ("INVALID_ARGUMENT", errno.EINVAL),
    ):
        simulator.faults.add("StartSession", Fail(code))
        expect_errno(number, tree.write, f"new/{code}.json", REQUEST)


@pytest.mark.promise("R6", "E6")
def test_faults_are_mended(tree: Tree, simulator: Simulator) -> None:
    for action in (Cut(after_bytes=1 << 16), SkipBlock(1)):
        session_id = simulator.add_computed(5_000_001)
        path = directory(tree, session_id)
        (file,) = simulator.files(session_id)
        fault = simulator.faults.add("DownloadFile", action)
        assert tree.read(f"{path}/{results(tree, path)[0]}") == simulator.content(session_id, file.path)
        assert fault.hits == 1
        outcomes = [call.outcome for call in simulator.log.calls("DownloadFile", session_id)]
        assert len(outcomes) > 1  # the first one was not enough
        assert "UNAVAILABLE" in outcomes or isinstance(action, SkipBlock)


@IMPATIENT
@pytest.mark.promise("E3", "E4", "E2")
def test_a_server_that_hangs(tree: Tree, simulator: Simulator) -> None:
    directory(tree, simulator.add_computed(10))
    simulator.faults.add("*", Hang(), times=None)
    failure: list[OSError] = []

    def refused() -> bool:
        try:
            tree.listdir("sessions")
        except OSError as error:
            failure.append(error)
        return bool(failure)

    looking = threading.Thread(target=eventually, args=(refused,))
    looking.start()
    while looking.is_alive():
        for path in ("", "new", "sessions", "README.txt", "index.html", ".status.json"):
            tree.stat(path)
        tree.statvfs()
        looking.join(0.05)
    simulator.faults.clear()
    assert failure[0].errno in (errno.ETIMEDOUT, errno.EIO, errno.ENOTCONN)


@pytest.mark.promise("E5")
async def test_an_error_that_nobody_foresaw() -> None:
    class Broken:
        def attributes(self, ino: int, pid: int) -> None:
            raise RuntimeError("nobody foresaw this")

    activity = Activity(trio.current_time, time.time)
    operations: Any = ExportOperations(Broken(), Owner(0, 0), activity, timeout=5.0)  # type: ignore[arg-type] # it only raises
    with pytest.raises(FUSEError) as caught:
        await operations.getattr(1, SimpleNamespace(pid=1))
    assert caught.value.errno == errno.EIO
    (error,) = activity.status(lambda ino: None)["recent_errors"]
    assert error["message"] == "RuntimeError: nobody foresaw this"
    assert activity.operations == {}


@pytest.mark.mount
@pytest.mark.promise("C1", "C2", "C3", "C4")
def test_mount_and_end(start_mount: MountFactory, server: SimulatorServer, tmp_path: Path) -> None:
    mount = start_mount()
    assert is_mounted(mount.mountpoint)
    assert mount.stop(signal.SIGINT) == 0
    assert not is_mounted(mount.mountpoint)
    mount.start()
    mount.kill()
    expect_errno(errno.ENOTCONN, mount.tree.listdir, "")
    mount.start()
    assert mount.tree.listdir("")
    command("umount", mount.mountpoint)
    assert mount.process is not None
    assert mount.process.wait(DEADLINE) == 0
    nowhere = [*OURS, "mount", server.address, str(tmp_path / "nowhere"), "--insecure"]
    result = subprocess.run(nowhere, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "mkdir" in result.stderr
    assert subprocess.run([*OURS, "mount"], capture_output=True, check=False).returncode == 2
    eventually(lambda: not is_mounted(mount.mountpoint))
