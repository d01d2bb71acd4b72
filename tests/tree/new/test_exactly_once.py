"""Lost answers, crashes and full disks, on real mounts: never a second export, and none that is lost."""

import contextlib
import errno
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from exportfs.requests import parse
from exportfs.simulator import Delay, Fail, Hang, Simulator, SimulatorServer
from exportfs.wire import export
from tests.conftest import IMPATIENT, MountFactory
from tests.support.harness import ARCHIVE_REQUEST, CAMERA, MountProcess, eventually, expect_errno
from tests.support.swapping import in_the_way

pytestmark = [pytest.mark.mount, pytest.mark.promise("W12")]
GOOD = json.dumps(ARCHIVE_REQUEST).encode()


def starts(simulator: Simulator) -> int:
    return simulator.log.count("StartSession")


def linked(mount: MountProcess) -> bool:
    return os.path.islink(mount.mountpoint / "new" / "a")


def no_error(mount: MountProcess) -> bool:
    return not [name for name in mount.tree.listdir("new") if name.endswith(".error")]


def test_lost_reply(mount: MountProcess, simulator: Simulator) -> None:
    simulator.faults.add("StartSession", Fail("UNAVAILABLE", "Socket closed", after_work=True))
    mount.tree.write("new/a.json", GOOD)
    assert starts(simulator) == len(simulator.sessions.ids()) == 1
    assert linked(mount)
    assert no_error(mount)


@IMPATIENT
def test_lost_request(mount: MountProcess, simulator: Simulator) -> None:
    simulator.faults.add("StartSession", Fail("UNAVAILABLE", "Socket closed"))
    expect_errno(errno.ENOTCONN, mount.tree.write, "new/a.json", GOOD)
    assert b"unknown" in mount.tree.read("new/a.json.error")
    expect_errno(errno.EIO, mount.tree.write, "new/a.json", GOOD)
    assert starts(simulator) == 1


@IMPATIENT
def test_deadline_passes_while_the_server_works(mount: MountProcess, simulator: Simulator) -> None:
    simulator.faults.add("StartSession", Hang(after_work=True))
    mount.tree.write("new/a.json", GOOD)
    assert starts(simulator) == 1
    assert linked(mount)


def test_the_server_works_after_everybody_has_given_up(
    start_mount: MountFactory, simulator: Simulator
) -> None:
    mount = start_mount("--timeout", "4", "--refresh", "60")
    # The simulator does the work of a call that was given up; a released Hang would end with it.
    simulator.faults.add("StartSession", Fail("DEADLINE_EXCEEDED", "slow"))
    expect_errno(errno.ETIMEDOUT, mount.tree.write, "new/a.json", GOOD)
    simulator.sessions.start(export.Options.FromString(parse(GOOD).options))
    # Written again, before any listing of the mount's own: the session is found, and nothing started.
    mount.tree.write("new/a.json", GOOD)
    assert starts(simulator) == 1
    assert linked(mount)
    assert no_error(mount)


def test_adopted_without_being_asked(start_mount: MountFactory, simulator: Simulator) -> None:
    mount = start_mount("--timeout", "4")
    simulator.faults.add("StartSession", Fail("DEADLINE_EXCEEDED", "slow"))
    expect_errno(errno.ETIMEDOUT, mount.tree.write, "new/a.json", GOOD)
    simulator.sessions.start(export.Options.FromString(parse(GOOD).options))
    eventually(lambda: linked(mount) and no_error(mount))
    # Removed after the error, and dropped again: the same request still.
    mount.tree.unlink("new/a.json")
    mount.tree.write("new/a.json", GOOD)
    assert starts(simulator) == 1


@pytest.mark.parametrize("forget", [False, True])
def test_the_server_restarts_at_that_moment(
    mount: MountProcess, server: SimulatorServer, simulator: Simulator, forget: bool
) -> None:
    simulator.faults.add("StartSession", Hang(after_work=True))

    def restart() -> None:
        eventually(lambda: simulator.sessions.ids())
        server.restart(forget_tokens=forget)

    thread = threading.Thread(target=restart)
    thread.start()
    mount.tree.write("new/a.json", GOOD)
    thread.join()
    assert starts(simulator) == 1
    assert linked(mount)
    assert no_error(mount)


def test_killed_between_submitting_and_answering(start_mount: MountFactory, simulator: Simulator) -> None:
    mount = start_mount("--timeout", "20")
    simulator.faults.add("StartSession", Hang(after_work=True))
    (mount.mountpoint.parent / "a.json").write_bytes(GOOD)
    writer = subprocess.Popen(
        ["cp", mount.mountpoint.parent / "a.json", mount.mountpoint / "new" / "a.json"],
        stderr=subprocess.PIPE,
    )
    eventually(lambda: simulator.sessions.ids())
    mount.kill()
    assert writer.communicate(timeout=20)[1]
    assert writer.returncode == 1
    simulator.faults.clear()
    subprocess.run(["fusermount3", "-u", "-z", mount.mountpoint], check=True)
    mount.start()
    eventually(lambda: linked(mount))
    mount.tree.write("new/a.json", GOOD)
    assert starts(simulator) == 1
    (session,) = mount.tree.listdir("sessions")
    assert json.loads(mount.tree.read(f"sessions/{session}/.session.json"))["started_here"] is True


@pytest.mark.parametrize("name", ["a.json", "b.json"])
def test_killed_and_asked_again_through_another_mount(
    start_mount: MountFactory, simulator: Simulator, tmp_path: Path, name: str
) -> None:
    """One that has been running all along, and has read the journal before there was anything in it."""
    (tmp_path / "second").mkdir()
    (tmp_path / "second" / "state").symlink_to(tmp_path / "state")
    first, second = start_mount(), start_mount(folder=tmp_path / "second")
    simulator.faults.add("StartSession", Hang(after_work=True))
    (tmp_path / "a.json").write_bytes(GOOD)
    writer = subprocess.Popen(
        ["cp", tmp_path / "a.json", first.mountpoint / "new" / "a.json"], stderr=subprocess.DEVNULL
    )
    eventually(lambda: simulator.sessions.ids())
    first.kill()
    assert writer.wait(20) == 1
    simulator.faults.clear()
    second.tree.write(f"new/{name}", GOOD)
    assert starts(simulator) == len(simulator.sessions.ids()) == 1
    assert os.path.islink(second.mountpoint / "new" / name.removesuffix(".json"))


@IMPATIENT
def test_names_that_come_when_close_has_failed(mount: MountProcess, simulator: Simulator) -> None:
    """The kernel lets go of the file after close(), which is no reason to look at it again."""
    named = GOOD.replace(CAMERA.encode(), b"Camera 1")
    assert named != GOOD
    simulator.faults.add("ListCameras", Hang(), times=None)
    expect_errno(errno.ETIMEDOUT, mount.tree.write, "new/a.json", named)
    assert b"nothing was sent" in mount.tree.read("new/a.json.error")
    simulator.faults.release()
    # By then the names are known, and nothing of the first request is under way.
    mount.tree.write("new/b.json", named.replace(b"080411", b"080410"))
    eventually(lambda: not under_way(mount))
    assert starts(simulator) == 1
    assert not linked(mount)
    mount.tree.write("new/a.json", named)
    assert starts(simulator) == 2
    assert linked(mount)


def under_way(mount: MountProcess) -> list[object]:
    """Calls into the mount, but for the reading of this."""
    operations = json.loads(mount.tree.read(".status.json"))["operations"]
    return [each for each in operations if each["op"] in ("flush", "release")]


@pytest.mark.promise("W3")
def test_the_same_again_after_a_remount(mount: MountProcess, simulator: Simulator) -> None:
    mount.tree.write("new/a.json", GOOD)
    mount.tree.write("new/b.json", GOOD)
    mount.tree.unlink("new/b.json")
    assert starts(simulator) == 2
    assert mount.stop() == 0
    mount.start()
    assert mount.tree.listdir("new") == ["a"]
    mount.tree.write("new/a.json", GOOD)
    assert starts(simulator) == 2
    # What was removed before is a new request, also after a remount.
    mount.tree.write("new/b.json", GOOD)
    assert starts(simulator) == 3


def test_two_flushes_of_one_submission(mount: MountProcess, simulator: Simulator) -> None:
    """Both descriptors hear of the outcome, though only one of them started it."""
    simulator.faults.add("StartSession", Delay(1.0))
    simulator.faults.add("StartSession", Fail("INVALID_ARGUMENT", "no"))
    code = (
        "import os, sys, threading\n"
        "d = os.open(sys.argv[1], os.O_WRONLY | os.O_CREAT); e = os.dup(d); os.write(d, sys.argv[2].encode())\n"
        "def close(n):\n"
        "    try: os.close(n)\n"
        "    except OSError as error: os.write(1, b'%d ' % error.errno)\n"
        "ts = [threading.Thread(target=close, args=(n,)) for n in (d, e)]\n"
        "[t.start() for t in ts]; [t.join() for t in ts]\n"
    )
    done = subprocess.run(
        ["python3", "-c", code, mount.mountpoint / "new" / "a.json", GOOD.decode()],
        capture_output=True,
        timeout=20,
    )
    assert done.stdout.split() == [b"22", b"22"], done


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A state directory on a disk of its own, of 16 KiB."""
    folder = tmp_path / "state"
    folder.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", folder], capture_output=True
    ).returncode:
        pytest.skip("no right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def test_the_journals_disk_is_full(tiny: Path, start_mount: MountFactory, simulator: Simulator) -> None:
    mount = start_mount()
    filler = tiny / "filler"
    subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=512"], capture_output=True)
    # What room the journal's last block has left is soon used up.
    started = 0
    for number in range(20):
        with contextlib.suppress(OSError):
            mount.tree.write(f"new/{number}.json", GOOD.replace(b"080411", b"0803%02d" % number))
            started += 1
        assert starts(simulator) == started
    expect_errno(errno.EIO, mount.tree.write, "new/19.json", GOOD.replace(b"080411", b"080319"))
    said = mount.tree.read("new/19.json.error")
    assert b"No space left" in said
    assert b"nothing was sent" in said
    assert starts(simulator) == started < 20
    filler.unlink()
    before = starts(simulator)
    mount.tree.write("new/19.json", GOOD.replace(b"080411", b"080319"))
    assert starts(simulator) == before + 1
    assert mount.stop() == 0
    mount.start()
    mount.tree.write("new/19.json", GOOD.replace(b"080411", b"080319"))
    assert starts(simulator) == before + 1


def test_the_journal_cannot_be_written(mount: MountProcess, simulator: Simulator) -> None:
    (journal,) = (mount.mountpoint.parent / "state").rglob("*.jsonl")
    with in_the_way(journal, journal.with_suffix(".kept")):
        expect_errno(errno.EIO, mount.tree.write, "new/a.json", GOOD)
        assert b"journal" in mount.tree.read("new/a.json.error")
        assert starts(simulator) == 0
    mount.tree.write("new/a.json", GOOD)
    assert starts(simulator) == 1


@pytest.mark.promise("W3")
def test_the_journal_is_taken_away(mount: MountProcess, simulator: Simulator) -> None:
    """By somebody who tidies up, say. The mount knows what was in it, and writes it down again with what comes next."""
    mount.tree.write("new/a.json", GOOD)
    (journal,) = (mount.mountpoint.parent / "state").rglob("*.jsonl")
    journal.unlink()
    mount.tree.write("new/b.json", GOOD)
    assert mount.stop() == 0
    assert "had lost" in mount.log.read_text()
    mount.start()
    for name in ("a", "b"):
        mount.tree.write(f"new/{name}.json", GOOD)
    assert starts(simulator) == 2
