"""A server that gives an id again: the bytes of the export before never pass for those of the one that has it now."""

import errno
import os
from collections.abc import Callable

import pytest

from exportfs.simulator import Simulator
from tests.conftest import MountFactory
from tests.support.harness import MountProcess, eventually, expect_errno
from tests.tree.looking import directory, exists

SIZE = 3 << 20
NAME = "export.mp4"


def vanish(mount: MountProcess, simulator: Simulator, session_id: str) -> None:
    """The server starts anew and has lost its sessions, which the mount notices."""
    path = directory(mount.tree, session_id)
    simulator.sessions.destroy(session_id)
    eventually(lambda: not exists(mount.tree, path))


def replaced(mount: MountProcess, simulator: Simulator, session_id: str) -> None:
    """It has another export under the id, all between two listings."""
    simulator.sessions.destroy(session_id)


@pytest.mark.mount
@pytest.mark.promise("R6", "R8")
@pytest.mark.parametrize("before", [vanish, replaced])
def test_another_export_under_the_same_id(
    start_mount: MountFactory, simulator: Simulator, before: Callable[[MountProcess, Simulator, str], None]
) -> None:
    session_id = simulator.add_computed(SIZE, names=[NAME], seed="first")
    mount = start_mount()
    path = mount.mountpoint / directory(mount.tree, session_id)
    first = simulator.content(session_id, NAME)
    number = (path / NAME).stat().st_ino
    with (path / NAME).open("rb", buffering=0) as held:
        assert (path / NAME).read_bytes() == first
        before(mount, simulator, session_id)
        assert simulator.add_computed(SIZE, names=[NAME], seed="second", session_id=session_id) == session_id
        # Of another interval, so the directory has another name.
        eventually(lambda: directory(mount.tree, session_id) != f"sessions/{path.name}")
        path = mount.mountpoint / directory(mount.tree, session_id)
        assert (path / NAME).read_bytes() == simulator.content(session_id, NAME) != first
        assert (path / NAME).stat().st_ino != number
        os.posix_fadvise(held.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        expect_errno(errno.ESTALE, os.pread, held.fileno(), 4096, 0)


@pytest.mark.mount
@pytest.mark.promise("E6", "R8")
def test_the_same_export_comes_back(start_mount: MountFactory, simulator: Simulator) -> None:
    """A server that starts anew lists nothing at first: whoever reads notices nothing."""
    options = simulator.options()
    session_id = simulator.add_computed(SIZE, names=[NAME], seed="s", options=options)
    mount = start_mount()
    path = mount.mountpoint / directory(mount.tree, session_id)
    number = (path / NAME).stat().st_ino
    with (path / NAME).open("rb", buffering=0) as held:
        begin = held.read(4096)
        vanish(mount, simulator, session_id)
        simulator.add_computed(SIZE, names=[NAME], seed="s", options=options, session_id=session_id)
        eventually(lambda: exists(mount.tree, f"sessions/{path.name}"))
        content = simulator.content(session_id, NAME)
        assert begin + held.readall() == content
    assert (path / NAME).stat().st_ino == number
