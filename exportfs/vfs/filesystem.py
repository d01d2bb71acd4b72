"""The filesystem as one object: what the kernel asks, by inode and handle numbers. Knows nothing of the kernel's
bindings; whatever goes wrong is one of our errors."""

import stat
from collections.abc import Callable
from dataclasses import dataclass
from mmap import PAGESIZE
from typing import NoReturn

from exportfs.content.tuning import GUESSED
from exportfs.errors import (
    BadHandle,
    IsADirectory,
    NotADirectory,
    NotEmpty,
    NotFound,
    NotPermitted,
    ReadOnly,
    Unsupported,
)
from exportfs.vfs.by_number import ByNumber
from exportfs.vfs.context import Context
from exportfs.vfs.metrics.file import MetricsFile
from exportfs.vfs.new.file import RequestFile
from exportfs.vfs.node import Attributes, Changes, Directory, Entries, Handle, Node, Opening, TextHandle
from exportfs.vfs.root import RootDirectory
from exportfs.vfs.sessions.directory import SessionDirectory
from exportfs.vfs.status import StatusMaker

NAME_MAX = 255
HOW_TO_DESTROY = "`echo destroy > .control` in a session's directory deletes it on the server"
FRAGMENT = 4096
FREE = 1 << 40
"""Bytes said to be free: what the server has is unknown, and a file manager copies nothing into a full folder."""


FREE_FILES = 1 << 20
"""Files said to fit in besides, for the same reason."""


@dataclass(slots=True)
class OpenDirectory:
    """An open directory and what it listed when it was (re)wound."""

    node: Directory
    entries: Entries | None = None


@dataclass(frozen=True, slots=True)
class Space:
    """For statfs: bytes of all results, bytes said to be free, and files."""

    used: int
    free: int
    files: int
    """Results."""
    free_files: int = FREE_FILES


Emit = Callable[[str, Node, int], bool]
"""Takes a name, its node and the offset after it; false where there is no more room."""


class Filesystem:
    """One mount's tree. Names are text, with surrogate escapes for what is not UTF-8."""

    def __init__(self, context: Context, status: StatusMaker, metrics: MetricsFile) -> None:
        self._context = context
        self._inodes = context.inodes
        self.root = RootDirectory(context, status, metrics, lambda: str(status.server().get("address", "")))
        self._by_number = ByNumber(context, self.root)
        self._handles: dict[int, Handle] = {}
        self._directories: dict[int, OpenDirectory] = {}
        self._next = 0
        self._space: tuple[int, Space] = (-1, Space(0, FREE, 0))

    def may_be_ahead(self, offset: int, length: int) -> bool:
        """Whether a read of a file may be the kernel's read-ahead, of the kind that is refused where nobody waits for
        it (Unwanted)."""
        least = GUESSED if self._context.library.line.fast else PAGESIZE + 1
        return offset > 0 and length >= least

    async def lookup(self, parent: int, name: str) -> Node:
        """The node of a name in a directory. Raises NotFound, Gone, and what a listing raises.

        `.` and `..` are of anything, known to the kernel or not: so it follows a handle that somebody kept.
        """
        if name == ".":
            return await self._by_number.find(parent)
        if name == "..":
            return self._by_number.parent(await self._by_number.find(parent))
        return await self._directory(parent).lookup(name)

    def looked_up(self, node: Node) -> None:
        """The kernel was told of a node once more; `forget` takes that back."""
        self._inodes.looked_up(node)

    def forget(self, ino: int, count: int) -> None:
        """The kernel forgets so many of the times it was told."""
        self._inodes.forget(ino, count)

    def attributes(self, ino: int, pid: int = 0) -> Attributes:
        """From memory. Raises Gone."""
        return self._inodes.get(ino).attributes_for(pid)

    def directory_of(self, session_id: str) -> int | None:
        """The number of a session's directory, where the kernel knows it; whether or not the session is still there."""
        return self._inodes.number(("session", session_id))

    async def change(self, ino: int, changes: Changes) -> Attributes:
        node = self._inodes.get(ino)
        await node.change(changes)
        return node.attributes()

    def target(self, ino: int) -> str:
        """Of a symbolic link."""
        return self._inodes.get(ino).target()

    def open_directory(self, ino: int) -> int:
        """A handle number; `close_directory` must follow."""
        directory = self._directory(ino)
        directory.check_there()
        number = self._number()
        self._directories[number] = OpenDirectory(directory)
        return number

    async def read_directory(self, handle: int, offset: int, emit: Emit) -> None:
        """Emits entries from an offset (0: the start, and what is there now) until there is no more room."""
        opened = self._directories.get(handle)
        if opened is None:
            raise BadHandle("no such open directory")
        if offset == 0 or opened.entries is None:
            opened.entries = await opened.node.entries()
        entries = opened.entries
        for place in range(offset, len(entries.names)):
            name = entries.names[place]
            try:
                node = entries.nodes.node(place, name)
            except NotFound:
                continue
            try:
                fitted = emit(name, node, place + 1)
            finally:
                self._inodes.sweep(node)
            if not fitted:
                return

    def close_directory(self, handle: int) -> None:
        self._directories.pop(handle, None)

    async def open(self, ino: int, flags: int, pid: int = 0) -> tuple[int, Opening]:
        """Opens a file with the flags of open(2), for this process; `release` must follow."""
        node = self._inodes.get(ino)
        if isinstance(node, Directory):
            raise IsADirectory("a directory")
        handle = await node.open(flags)
        if isinstance(handle, TextHandle):
            handle.pid = pid
        return self._opened(handle)

    async def create(
        self, parent: int, name: str, mode: int, flags: int, *, uid: int | None = None, gid: int | None = None
    ) -> tuple[Node, int, Opening]:
        """A new file in new/, open. It belongs to who creates it (None: to who mounted)."""
        self._writable()
        if self._directory(parent) is not self.root.new:
            raise NotPermitted("files can be created in new/ only")
        file, handle = await self.root.new.create(name, mode, flags)
        folder = self.root.new.attributes()
        # As everywhere (inode(7)): in a set-group-ID directory files get its group.
        file.uid, file.gid = uid, folder.gid if folder.mode & stat.S_ISGID else gid
        return file, *self._opened(handle)

    async def read(self, handle: int, offset: int, length: int) -> bytes | memoryview:
        return await self._handle(handle).read(offset, length)

    async def write(self, handle: int, offset: int, data: bytes) -> int:
        return await self._handle(handle).write(offset, data)

    async def flush(self, handle: int) -> None:
        await self._handle(handle).flush()

    async def release(self, handle: int) -> None:
        opened = self._handles.pop(handle, None)
        if opened is not None:
            await opened.release()

    async def unlink(self, parent: int, name: str) -> None:
        self._writable()
        directory = self._directory(parent)
        if directory is self.root.new:
            self.root.new.unlink(name)
            await self._context.journal.written()
            return
        await directory.lookup(name)
        raise NotPermitted(f"nothing can be removed here; {HOW_TO_DESTROY}")

    async def rmdir(self, parent: int, name: str) -> None:
        """Refused always: a directory that went with what it holds would be taken for an empty one, and programs
        that remove whole trees would destroy exports that nobody named."""
        self._writable()
        node = await self._directory(parent).lookup(name)
        if not isinstance(node, Directory):
            raise NotADirectory("not a directory")
        if isinstance(node, SessionDirectory):
            raise NotEmpty(f"a session's directory always holds its records; {HOW_TO_DESTROY}")
        raise NotPermitted("this directory is part of the mount")

    async def rename(self, parent: int, old: str, new_parent: int, new: str, *, replace: bool) -> None:
        self._writable()
        here, there = self._directory(parent), self._directory(new_parent)
        if here is not self.root.new or there is not self.root.new:
            raise NotPermitted("files can be renamed within new/ only")
        try:
            await self.root.new.rename(old, new, replace=replace)
        finally:
            await self._context.journal.written()

    def refuse_creation(self) -> NoReturn:
        """Directories, links and devices are not made here. Raises always."""
        self._writable()
        raise NotPermitted("only files can be created, and only in new/")

    def xattr(self, ino: int, name: str) -> bytes:
        """Raises NoAttribute, Unsupported outside the namespace of users."""
        self._user_namespace(name)
        return self._inodes.get(ino).xattr(name)

    def xattrs(self, ino: int) -> list[str]:
        return list(self._inodes.get(ino).xattrs())

    def set_xattr(self, ino: int, name: str, value: bytes) -> None:
        self._user_namespace(name)
        self._writable()
        self._request_file(ino).set_xattr(name, value)

    def remove_xattr(self, ino: int, name: str) -> None:
        self._user_namespace(name)
        self._writable()
        self._request_file(ino).remove_xattr(name)

    def space(self) -> Space:
        """From memory, added up again only after something has changed."""
        catalogue = self._context.catalogue
        if self._space[0] != catalogue.changes:
            used = files = 0
            for entry in catalogue:
                used += sum(file.size for file in entry.session.state.files)
                files += len(entry.session.state.files)
            self._space = (catalogue.changes, Space(min(used, 1 << 60), FREE, files))
        return self._space[1]

    def _directory(self, ino: int) -> Directory:
        node = self._inodes.get(ino)
        if not isinstance(node, Directory):
            raise NotADirectory("not a directory")
        return node

    def _handle(self, handle: int) -> Handle:
        try:
            return self._handles[handle]
        except KeyError:
            raise BadHandle("no such open file") from None

    def _request_file(self, ino: int) -> RequestFile:
        node = self._inodes.get(ino)
        if not isinstance(node, RequestFile):
            raise NotPermitted("its attributes cannot be changed")
        return node

    def _writable(self) -> None:
        if self._context.read_only:
            raise ReadOnly("mounted read-only")

    def _user_namespace(self, name: str) -> None:
        if not name.startswith("user."):
            raise Unsupported("only extended attributes of users")

    def _opened(self, handle: Handle) -> tuple[int, Opening]:
        number = self._number()
        self._handles[number] = handle
        return number, handle.opening

    def _number(self) -> int:
        self._next += 1
        return self._next
