"""`copy` from a real mount of a simulated server: evidence that can be handed over."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from exportfs.simulator import Action, Call, Fail, Simulator
from exportfs.simulator.faults.actions import Block
from tests.conftest import MountFactory
from tests.mount.cli.real import command, export, session_of
from tests.support.harness import DEADLINE, OURS, MountProcess, eventually

pytestmark = pytest.mark.mount


@pytest.fixture
def mount(start_mount: MountFactory) -> MountProcess:
    """A real one; this directory's own is made of plain files."""
    return start_mount()


BIG = 80 << 20
"""Bytes; more than `copy` may have to copy again."""


def checked(folder: Path) -> str:
    """What `sha256sum -c` says; it must accept."""
    done = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_copy_and_repeat(mount: MountProcess, simulator: Simulator, tmp_path: Path) -> None:
    session = export(mount, "--wait").parent
    (session_id,) = simulator.sessions.ids()
    (file,) = simulator.files(session_id)
    done = command("copy", session, tmp_path / "case")
    folder = tmp_path / "case" / session.name
    assert done.stdout == f"{folder}\n"
    (name,) = [name for name in os.listdir(session) if not name.startswith(".")]
    assert sorted(os.listdir(folder)) == sorted(["SHA256SUMS", "manifest.json", "report.html", name])
    assert (folder / name).read_bytes() == simulator.content(session_id, file.path)
    assert sorted(checked(folder).splitlines()) == sorted(
        [f"{name}: OK", "manifest.json: OK", "report.html: OK"]
    )

    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert manifest["server"] == mount.address
    assert manifest["session"]["id"] == session_id
    assert manifest["files"][0]["sha256"] == simulator.digest(session_id, file.path)[1]
    assert manifest["not_copied"] == []

    downloads = simulator.log.count("DownloadFile")
    again = json.loads(command("copy", session, tmp_path / "case", "--json").stdout)
    assert (again[0]["copied"], again[0]["verified"]) == ([], [name])
    # A look at the source alone: it is held open, not read.
    assert simulator.log.count("DownloadFile") == downloads
    assert "OK" in checked(folder)


@dataclass(frozen=True)
class StallAt(Action):
    """No block of the file from this place on comes, until it is released."""

    holds = True
    place: int

    def blocks(self, call: Call, blocks: Iterator[Block]) -> Iterator[Block]:
        held = False
        for index, data in blocks:
            if not held and index * call.chunk_size_kb * 1024 >= self.place:
                held = True
                call.wait(None)
            yield index, data


@pytest.mark.slow
def test_interrupted_and_resumed(start_mount: MountFactory, simulator: Simulator, tmp_path: Path) -> None:
    mount = start_mount("--timeout", "60")
    session_id = simulator.add_computed(BIG)
    session = session_of(mount)
    (file,) = simulator.files(session_id)
    part_glob = f"{session.name}/*.part"
    simulator.faults.add("DownloadFile", StallAt(72 << 20), times=None)
    copying = subprocess.Popen([*OURS, "copy", session, tmp_path / "case"], stderr=subprocess.PIPE, text=True)
    eventually(
        lambda: any(p.stat().st_size > 70 << 20 for p in (tmp_path / "case").glob(part_glob)), within=40
    )
    copying.send_signal(signal.SIGINT)
    simulator.faults.clear()
    copying.communicate(timeout=DEADLINE)
    assert copying.returncode == 130
    (part,) = (tmp_path / "case").glob(part_glob)
    assert part.stat().st_size < BIG
    # Another mount has nothing at hand of what was read.
    assert mount.stop() == 0
    mount.start()
    before = simulator.log.bytes_sent()
    done = json.loads(command("copy", session, tmp_path / "case", "--json").stdout)
    assert len(done[0]["copied"]) == 1
    assert not part.exists()
    assert simulator.log.bytes_sent() - before < BIG // 2  # what had been copied was not fetched again
    copied = tmp_path / "case" / session.name / done[0]["copied"][0]
    assert copied.read_bytes() == simulator.content(session_id, file.path)
    assert "OK" in checked(copied.parent)


def test_what_cannot_be_read_is_written_down(
    mount: MountProcess, simulator: Simulator, tmp_path: Path
) -> None:
    simulator.add_computed(5000, 6000, names=["one.mp4", "two.mp4"])
    session = session_of(mount)
    simulator.faults.add("DownloadFile", Fail("NOT_FOUND", "lost"), times=None, file="one.mp4")
    done = command("copy", session, tmp_path, code=1)
    folder = tmp_path / session.name
    assert "one.mp4" in done.stderr
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert [one["name"] for one in manifest["not_copied"]] == ["one.mp4"]
    assert [one["name"] for one in manifest["files"]] == ["two.mp4"]
    assert "two.mp4: OK" in checked(folder)
    simulator.faults.clear()
    command("copy", session, tmp_path)
    assert "one.mp4: OK" in checked(folder)


@pytest.mark.promise("C14")
@pytest.mark.parametrize("where", ["", "new", "sessions", "elsewhere/deeper"])
def test_into_the_mount_itself(mount: MountProcess, simulator: Simulator, tmp_path: Path, where: str) -> None:
    """`sessions` has a folder of the session's very name."""
    simulator.add_computed(1000)
    session = session_of(mount)
    (tmp_path / "link").symlink_to(mount.mountpoint)
    before = sorted(os.listdir(mount.mountpoint / "new")), sorted(os.listdir(session))
    for dest in (mount.mountpoint / where, tmp_path / "link" / where):
        said = command("copy", session, dest, code=1).stderr
        assert f"is in the mount {mount.mountpoint} itself" in said
    assert (sorted(os.listdir(mount.mountpoint / "new")), sorted(os.listdir(session))) == before
    assert simulator.log.count("DownloadFile") == 0


def test_session_that_is_gone(mount: MountProcess, simulator: Simulator, tmp_path: Path) -> None:
    session_id = simulator.add_computed(1000)
    session = session_of(mount)
    simulator.sessions.destroy(session_id)
    eventually(lambda: not session.exists())
    assert "no such session" in command("copy", session, tmp_path, code=1).stderr
