"""Attributes of a directory whose session has gone, while the kernel believes in its name."""

import errno
import stat
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from pyfuse3 import FUSEError, InodeT, RequestContext

from exportfs.errors import Gone
from exportfs.fuse.operations import ExportOperations
from exportfs.vfs.node import Attributes, Owner
from exportfs.vfs.status import Activity

DIRECTORY = 42
STANDS, HAS_IT_OPEN = 1, 2
"""Processes."""


class Tree:
    """Of one session."""

    nlink = 2
    known = True

    def directory_of(self, session_id: str) -> int | None:
        return DIRECTORY if self.known and session_id == "a" else None

    def attributes(self, ino: int, pid: int = 0) -> Attributes:
        if ino != DIRECTORY:
            raise Gone("no longer there")
        return Attributes(ino, stat.S_IFDIR | 0o755, nlink=self.nlink, mtime_ns=0, cache_timeout=5.0)

    def forget(self, ino: int, count: int) -> None:
        pass


class Scene:
    def __init__(self) -> None:
        self.now = 100.0
        self.tree = Tree()
        activity = Activity(lambda: self.now, lambda: 0.0)
        self.operations = ExportOperations(cast(Any, self.tree), Owner(0, 0, 0o022), activity, timeout=5)
        self.operations.opened[7] = DIRECTORY, HAS_IT_OPEN

    def gone(self) -> int | None:
        self.tree.nlink = 0
        return self.operations.session_gone("a")

    def links(self, pid: int = STANDS) -> int | None:
        """None where it is stale."""
        context = cast(RequestContext, SimpleNamespace(pid=pid))  # its own fields cannot be written
        try:
            return trio.run(self.operations.getattr, InodeT(DIRECTORY), context).st_nlink
        except FUSEError as error:
            if error.errno == errno.ESTALE:
                return None
            raise


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_who_came_by_its_name_is_to_look_for_it_again(scene: Scene) -> None:
    assert scene.links() == 2
    assert scene.gone() == DIRECTORY
    scene.now += 4.9
    assert scene.links() is None
    assert scene.links(HAS_IT_OPEN) == 0
    # The kernel has to look for the name by then.
    scene.now += 0.1
    assert scene.links() == 0
    assert not scene.operations.gone


def test_what_the_kernel_does_not_know_it_is_not_told_of(scene: Scene) -> None:
    scene.tree.known = False
    assert scene.gone() is None
    assert not scene.operations.gone


def test_another_session_under_the_same_id_is_no_stale_one(scene: Scene) -> None:
    scene.gone()
    scene.tree.nlink = 2
    assert scene.links() == 2


def test_what_the_kernel_has_forgotten_is_forgotten(scene: Scene) -> None:
    scene.gone()
    trio.run(scene.operations.forget, [(InodeT(DIRECTORY), 1)])
    assert not scene.operations.gone


def test_a_directory_that_was_never_looked_at(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def attributes(ino: int, pid: int = 0) -> Attributes:
        raise Gone("no longer there")

    monkeypatch.setattr(scene.tree, "attributes", attributes)
    assert scene.gone() == DIRECTORY
    assert not scene.operations.gone
