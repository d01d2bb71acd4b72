"""Handles as NFS keeps them: of what the kernel has forgotten, and of a mount before this one."""

import errno
import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from exportfs.simulator import Simulator
from tests.conftest import MountFactory
from tests.support.file_handles import handle_of, make_forget, opened_by_handle, with_generation
from tests.support.harness import ARCHIVE_REQUEST, REFRESH, MountProcess, eventually

pytestmark = [
    pytest.mark.mount,
    pytest.mark.promise("T17"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root may open by handle"),
]
SIZE = 300_000


def result_of(mount: MountProcess) -> Path:
    (path,) = eventually(lambda: list(mount.mountpoint.glob("sessions/*/[!.]*")))
    return Path(path)


def stale(mount: MountProcess, handle: tuple[int, bytes]) -> None:
    with pytest.raises(OSError, match="Stale") as caught, opened_by_handle(mount.mountpoint, handle):
        pass
    assert caught.value.errno == errno.ESTALE


def is_stale(mount: MountProcess, handle: tuple[int, bytes]) -> bool:
    try:
        with opened_by_handle(mount.mountpoint, handle):
            return False
    except OSError as error:
        return error.errno == errno.ESTALE


def everything(mount: MountProcess) -> dict[str, tuple[int, bytes]]:
    """Handles of one of each kind, by path."""
    session = result_of(mount).parent
    paths = [
        *(session / name for name in (".session.json", ".request.json", ".control")),
        result_of(mount),
        session,
        *(
            mount.mountpoint / name
            for name in ("README.txt", ".status.json", "index.html", "new", "sessions")
        ),
        mount.mountpoint / "new/.template.json",
        *(mount.mountpoint / "cameras").rglob("*"),
        next((mount.mountpoint / "cameras").iterdir()) / "footage",
    ]
    return {os.fspath(path.relative_to(mount.mountpoint)): handle_of(path) for path in paths}


def check(mount: MountProcess, handles: dict[str, tuple[int, bytes]]) -> None:
    """Each leads to what has its path."""
    for path, handle in handles.items():
        with opened_by_handle(mount.mountpoint, handle) as descriptor:
            seen, there = os.fstat(descriptor), os.lstat(mount.mountpoint / path)
            assert (seen.st_ino, seen.st_mode) == (there.st_ino, there.st_mode)
            if stat.S_ISDIR(seen.st_mode):  # connected again up to the root, by looking up `..`
                assert os.readlink(f"/proc/self/fd/{descriptor}").endswith(path)
                assert set(os.listdir(descriptor)) == set(os.listdir(mount.mountpoint / path))


def test_what_the_kernel_has_forgotten(mount: MountProcess, simulator: Simulator) -> None:
    simulator.add_computed(SIZE)
    data = result_of(mount).read_bytes()
    handles = everything(mount)
    handle = handle_of(result_of(mount))
    for _ in range(3):
        make_forget(mount.mountpoint)
        with opened_by_handle(mount.mountpoint, handle) as descriptor:
            assert os.pread(descriptor, SIZE, 1000) == data[1000:]
            make_forget(mount.mountpoint)  # but for what is open
            assert os.pread(descriptor, 10, SIZE - 10) == data[-10:]
    for path, one in handles.items():
        make_forget(mount.mountpoint)
        check(mount, {path: one})


def test_a_remount(start_mount: MountFactory, simulator: Simulator) -> None:
    for size in (SIZE, 10):
        simulator.add_computed(size)
    mount = start_mount()
    paths = list(mount.mountpoint.glob("sessions/*/[!.]*"))
    assert len(paths) == 2
    handles = {path: (handle_of(path), hashlib.sha256(path.read_bytes()).digest()) for path in paths}
    mount.stop()
    mount.start()
    for path, (handle, digest) in handles.items():
        with opened_by_handle(mount.mountpoint, handle) as descriptor:
            assert hashlib.sha256(os.read(descriptor, SIZE)).digest() == digest
            assert os.fstat(descriptor).st_ino == path.stat().st_ino
        stale(mount, with_generation(handle, 1))


def test_what_is_gone_is_stale(mount: MountProcess, simulator: Simulator) -> None:
    session_id = simulator.add_computed(SIZE)
    handles = everything(mount)
    of_session = {path: handle for path, handle in handles.items() if path.startswith("sessions/")}
    (result_of(mount).parent / ".control").write_text("destroy\n")
    simulator.add_computed(SIZE)
    result_of(mount)
    for forget in (False, True):
        if forget:
            make_forget(mount.mountpoint)
        for handle in of_session.values():
            # The kernel asks nothing for as long as it may keep what it was told: the refresh interval.
            eventually(lambda handle=handle: is_stale(mount, handle), within=0.0 if forget else 2 * REFRESH)
            stale(mount, handle)
    assert session_id not in simulator.sessions.ids()


def test_files_in_new_do_not_outlive_the_mount(start_mount: MountFactory) -> None:
    """Their numbers are given again by the next mount, to other files."""
    mount = start_mount()
    new = mount.mountpoint / "new"
    new.joinpath("note").write_text("the first")
    handle = handle_of(new / "note")
    make_forget(mount.mountpoint)
    with opened_by_handle(mount.mountpoint, handle) as descriptor:
        assert os.read(descriptor, 99) == b"the first"
    mount.stop()
    mount.start()
    stale(mount, handle)
    new.joinpath("other").write_text("another")
    assert handle_of(new / "other")[1][:8] == handle[1][:8]  # the number again
    stale(mount, handle)
    make_forget(mount.mountpoint)
    stale(mount, handle)


def test_a_request_by_handle(mount: MountProcess, simulator: Simulator) -> None:
    """As an NFS server of version 4 writes: what is created is opened again by its handle."""
    path = mount.mountpoint / "new/a.json"
    path.touch()
    handle = handle_of(path)
    make_forget(mount.mountpoint)
    with opened_by_handle(mount.mountpoint, handle, os.O_WRONLY) as descriptor:
        os.write(descriptor, json.dumps(ARCHIVE_REQUEST).encode())
    assert simulator.log.count("StartSession") == 1
    assert (mount.mountpoint / "new/a").is_symlink()
