"""What a desktop does to a mount: names it looks for, heads and tails for thumbnails, trash. None of it may be dear."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from exportfs.simulator import Simulator, SimulatorServer
from tests.conftest import MountFactory
from tests.support.harness import ARCHIVE_REQUEST, DEADLINE, MountProcess, eventually

pytestmark = pytest.mark.mount

MIB = 1 << 20
SIZE = 200 * MIB
LOOKED_FOR = (
    ".Trash",
    f".Trash-{os.getuid()}",
    ".xdg-volume-info",
    ".hidden",
    ".directory",
    ".DS_Store",
    "._x",
    "autorun.inf",
    "autorun.sh",
    "desktop.ini",
    "Thumbs.db",
    ".git",
    ".nomedia",
    ".trackerignore",
)
"""By GNOME, KDE, and what they have from others."""


@pytest.fixture
def result(simulator: Simulator, start_mount: MountFactory) -> Path:
    """A big result; what the kernel knows by now is forgotten by no look of ours."""
    simulator.add_computed(SIZE)
    mount = start_mount("--refresh", "600")
    (session,) = eventually(lambda: os.listdir(mount.mountpoint / "sessions"))
    (name,) = (
        name for name in os.listdir(mount.mountpoint / "sessions" / session) if not name.startswith(".")
    )
    simulator.log.clear()
    path: Path = mount.mountpoint / "sessions" / session / name
    return path


def test_names_that_file_managers_look_for(result: Path, simulator: Simulator) -> None:
    root = result.parents[2]
    for folder in (root, root / "new", root / "sessions", result.parent):
        for name in LOOKED_FOR:
            assert not (folder / name).exists()
    assert simulator.log.counts() == {}


@pytest.mark.slow
def test_names_with_a_server_that_is_gone(
    simulator: Simulator, server: SimulatorServer, start_mount: MountFactory
) -> None:
    simulator.add_computed(1000)
    mount = start_mount("--timeout", "6")
    (session,) = eventually(lambda: os.listdir(mount.mountpoint / "sessions"))
    server.stop()
    # From when on the mount knows: where nobody looks it asks seldom.
    with pytest.raises(OSError, match=r"."):
        eventually(lambda: not os.listdir(mount.mountpoint / "sessions"))
    assert json.loads((mount.mountpoint / ".status.json").read_text())["server"]["error"]
    # A call that waited for the server would take 6 s; the limit is the proof.
    names = [
        mount.mountpoint / folder / name
        for folder in ("", "new", "sessions", f"sessions/{session}")
        for name in LOOKED_FOR[:5]
    ]
    done = subprocess.run(["ls", "-d", *names], capture_output=True, text=True, check=False, timeout=5)
    assert done.stdout == ""
    assert done.stderr.count("No such file") == len(names)


def test_a_thumbnailer(result: Path, simulator: Simulator) -> None:
    """The calls that tumbler's and GNOME's thumbnailers and an indexer make before they know the type: stat, the
    first 64 KiB, and the last 128 KiB, where MP4 has its index and ID3 its tag."""
    with result.open("rb", buffering=0) as file:
        os.fstat(file.fileno())
        head = file.read(64 << 10)
        file.seek(SIZE - (128 << 10))
        tail = file.read()
    (session_id,) = simulator.sessions.ids()
    (stored,) = simulator.files(session_id)
    assert head == simulator.content(session_id, stored.path, 0, 64 << 10)
    assert tail == simulator.content(session_id, stored.path, SIZE - (128 << 10))
    assert simulator.log.count("DownloadFile") == 2
    # No read-ahead comes from a look at two ends.
    assert simulator.log.bytes_sent() <= MIB


@pytest.mark.skipif(os.geteuid() != 0, reason="the kernel reads further ahead for root alone")
def test_a_copy_after_a_look_at_the_head(simulator: Simulator, start_mount: MountFactory) -> None:
    """What the kernel read ahead of ffmpegthumbnailer's reads and nobody came to is not sent, and leaves no pages that
    would be asked for one by one."""
    # Others than the first are for a program that does not come to the next read within a tenth of a second.
    names = [f"looked-at-{number}.mp4" for number in range(8)]
    session_id = simulator.add_computed(100 * MIB, *[8 * MIB] * len(names), names=["first.mp4", *names])
    root = start_mount("--refresh", "600").mountpoint
    (session,) = eventually(lambda: os.listdir(root / "sessions"))
    folder = root / "sessions" / session
    assert len((folder / "first.mp4").read_bytes()) == 100 * MIB
    assert json.loads((root / ".status.json").read_text())["line"]["fast"]
    name = next(name for name in names if sent_for_a_look(folder / name, simulator) <= 700 << 10)
    before = reads(root)
    whole = (folder / name).read_bytes()
    looked_at = next(file for file in simulator.files(session_id) if file.path.endswith(name))
    assert whole == simulator.content(session_id, looked_at.path, 0)
    assert reads(root) - before < 40


def sent_for_a_look(path: Path, simulator: Simulator) -> int:
    """Bytes."""
    simulator.log.clear()
    with path.open("rb", buffering=0) as file:
        for length in (32768, 32768, 221632):
            assert len(file.read(length)) == length
        file.seek(4 * MIB)
        assert len(file.read(32768)) == 32768
    return simulator.log.bytes_sent()


def reads(root: Path) -> int:
    """Requests of the kernel for results' bytes."""
    cache = json.loads((root / ".status.json").read_text())["cache"]
    return int(cache["hits"] + cache["misses"])


def test_file_and_gio_info(result: Path, simulator: Simulator) -> None:
    done = run("gio", "info", result)
    assert f"size: {SIZE}" in done.stdout
    assert "standard::content-type" in done.stdout
    assert simulator.log.count("DownloadFile") == 0
    # It reads 7 MiB at each end, which look like the beginning of a copy.
    run("file", "--brief", result)
    assert simulator.log.count("DownloadFile") <= 8


def test_listing_and_searching_read_nothing(result: Path, simulator: Simulator) -> None:
    root = result.parents[2]
    run("gio", "tree", root)
    run("gio", "list", "-l", result.parent)
    run("find", root, "-name", "*.mp4", "-size", "+1M")
    run("du", "-s", root)
    assert simulator.log.count("DownloadFile") == 0


def test_trash_fails_cleanly(result: Path, simulator: Simulator) -> None:
    root = result.parents[2]
    before = sorted(os.listdir(root))
    for path in (result, result.parent):
        done = subprocess.run(
            ["gio", "trash", path], capture_output=True, text=True, check=False, timeout=DEADLINE
        )
        assert done.returncode != 0
        assert done.stderr.startswith("gio: ")
    assert result.exists()
    assert len(simulator.sessions.ids()) == 1
    assert sorted(os.listdir(root)) == before
    assert simulator.log.count("DestroySession") == 0
    assert simulator.log.count("DownloadFile") == 0


def test_pasting_a_request(mount: MountProcess, simulator: Simulator, tmp_path: Path) -> None:

    request = tmp_path / "mine.json"
    request.write_text(json.dumps(ARCHIVE_REQUEST))
    run("gio", "copy", request, mount.mountpoint / "new")
    assert simulator.log.count("StartSession") == 1
    assert (mount.mountpoint / "new" / "mine").is_symlink()


def run(*words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True, timeout=DEADLINE)
