"""Records stand still, and what tells of them moves when they do."""

import errno
import hashlib
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from exportfs import record as schema
from exportfs.simulator import Hang, Simulator, SimulatorServer
from tests.conftest import MountFactory
from tests.support.harness import ARCHIVE_REQUEST, Tree, eventually, expect_errno
from tests.tree.looking import LIVE_REQUEST, directory, record

CONTENT = hashlib.sha256


def whole(tree: Tree, path: str) -> dict[str, tuple[bytes, int, int]]:
    """Digest, size and time of modification of everything in a session."""
    found = {}
    for name in tree.listdir(path):
        status = tree.stat(f"{path}/{name}")
        found[name] = CONTENT(tree.read(f"{path}/{name}")).digest(), status.st_size, status.st_mtime_ns
    return found


@pytest.mark.promise("S4", "K2")
def test_a_completed_record_stands_still_while_it_is_read(tree: Tree, simulator: Simulator) -> None:
    path = directory(tree, simulator.add_computed(70_000, 10))
    before = whole(tree, path)
    assert tree.getxattr(path, "user.exportfs.kept_alive") == b"true"  # which before it was not
    first = tree.getxattr(path, "user.exportfs.expires")
    eventually(lambda: whole(tree, path) == before and tree.getxattr(path, "user.exportfs.expires") != first)
    (status,) = json.loads(tree.read(".status.json"))["sessions"]["in_use"]
    assert status["name"] == path.removeprefix("sessions/")
    assert status["kept_alive"] is True
    assert status["expires_at"] >= first.decode()


@pytest.mark.promise("S1", "T13")
def test_records_have_the_keys_of_the_schema(tree: Tree, simulator: Simulator) -> None:
    path = directory(tree, simulator.add_computed(10))
    found = json.loads(tree.read(f"{path}/.session.json"))
    assert set(found) == set(schema.SessionJson.__annotations__)
    assert set(found["files"][0]) == set(schema.FileJson.__annotations__)
    assert set(found["coverage"]) == set(schema.CoverageJson.__annotations__)
    tree.read(f"{path}/{found['files'][0]['name']}")  # now it is in use
    status = json.loads(tree.read(".status.json"))
    assert set(status) == set(schema.StatusJson.__annotations__)
    assert set(status["sessions"]) == set(schema.SessionsStatus.__annotations__)
    assert set(status["sessions"]["in_use"][0]) == set(schema.InUse.__annotations__)


@pytest.mark.promise("S4")
def test_another_record_has_another_time(tree: Tree, simulator: Simulator) -> None:
    """In whole seconds, and later: what compares size and time, or copies what is newer, sees that it changed."""
    tree.write("new/a.json", json.dumps({**ARCHIVE_REQUEST, **LIVE_REQUEST, "archive": None}).encode())
    path = "sessions/" + tree.readlink("new/a").rpartition("/")[2]
    seen: list[tuple[bytes, int]] = []

    def look() -> None:
        status = tree.stat(f"{path}/.session.json")
        text = tree.read(f"{path}/.session.json")
        # Between the two calls it may have moved on; then the time is that of the next look.
        if tree.stat(f"{path}/.session.json").st_mtime_ns == status.st_mtime_ns:
            seen.append((text, status.st_mtime_ns // 10**9))

    def several() -> bool:
        look()
        return len({text for text, _ in seen}) > 3

    def completed() -> bool:
        look()
        return b'"completed"' in seen[-1][0]

    eventually(several)
    simulator.sessions.stop(simulator.sessions.ids()[0])
    eventually(completed)
    assert len({text for text, _ in seen}) == len({moment for _, moment in seen})
    assert [moment for _, moment in seen] == sorted(moment for _, moment in seen)


@pytest.mark.promise("S4")
def test_progress_takes_the_time_of_a_record_into_no_future(tree: Tree, simulator: Simulator) -> None:
    """However often there is some: these trees look five times a second."""
    tree.write("new/a.json", json.dumps({**ARCHIVE_REQUEST, **LIVE_REQUEST, "archive": None}).encode())
    path = "sessions/" + tree.readlink("new/a").rpartition("/")[2] + "/.session.json"
    texts: set[bytes] = set()

    def several() -> bool:
        texts.add(tree.read(path))
        return len(texts) > 6

    eventually(several)
    # All else (the labels of its cameras) shows at once, whatever second it is.
    assert tree.stat(path).st_mtime < time.time() + 3


@pytest.mark.promise("S4", "R3")
def test_a_change_on_the_server_moves_the_time(tree: Tree, simulator: Simulator) -> None:
    session_id = simulator.add_computed(1000)
    path = directory(tree, session_id)
    before = whole(tree, path)[".session.json"]
    assert before[2] == (1_778_486_400 + 60) * 10**9  # where the footage ends
    (file,) = simulator.files(session_id)
    simulator.resize(session_id, file.path, 2000, announce=True)
    eventually(lambda: record(tree, path)["files"][0]["size"] == 2000)
    after = whole(tree, path)[".session.json"]
    assert after[1] == before[1]
    assert after[2] // 10**9 > before[2] // 10**9
    assert whole(tree, path)[".session.json"] == after


@pytest.mark.promise("T13")
def test_the_status_has_the_time_of_its_text(tree: Tree) -> None:
    before = tree.stat(".status.json").st_mtime_ns
    eventually(lambda: tree.stat(".status.json").st_mtime_ns // 10**9 > before // 10**9)


@pytest.mark.promise("T11")
def test_figures(tree: Tree, simulator: Simulator) -> None:
    directory(tree, simulator.add_computed(10_000_000, 1))
    figures = tree.statvfs()
    assert 0 < figures.f_bavail <= figures.f_bfree <= figures.f_blocks
    assert 0 < figures.f_favail <= figures.f_ffree <= figures.f_files
    assert figures.f_files - figures.f_ffree == 2
    assert (figures.f_blocks - figures.f_bfree) * figures.f_frsize <= 10_000_001


@pytest.mark.mount
@pytest.mark.promise("E4")
def test_names_with_a_dot_while_the_server_is_away(
    start_mount: MountFactory, server: SimulatorServer, simulator: Simulator
) -> None:
    mount = start_mount("--timeout", "3")
    session_id = simulator.add_computed(1000)
    path = mount.mountpoint / directory(mount.tree, session_id)
    before = record(mount.tree, f"sessions/{path.name}")
    server.stop()
    eventually(lambda: json.loads((mount.mountpoint / ".status.json").read_text())["server"]["error"])
    for name in (".hidden", ".Trash-1000", ".xdg-volume-info", ".directory"):
        expect_errno(errno.ENOENT, os.lstat, path / name)
        expect_errno(errno.ENOENT, os.lstat, path.parent / name)
    assert record(mount.tree, f"sessions/{path.name}") == before
    assert (path / ".control").exists()
    assert (path / ".request.json").read_bytes()


@pytest.mark.mount
@pytest.mark.promise("E4")
def test_a_server_that_hangs_does_not_hold_up_names_with_a_dot(
    start_mount: MountFactory, simulator: Simulator
) -> None:
    """Nor is a look at a record more than bounded: the listing that is due never comes."""
    mount = start_mount("--timeout", "20")
    path = mount.mountpoint / directory(mount.tree, simulator.add_computed(1000))
    folder = os.open(path, os.O_RDONLY)
    simulator.faults.add("*", Hang(), times=None)
    eventually(lambda: simulator.log.running())
    with ThreadPoolExecutor(1) as threads:
        for name in (".session.json", ".control", ".session.json"):
            assert threads.submit(os.stat, name, dir_fd=folder).result(10)
        with pytest.raises(FileNotFoundError):
            threads.submit(os.stat, ".hidden", dir_fd=folder).result(10)
    simulator.faults.clear()
    os.close(folder)


OTHER = """
import os
if os.getuid() == 0:
    os.setgroups([])
    os.setgid(4321)
    os.setuid(1234)
os.umask(0o027)
path = "a.tmp"
with open(path, "w") as file:
    file.write("x")
    print(oct(os.fstat(file.fileno()).st_mode & 0o7777))
os.utime(path, (1, 2))
os.chmod(path, 0o4604)
os.rename(path, "b.tmp")
"""


@pytest.mark.mount
@pytest.mark.promise("T10", "T16", "W2")
def test_requests_belong_to_who_made_them(start_mount: MountFactory) -> None:
    """As root another user makes them, who may then do with them what one does with one's own; the mount's umask takes
    nothing away, and nobody can make a program of root's."""
    root = os.getuid() == 0
    new = start_mount("--umask", "077", *(["--allow-other"] if root else [])).mountpoint / "new"
    assert (oct(new.stat().st_mode & 0o7777), new.stat().st_nlink) == ("0o700", 2)
    new.chmod(0o1777)
    assert oct(new.stat().st_mode & 0o7777) == "0o1777"
    words = [sys.executable, "-c", OTHER]
    done = subprocess.run(words, cwd=new, check=True, timeout=60, stdout=subprocess.PIPE)
    assert done.stdout == b"0o640\n"
    file = new / "b.tmp"
    status = file.stat()
    uid, gid = (1234, 4321) if root else (os.getuid(), os.getgid())
    assert (status.st_uid, status.st_gid, oct(status.st_mode & 0o7777)) == (uid, gid, "0o604")
    assert (status.st_size, status.st_mtime) == (1, 2)
    assert os.listdir(new) == ["b.tmp"]
    # As `cp -a FOLDER/. new/` does.
    os.utime(new, (3, 4))
    assert new.stat().st_mtime == 4
    if not root:
        return
    for path, group in (file, gid), (new, os.getgid()):
        for given, owned in ((5, -1), (5, group)), ((-1, 6), (5, 6)):
            os.chown(path, *given)
            assert (path.stat().st_uid, path.stat().st_gid) == owned
