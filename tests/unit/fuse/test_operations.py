"""What the handlers make of the kernel's arguments, and of the filesystem's answers."""

import errno
import stat
from types import SimpleNamespace
from typing import Any

import pyfuse3
import pytest
import trio
from pyfuse3 import FUSEError

from exportfs.errors import Unsupported
from exportfs.fuse import operations
from exportfs.fuse.callers import ACLS
from exportfs.fuse.operations import ExportOperations
from exportfs.vfs.filesystem import Emit, Space
from exportfs.vfs.node import Attributes, Changes, Node, Opening, Owner
from exportfs.vfs.status import Activity

EXCHANGE = 2
"""RENAME_EXCHANGE, which pyfuse3 knows as well."""
WHITEOUT = 4
OWNER = Owner(1000, 100, 0o027)


class Caller(pyfuse3.RequestContext):
    """Whose fields can be chosen."""

    pid = 77
    uid, gid, umask = 5, 6, 0o027


class Fixed(Node):
    """Of which everybody sees the size that is his process."""

    def attributes_for(self, pid: int) -> Attributes:
        return Attributes(self.ino, stat.S_IFREG | 0o444, pid)


class Noting:
    """A filesystem that notes what is asked of it, and answers alike."""

    answer = Attributes(7, stat.S_IFREG | 0o666, 5)
    used = 3 * 4096 + 1

    def __init__(self) -> None:
        self.told: list[Node] = []
        self.forgotten: list[tuple[int, int]] = []
        self.created: list[tuple[Any, ...]] = []
        self.closed: list[int] = []
        self.renamed: list[tuple[Any, ...]] = []
        self.changed: list[Changes] = []

    def looked_up(self, node: Node) -> None:
        self.told.append(node)

    def forget(self, ino: int, count: int) -> None:
        self.forgotten.append((ino, count))

    async def lookup(self, parent: int, name: str) -> Node:
        return Fixed(7)

    async def create(
        self, parent: int, name: str, mode: int, flags: int, *, uid: int, gid: int
    ) -> tuple[Node, int, Opening]:
        self.created.append((parent, name, mode, flags, uid, gid))
        return Fixed(7), 9, Opening(direct_io=True)

    async def read_directory(self, handle: int, offset: int, emit: Emit) -> None:
        for place in range(offset, 5):
            if not emit(f"n{place}", Fixed(20 + place), place + 1):
                break

    def close_directory(self, handle: int) -> None:
        self.closed.append(handle)

    async def open(self, ino: int, flags: int, pid: int = 0) -> tuple[int, Opening]:
        return 9, Opening(keep_cache=True)

    def open_directory(self, ino: int) -> int:
        return 10

    async def rename(self, *args: Any, replace: bool) -> None:
        self.renamed.append((*args, replace))

    async def change(self, ino: int, changes: Changes) -> Attributes:
        self.changed.append(changes)
        return self.answer

    def xattr(self, ino: int, name: str) -> bytes:
        if not name.startswith("user."):
            raise Unsupported("only extended attributes of users")
        return name.encode()

    def attributes(self, ino: int, pid: int = 0) -> Attributes:
        return self.answer

    def space(self) -> Space:
        return Space(self.used, 1 << 40, 12, free_files=100)


class Scene:
    def __init__(self) -> None:
        self.filesystem = Noting()
        activity = Activity(lambda: 0.0, lambda: 0.0)
        filesystem: Any = self.filesystem
        self.operations: Any = ExportOperations(filesystem, OWNER, activity, timeout=5)
        self.context = Caller.__new__(Caller)

    def renames(self, old: bytes, new: bytes, flags: int = 0) -> int:
        """0, or what it fails with."""
        try:
            trio.run(self.operations.rename, 4, old, 4, new, flags, self.context)
        except FUSEError as error:
            return int(error.errno)
        return 0

    def looks(self, answer: Attributes) -> Any:
        self.filesystem.answer = answer
        return trio.run(self.operations.getattr, answer.ino, self.context)


@pytest.fixture
def scene() -> Scene:
    return Scene()


@pytest.mark.promise("W8", "T11")
def test_renames(scene: Scene) -> None:
    assert scene.renames(b"a", b"b") == 0
    assert scene.renames(b"a", b"\xff" * 255, pyfuse3.RENAME_NOREPLACE) == 0
    done = [(4, "a", 4, "b", True), (4, "a", 4, "\udcff" * 255, False)]
    assert scene.filesystem.renamed == done
    # Taken for a plain one, it would remove the other file.
    for flags in (EXCHANGE, WHITEOUT, EXCHANGE | pyfuse3.RENAME_NOREPLACE):
        assert scene.renames(b"a", b"b", flags) == errno.EINVAL
    assert scene.renames(b"a", b"b" * 256) == errno.ENAMETOOLONG
    assert scene.filesystem.renamed == done


@pytest.mark.promise("T11", "T16")
def test_creates(scene: Scene) -> None:
    operations, context = scene.operations, scene.context
    info, entry = trio.run(operations.create, 4, b"n" * 255, 0o4666, 1, context)
    assert (info.fh, info.direct_io, entry.st_ino, entry.st_size) == (9, True, 7, 77)
    assert scene.filesystem.created == [(4, "n" * 255, 0o4640, 1, 5, 6)]
    assert [node.ino for node in scene.filesystem.told] == [7]
    assert operations.opened == {9: (7, 77)}
    with pytest.raises(FUSEError) as caught:
        trio.run(operations.create, 4, b"n" * 256, 0o666, 1, context)
    assert caught.value.errno == errno.ENAMETOOLONG
    assert len(scene.filesystem.created) == 1


@pytest.mark.promise("T7", "T8")
def test_the_kernel_knows_what_it_was_told_of(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """And forgets it: each time counts. Of what did not fit into an answer it was not told."""
    operations, context, filesystem = scene.operations, scene.context, scene.filesystem
    replies: list[tuple[Any, ...]] = []

    def reply(token: object, name: bytes, entry: Any, after: int) -> bool:
        if len(replies) == 2:
            return False
        replies.append((name, entry.st_ino, entry.st_size, after))
        return True

    monkeypatch.setattr(pyfuse3, "readdir_reply", reply)
    assert trio.run(operations.lookup, 4, b"a", context).st_size == 77
    assert trio.run(operations.opendir, 8, context) == 10
    trio.run(operations.readdir, 10, 1, None)
    assert replies == [(b"n1", 21, 77, 2), (b"n2", 22, 77, 3)]
    assert [node.ino for node in filesystem.told] == [7, 21, 22]
    trio.run(operations.forget, [(7, 1), (21, 3)])
    assert filesystem.forgotten == [(7, 1), (21, 3)]
    trio.run(operations.releasedir, 10)
    assert filesystem.closed == [10]
    assert not operations.openers()


@pytest.mark.promise("T16")
def test_only_what_is_said_to_change_is_changed(scene: Scene) -> None:
    """The other fields hold something as well."""
    values = {"size": 1, "mode": 0o100640, "uid": 2, "gid": 3, "mtime_ns": 4}
    attr = SimpleNamespace(**{f"st_{key}": value for key, value in values.items()})
    for key, value in values.items():
        word = f"update_{key.removesuffix('_ns')}"
        words = ("update_size", "update_mode", "update_uid", "update_gid", "update_mtime")
        fields = SimpleNamespace(**{name: name == word for name in words})
        trio.run(scene.operations.setattr, 7, attr, fields, None, scene.context)
        changes: dict[str, Any] = {key: value}
        assert scene.filesystem.changed.pop() == Changes(**changes)


@pytest.mark.promise("R1", "R2", "R3", "T10", "T16")
def test_attributes(scene: Scene) -> None:
    shown = scene.looks(
        Attributes(7, stat.S_IFREG | 0o666, 513, nlink=3, mtime_ns=11, block_size=8, cache_timeout=1.5)
    )
    assert (shown.st_ino, shown.st_nlink, shown.st_size, shown.st_blocks, shown.st_blksize) == (
        7,
        3,
        513,
        2,
        8,
    )
    assert (shown.st_mode, shown.st_uid, shown.st_gid) == (stat.S_IFREG | 0o640, OWNER.uid, OWNER.gid)
    assert shown.st_atime_ns == shown.st_mtime_ns == shown.st_ctime_ns == 11
    assert shown.entry_timeout == shown.attr_timeout == 1.5


@pytest.mark.promise("T16")
def test_attributes_that_programs_have_set(scene: Scene) -> None:
    shown = scene.looks(
        Attributes(7, stat.S_IFREG | 0o666, 1, mtime_ns=11, ctime_ns=12, uid=0, gid=0, own_mode=True)
    )
    assert (shown.st_mode, shown.st_uid, shown.st_gid) == (stat.S_IFREG | 0o666, 0, 0)
    assert (shown.st_mtime_ns, shown.st_ctime_ns) == (11, 12)
    assert scene.looks(Attributes(7, stat.S_IFLNK | 0o777)).st_mode == stat.S_IFLNK | 0o777


@pytest.mark.promise("T11")
def test_space(scene: Scene) -> None:
    space = trio.run(scene.operations.statfs, scene.context)
    assert space.f_bsize == space.f_frsize == 4096
    assert space.f_bfree == space.f_bavail == (1 << 40) // 4096
    assert space.f_blocks - space.f_bfree == 3
    assert (space.f_files, space.f_ffree, space.f_favail) == (112, 100, 100)
    assert space.f_namemax == 255


@pytest.mark.promise("T13")
def test_what_is_under_way_is_said_for_people(scene: Scene) -> None:
    """Calls on what is open do not say of which file it is, and who has opened it."""
    context, operations = scene.context, scene.operations
    info = trio.run(operations.open, 7, 0, context)
    assert (info.fh, info.direct_io, info.keep_cache) == (9, False, True)
    assert trio.run(operations.opendir, 8, context) == 10
    assert operations.openers() == {77}
    for name, args, said in (
        ("lookup", (4, b"caf\xc3\xa9", context), (77, 4, None, "café")),
        ("lookup", (4, b"\xff", context), (77, 4, None, "\ufffd")),
        ("create", (4, b"a", 0o644, 0, context), (77, 4, None, "a")),
        ("getxattr", (7, b"user.x", context), (77, 7, None, None)),
        ("getattr", (7, context), (77, 7, None, None)),
        ("statfs", (context,), (77, 0, None, None)),
        ("read", (9, 4096, 512), (77, 7, 4096, None)),
        ("write", (9, 5, b"x"), (77, 7, 5, None)),
        ("release", (9,), (77, 7, None, None)),
        ("fsync", (9, True), (77, 7, None, None)),
        ("readdir", (10, 3, None), (77, 8, None, None)),
        ("read", (11, 0, 512), (0, 0, 0, None)),
    ):
        made = operations.operation(name, args, 5.0)
        assert (made.name, made.pid, made.ino, made.offset, made.entry) == (name, *said)
        assert made.since == 5.0


@pytest.mark.promise("T19")
@pytest.mark.parametrize(("takes_none", "number"), [(False, errno.EOPNOTSUPP), (True, errno.ENODATA)])
def test_there_are_no_acls(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, takes_none: bool, number: int
) -> None:
    """Who would refuse such a directory is told that there is none on this one."""
    monkeypatch.setattr(operations, "expects_acls", lambda pid: takes_none)

    def get(name: bytes) -> bytes:
        return bytes(trio.run(scene.operations.getxattr, 7, name, scene.context))

    for name in ACLS:
        with pytest.raises(FUSEError) as caught:
            get(name)
        assert caught.value.errno == number
    assert get(b"user.mime_type") == b"user.mime_type"
