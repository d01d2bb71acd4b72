"""The tree: what is where, what it looks like, and what it refuses."""

import errno
import json
import os
import stat
import time
from pathlib import Path

import pytest

from exportfs.sessions.catalogue import LIST_EVERY
from exportfs.simulator import Simulator, SimulatorServer
from exportfs.wire import export
from tests.conftest import MountFactory
from tests.support.harness import (
    CAMERA,
    REFRESH,
    InProcessTree,
    Tree,
    config_for,
    eventually,
    expect_denied,
    expect_errno,
)
from tests.tree.looking import LIVE_REQUEST, calls_but_listings, directory, exists, record, results

RECORDS = (".session.json", ".request.json")


@pytest.mark.promise("T1", "T14", "E4")
def test_root(tree: Tree) -> None:
    assert sorted(tree.listdir("")) == [
        ".status.json",
        "README.txt",
        "cameras",
        "index.html",
        "new",
        "sessions",
    ]
    assert b"echo destroy > sessions/NAME/.control" in tree.read("README.txt")
    for name in ("file", "new.json"):
        expect_denied(tree.write, name, b"x")
    expect_denied(tree.unlink, "README.txt")
    expect_denied(tree.rmdir, "new")
    expect_denied(tree.rmdir, "sessions")
    expect_denied(tree.rmdir, "README.txt", number=errno.ENOTDIR)
    expect_denied(tree.rename, "README.txt", "other")
    expect_errno(errno.ENOENT, tree.stat, "nothing")


@pytest.mark.promise("T2", "T3", "N1")
def test_sessions_and_results(tree: Tree, simulator: Simulator) -> None:
    first = simulator.add_computed(1000, 2000)
    second = simulator.add_computed()
    path, empty = directory(tree, first), directory(tree, second)
    assert sorted(tree.listdir("sessions")) == sorted(
        part.removeprefix("sessions/") for part in (path, empty)
    )
    assert path.startswith("sessions/20260511T080000Z_Server.DeviceIpint.1_mp4_")
    assert results(tree, path) == ["computed_1_1.mp4", "computed_1_2.mp4"]
    assert sorted(tree.listdir(empty)) == [".request.json", ".session.json"]
    assert exists(tree, f"{path}/.control")
    expect_errno(errno.ENOENT, tree.stat, f"{path}/computed_2_1.mp4")


@pytest.mark.promise("T15", "R1", "S7")
def test_nothing_else_can_be_made_or_changed(tree: Tree, simulator: Simulator) -> None:
    path = directory(tree, simulator.add_computed(1000))
    result = f"{path}/{results(tree, path)[0]}"
    expect_denied(tree.mkdir, "folder")
    expect_errno(errno.EPERM, tree.mkdir, f"{path}/folder")
    expect_errno(errno.EPERM, tree.write, f"{path}/other", b"x")
    expect_errno(errno.EPERM, tree.unlink, result)
    expect_errno(errno.EPERM, tree.unlink, f"{path}/.session.json")
    expect_errno(errno.EPERM, tree.rename, result, f"{path}/other")
    expect_errno(errno.EPERM, tree.rename, path, "sessions/other")
    expect_errno(errno.EPERM, tree.chmod, result, 0o777)
    expect_errno(errno.EPERM, tree.chmod, path, 0o777)
    expect_denied(tree.truncate, result, 0)
    assert len(tree.read(result)) == 1000


@pytest.mark.promise("R1", "R2", "R3", "T10")
def test_attributes(tree: Tree, simulator: Simulator) -> None:
    path = directory(tree, simulator.add_computed(1_000_001))
    (name,) = results(tree, path)
    status = tree.stat(f"{path}/{name}")
    assert stat.S_ISREG(status.st_mode)
    assert status.st_mode & 0o777 == 0o444
    assert (status.st_size, status.st_nlink) == (1_000_001, 1)
    assert status.st_mtime == 1_778_486_400 + 60  # where the footage ends
    assert tree.stat(path).st_mtime == status.st_mtime
    assert stat.S_ISDIR(tree.stat(path).st_mode)
    assert tree.stat(path).st_nlink == 2
    eventually(lambda: tree.stat("sessions").st_nlink == 3)


@pytest.mark.mount
@pytest.mark.promise("R1")
def test_modes_less_the_umask(start_mount: MountFactory, simulator: Simulator) -> None:
    session_id = simulator.add_computed(1000)
    before = os.umask(0o037)
    try:
        mount = start_mount()
    finally:
        os.umask(before)
    (result,) = (mount.mountpoint / directory(mount.tree, session_id)).glob("[!.]*")
    assert stat.S_IMODE(result.stat().st_mode) == 0o440


@pytest.mark.promise("R3")
def test_times_fall_back(tree: Tree, simulator: Simulator) -> None:
    """From the footage's end on its start, the end of the archive interval, and when the session was seen."""
    seen_after = int(time.time())
    live = export.Options(live=export.LiveMode(sources=[export.LiveMode.Source(origin=CAMERA)]))
    archive = simulator.options()
    archive.archive.end_timestamp = "20260601T000000"

    def with_times(options: export.Options, first: str, last: str) -> int:
        session_id = simulator.add_computed(10, options=options)
        (file,) = simulator.files(session_id)
        file.message.min_timestamp, file.message.max_timestamp = first, last
        simulator.sessions.find(session_id).changed()
        path = directory(tree, session_id)
        eventually(
            lambda: (
                [(f["min_timestamp"], f["max_timestamp"]) for f in record(tree, path)["files"]]
                == [(first, last)]
            )
        )
        status = tree.stat(f"{path}/{results(tree, path)[0]}")
        return int(status.st_mtime)

    first, last = "20260511T080000", "20260511T080100.5"
    assert with_times(archive, first, last) == 1_778_486_400 + 60
    assert with_times(archive, first, "") == 1_778_486_400
    assert with_times(archive, "", "") == 1_780_272_000
    assert seen_after <= with_times(live, "", "") <= time.time()


@pytest.mark.promise("T9")
def test_records_have_inodes_above_those_of_results(tree: Tree, simulator: Simulator) -> None:
    paths = [directory(tree, session_id) for session_id in simulator.add_many(20, 1000)]
    records = [tree.stat(f"{path}/{name}").st_ino for path in paths for name in RECORDS]
    assert min(records) > max(tree.stat(f"{path}/{results(tree, path)[0]}").st_ino for path in paths)


@pytest.mark.mount
@pytest.mark.promise("R1", "R2", "T9", "T10", "T11", "T12", "N4")
def test_what_only_a_mount_has_and_remounts_keep(start_mount: MountFactory, simulator: Simulator) -> None:
    ids = [simulator.add_computed(1_000_001, 5) for _ in range(3)]
    mount = start_mount()

    def inodes(root: Path) -> dict[str, int]:
        found = {}
        for folder, _, names in os.walk(root / "sessions"):
            for name in (".", *names):
                place = Path(folder, name)
                found[os.fspath(place.relative_to(root))] = place.lstat().st_ino
        return found

    path = mount.mountpoint / directory(mount.tree, ids[0])
    status = (path / results(mount.tree, directory(mount.tree, ids[0]))[0]).stat()
    assert (status.st_uid, status.st_gid) == (os.getuid(), os.getgid())
    assert status.st_blocks == -(-1_000_001 // 512)
    assert status.st_blksize in (4 << 10, 128 << 10)
    assert status.st_atime == status.st_mtime == status.st_ctime
    space = os.statvfs(mount.mountpoint)
    assert space.f_namemax == 255
    used, total = space.f_frsize * (space.f_blocks - space.f_bfree), 3 * 1_000_006
    assert total - space.f_frsize < used <= total
    assert space.f_bavail * space.f_frsize == 1 << 40
    before = inodes(mount.mountpoint)
    assert len(set(before.values())) == len(before) == 1 + 3 * 5
    assert max(before.values()) < 1 << 63
    other = start_mount(folder=mount.mountpoint.parent / "other")
    assert inodes(other.mountpoint) == before
    assert mount.stop() == 0
    mount.start()
    assert inodes(mount.mountpoint) == before


@pytest.mark.promise("T8")
def test_texts_have_a_true_size(tree: Tree, simulator: Simulator) -> None:
    path = directory(tree, simulator.add_computed(1000))
    for name in (*RECORDS, ".control"):
        assert tree.stat(f"{path}/{name}").st_size == len(tree.read(f"{path}/{name}")) > 0
    assert tree.stat("README.txt").st_size == len(tree.read("README.txt"))
    assert json.loads(tree.read(".status.json"))


@pytest.mark.mount
@pytest.mark.promise("T8")
def test_what_is_open_stays_as_it_was(start_mount: MountFactory, simulator: Simulator) -> None:
    mount = start_mount()
    descriptor = os.open(mount.mountpoint / ".status.json", os.O_RDONLY)
    size = os.fstat(descriptor).st_size
    status = os.pread(descriptor, size + 1, 0)
    assert len(status) == size
    mount.tree.write("new/a.json", json.dumps(LIVE_REQUEST).encode())
    path = mount.mountpoint / directory(mount.tree, simulator.sessions.ids()[0])
    with (path / ".session.json").open("rb", buffering=0) as file:
        mount.tree.write(f"{path}/.control", b"stop\n")
        assert json.loads((path / ".session.json").read_bytes())["state"] == "stopped"
        assert json.loads(file.read())["state"] == "running"
    # Written anew by then: it counts sessions and calls.
    assert (mount.mountpoint / ".status.json").read_bytes() != status
    assert os.pread(descriptor, size + 1, 0) == status
    os.close(descriptor)


@pytest.mark.promise("T13", "E4")
def test_status(tree: Tree, simulator: Simulator) -> None:
    status = json.loads(tree.read(".status.json"))
    assert status.keys() >= {
        *("version", "mountpoint", "pid", "started_at", "read_only", "server", "login", "sessions"),
        *("cache", "downloads", "operations", "recent_errors"),
    }
    assert status["server"]["reachable"] is True


@pytest.mark.promise("T5", "K3")
def test_looking_costs_no_calls_per_entry(tree: Tree, simulator: Simulator) -> None:
    simulator.add_many(50, 1000)
    eventually(lambda: len(tree.listdir("sessions")) == 50)
    listings, begun = simulator.log.count("ListSessions"), time.monotonic()
    for session in tree.listdir("sessions"):
        for name in tree.listdir(f"sessions/{session}"):
            tree.stat(f"sessions/{session}/{name}")
        record(tree, f"sessions/{session}")
        tree.listxattr(f"sessions/{session}")
    assert calls_but_listings(simulator) == {}
    # As often as a mount that is looked at lists in any case, however slow the machine is.
    most = 2 + (time.monotonic() - begun) / (REFRESH * LIST_EVERY)
    assert simulator.log.count("ListSessions") - listings <= most


@pytest.mark.promise("T7")
def test_thousands_of_results_in_order(tree: Tree, simulator: Simulator) -> None:
    names = [f"part_{number * 7919 % 2000:04d}.mp4" for number in range(2000)]
    path = directory(tree, simulator.add_computed(*range(2000), names=names))
    assert results(tree, path) == names
    assert [file["name"] for file in record(tree, path)["files"]] == names
    assert tree.stat(f"{path}/{names[1321]}").st_size == 1321
    assert tree.read(f"{path}/{names[777]}") == simulator.content(simulator.sessions.ids()[0], names[777])


@pytest.mark.mount
@pytest.mark.promise("T7")
def test_listings_do_not_lose_or_repeat_while_sessions_come_and_go(
    start_mount: MountFactory, simulator: Simulator
) -> None:
    mount = start_mount()
    place = mount.mountpoint / "sessions"
    staying = simulator.add_many(300, 10)
    kept = {directory(mount.tree, session_id).rpartition("/")[2] for session_id in staying}
    going: list[str] = []
    for _ in range(6):
        before = set(os.listdir(place))
        with os.scandir(place) as entries:
            names = [next(entries).name]
            for session_id in going:
                simulator.sessions.destroy(session_id)
            going = simulator.add_many(100, 10)
            # Come and gone in the mount as well, and still the rest of the listing is of the time before.
            eventually(
                lambda old=before: len(now := set(os.listdir(place))) == 400 and now - old == now - kept
            )
            names += [entry.name for entry in entries]
        assert len(set(names)) == len(names)
        assert kept <= set(names) <= before


@pytest.mark.promise("T12", "T4")
def test_two_trees_of_one_server(
    tree: Tree, server: SimulatorServer, simulator: Simulator, tmp_path: Path
) -> None:
    session_id = simulator.add_computed(1000)
    other = InProcessTree(config_for(server.address, tmp_path / "other"))
    try:
        path = directory(tree, session_id)
        assert directory(other, session_id) == path
        name = f"{path}/{results(tree, path)[0]}"
        assert tree.read(name) == other.read(name)
        other.write(f"{path}/.control", b"destroy\n")
        assert not exists(other, path)
        eventually(lambda: not exists(tree, path))
    finally:
        other.close()
