"""The directory of the journal goes, or takes nothing any more, while the mount runs: what cannot be recorded is not
sent, what was started is known, and nothing is started again."""

import errno
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from exportfs.simulator import Hang, Simulator
from tests.conftest import MountFactory
from tests.support.harness import ARCHIVE_REQUEST, MountProcess, eventually, expect_errno

pytestmark = [pytest.mark.mount, pytest.mark.promise("W12", "E3")]
GOOD = json.dumps(ARCHIVE_REQUEST).encode()


def other(number: int) -> bytes:
    """A request like no other."""
    return GOOD.replace(b"080411", b"0803%02d" % number)


def starts(simulator: Simulator) -> int:
    return simulator.log.count("StartSession")


def folder_of(mount: MountProcess) -> Path:
    (journal,) = (mount.mountpoint.parent / "state").rglob("*.jsonl")
    return journal.parent


def take_away(folder: Path) -> None:
    """With what is in it, at once: the mount may be writing."""
    aside = folder.with_name("taken away")
    folder.rename(aside)
    shutil.rmtree(aside)


def test_somebody_tidies_up(mount: MountProcess, simulator: Simulator) -> None:
    """The directory is there again with the next request, and all that was in it."""
    mount.tree.write("new/a.json", GOOD)
    folder = folder_of(mount)
    take_away(folder)
    mount.tree.write("new/b.json", other(1))
    assert folder.stat().st_mode & 0o777 == 0o700
    mount.kill()
    mount.start()
    mount.tree.write("new/a.json", GOOD)
    mount.tree.write("new/b.json", other(1))
    assert starts(simulator) == 2


def test_and_nothing_is_asked_for_any_more(mount: MountProcess, simulator: Simulator) -> None:
    """Then it is there again when the mount ends."""
    mount.tree.write("new/a.json", GOOD)
    folder = folder_of(mount)
    (journal,) = folder.iterdir()

    # What is written after close() would bring the rest along: that it has returned, and what footage there is.
    def all_is_written() -> bool:
        last = json.loads(journal.read_text().splitlines()[-1])["put"]
        return bool(last["reported"] and last["footage"])

    eventually(all_is_written)
    take_away(folder)
    assert mount.stop() == 0
    mount.start()
    mount.tree.write("new/a.json", GOOD)
    assert starts(simulator) == 1


def waits_for_the_answer(mount: MountProcess, simulator: Simulator) -> "subprocess.Popen[bytes]":
    """Who writes a request whose session is there, and is not told before the fault is released."""
    simulator.faults.add("StartSession", Hang(after_work=True))
    writer = subprocess.Popen(
        ["tee", mount.mountpoint / "new" / "a.json"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL
    )
    assert writer.stdin is not None
    writer.stdin.write(GOOD)
    writer.stdin.close()
    eventually(lambda: simulator.sessions.ids())
    return writer


def test_between_the_call_and_its_answer(mount: MountProcess, simulator: Simulator) -> None:
    folder = folder_of(mount)
    writer = waits_for_the_answer(mount, simulator)
    take_away(folder)
    simulator.faults.release()
    assert writer.wait(20) == 0
    mount.kill()
    mount.start()
    mount.tree.write("new/a.json", GOOD)
    assert starts(simulator) == 1


def test_what_it_is_in_has_gone(mount: MountProcess, simulator: Simulator) -> None:
    """A home that is not there at the moment: what would be made in its place would be lost when it is back."""
    mount.tree.write("new/a.json", GOOD)
    state = mount.mountpoint.parent / "state"
    away = state.with_name("away")
    state.rename(away)
    expect_errno(errno.EIO, mount.tree.write, "new/b.json", other(1))
    said = mount.tree.read("new/b.json.error").decode()
    assert "the journal" in said
    assert "its directory is gone" in said
    assert "nothing was sent" in said
    assert not state.exists()
    mount.tree.write("new/a.json", GOOD)
    assert starts(simulator) == 1
    away.rename(state)
    mount.tree.write("new/b.json", other(1))
    assert starts(simulator) == 2
    assert mount.stop() == 0
    mount.start()
    for name, content in (("a", GOOD), ("b", other(1))):
        mount.tree.write(f"new/{name}.json", content)
    assert starts(simulator) == 2


def test_a_file_in_its_place(mount: MountProcess, simulator: Simulator) -> None:
    mount.tree.write("new/a.json", GOOD)
    folder = folder_of(mount)
    aside = folder.with_suffix(".aside")
    folder.rename(aside)
    folder.write_bytes(b"")
    expect_errno(errno.EIO, mount.tree.write, "new/b.json", other(1))
    assert b"nothing was sent" in mount.tree.read("new/b.json.error")
    assert starts(simulator) == 1
    folder.unlink()
    aside.rename(folder)
    mount.tree.write("new/b.json", other(1))
    assert starts(simulator) == 2


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A state directory on a disk of its own."""
    folder = tmp_path / "state"
    folder.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "tmpfs", folder], capture_output=True).returncode:
        pytest.skip("no right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", disk], check=True)


def test_the_disk_turns_read_only(disk: Path, start_mount: MountFactory, simulator: Simulator) -> None:
    """As file systems do after an error."""
    mount = start_mount()
    mount.tree.write("new/a.json", GOOD)
    remount(disk, "ro")
    expect_errno(errno.EIO, mount.tree.write, "new/b.json", other(1))
    said = mount.tree.read("new/b.json.error")
    assert b"Read-only file system" in said
    assert b"nothing was sent" in said
    mount.tree.write("new/a.json", GOOD)
    expect_errno(errno.EIO, mount.tree.write, "new/b.json", other(1))
    assert starts(simulator) == 1
    remount(disk, "rw")
    mount.tree.write("new/b.json", other(1))
    mount.kill()
    mount.start()
    for name, content in (("a", GOOD), ("b", other(1))):
        mount.tree.write(f"new/{name}.json", content)
    assert starts(simulator) == 2


@pytest.mark.parametrize("back", [False, True])
def test_read_only_between_the_call_and_its_answer(
    disk: Path, start_mount: MountFactory, simulator: Simulator, back: bool
) -> None:
    """The record is on disk, and what became of it is not: the next mount finds the session."""
    mount = start_mount()
    writer = waits_for_the_answer(mount, simulator)
    remount(disk, "ro")
    simulator.faults.release()
    assert writer.wait(20) == 0
    if back:
        remount(disk, "rw")
        mount.tree.write("new/b.json", other(1))
    mount.kill()
    remount(disk, "rw")
    mount.start()
    mount.tree.write("new/a.json", GOOD)
    assert starts(simulator) == 1 + back
