"""Files in new/: buffers in memory, judged when they are closed."""

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from exportfs.errors import BadHandle, NoSpace, NotPermitted, TooLarge
from exportfs.requests import MAX_REQUEST_BYTES
from exportfs.vfs.node import SECOND, Attributes, Changes, Handle, Node, Opening, Snapshot, Text

MOST_XATTR_BYTES = 64 * 1024
"""Extended attributes of one file together."""


class Judge(Protocol):
    """Decides what a closed file means; the directory does."""

    async def closed(self, file: "RequestFile", *, last: bool) -> None:
        """One descriptor was closed, the last one or not. Raises what close() is to fail with."""

    def grow(self, size: int, file: "RequestFile") -> None:
        """A file holds so many more bytes; fewer, if negative. Raises NoSpace."""

    def now(self) -> float: ...


class RequestFile(Node):
    """A file that somebody wrote into new/, whatever its name."""

    __slots__ = (
        "_extra",
        "content",
        "gid",
        "handles",
        "judge",
        "linked",
        "mode",
        "mtime_ns",
        "uid",
        "unwritten",
        "version",
        "writers",
    )

    def __init__(self, ino: int, judge: Judge, mode: int) -> None:
        super().__init__(ino)
        self.judge = judge
        self.linked = True
        """Whether it has a name, which the ledger knows."""
        self.content = bytearray()
        self.mode = mode & 0o777
        self.uid: int | None = None
        self.gid: int | None = None
        self.mtime_ns = int(judge.now() * SECOND)
        self.version = 0
        """Counts changes of the content."""
        self.writers = 0
        self.handles = 0
        self.unwritten: TooLarge | NoSpace | None = None
        """Why a write was refused since the file was last emptied: its content is not what somebody wanted to write."""
        self._extra: dict[str, bytes] = {}

    def attributes(self) -> Attributes:
        return Attributes(
            self.ino,
            stat.S_IFREG | self.mode,
            len(self.content),
            nlink=int(self.linked),
            mtime_ns=self.mtime_ns,
            uid=self.uid,
            gid=self.gid,
            own_mode=True,
        )

    def xattrs(self) -> Mapping[str, bytes]:
        return self._extra

    def set_xattr(self, name: str, value: bytes) -> None:
        """Kept for programs that copy attributes along. Raises TooLarge."""
        more = len(value) - len(self._extra.get(name, b""))
        if sum(map(len, self._extra.values())) + more > MOST_XATTR_BYTES:
            raise TooLarge("no room for more extended attributes")
        self.judge.grow(more, self)
        self._extra[name] = value

    def remove_xattr(self, name: str) -> None:
        """Raises NoAttribute."""
        self.judge.grow(-len(self.xattr(name)), self)
        del self._extra[name]

    async def change(self, changes: Changes) -> None:
        cut = changes.size is not None and 0 < changes.size < len(self.content)
        if changes.size is not None:
            self._resize(changes.size)
        if changes.mode is not None:
            self.mode = changes.mode & 0o777
        self.uid = self.uid if changes.uid is None else changes.uid
        self.gid = self.gid if changes.gid is None else changes.gid
        if changes.mtime_ns is not None:
            self.mtime_ns = changes.mtime_ns
        if cut and not self.writers and self.unwritten is None:
            # truncate(2), by path: what is too much is gone, and no close follows that would look at what is left.
            await self.judge.closed(self, last=False)

    async def open(self, flags: int) -> Handle:
        writable = flags & os.O_ACCMODE != os.O_RDONLY
        if flags & os.O_TRUNC:
            self._resize(0)
        self.writers += writable
        self.handles += 1
        return RequestHandle(self, writable)

    def write(self, offset: int, data: bytes) -> int:
        """Raises TooLarge beyond what a request may hold, and NoSpace."""
        end = offset + len(data)
        try:
            if end > MAX_REQUEST_BYTES:
                raise TooLarge(f"a request has at most {MAX_REQUEST_BYTES} bytes")
            self.judge.grow(max(0, end - len(self.content)), self)
        except (TooLarge, NoSpace) as error:
            self.unwritten = error
            raise
        if offset > len(self.content):
            self.content.extend(bytes(offset - len(self.content)))
        self.content[offset:end] = data
        self._changed()
        return len(data)

    def _resize(self, size: int) -> None:
        if size == 0:
            self.unwritten = None
        if size == len(self.content):
            return
        if size > MAX_REQUEST_BYTES:
            raise TooLarge(f"a request has at most {MAX_REQUEST_BYTES} bytes")
        self.judge.grow(size - len(self.content), self)
        del self.content[size:]
        self.content.extend(bytes(size - len(self.content)))
        self._changed()

    def drop_unused(self) -> None:
        """Lets go of what an unlinked file holds, once nobody has it open."""
        if not self.linked and not self.handles:
            self.judge.grow(-len(self.content) - sum(map(len, self._extra.values())), self)
            self.content, self._extra = bytearray(), {}

    def _changed(self) -> None:
        self.version += 1
        self.mtime_ns = int(self.judge.now() * SECOND)


@dataclass(eq=False)
class RequestHandle(Handle):
    """An open file of new/."""

    file: RequestFile
    writable: bool
    opening = Opening()

    async def read(self, offset: int, length: int) -> bytes | memoryview:
        return bytes(self.file.content[offset : offset + length])

    async def write(self, offset: int, data: bytes) -> int:
        if not self.writable:
            raise BadHandle("not open for writing")
        return self.file.write(offset, data)

    async def flush(self) -> None:
        if self.writable:
            await self.file.judge.closed(self.file, last=False)

    async def release(self) -> None:
        self.file.handles -= 1
        self.file.drop_unused()
        if self.writable:
            self.file.writers -= 1
            if self.file.writers == 0:
                await self.file.judge.closed(self.file, last=True)


class ErrorText(Text):
    """`NAME.error`: what is wrong with the file NAME, in words. It belongs to whom that belongs to."""

    def __init__(self, ino: int, text: str, moment: float, about: RequestFile) -> None:
        super().__init__(ino)
        self._about = about
        self._snapshot = Snapshot(text.rstrip().encode("utf-8", "replace") + b"\n", int(moment * SECOND))

    def attributes_of(self, snapshot: Snapshot) -> Attributes:
        return replace(super().attributes_of(snapshot), uid=self._about.uid, gid=self._about.gid)

    def snapshot(self) -> Snapshot:
        return self._snapshot


class SessionLink(Node):
    """`new/<stem>`: leads to the directory of the session that the request started."""

    __slots__ = ("_moment", "_name", "session_id")

    def __init__(self, ino: int, session_id: str, name: "NameOf", moment: float) -> None:
        super().__init__(ino)
        self.session_id = session_id
        self._name = name
        self._moment = moment

    def attributes(self) -> Attributes:
        size = len(self.target().encode())
        return Attributes(self.ino, stat.S_IFLNK | 0o777, size, mtime_ns=int(self._moment * SECOND))

    def target(self) -> str:
        return f"../sessions/{self._name(self.session_id)}"

    async def open(self, flags: int) -> Handle:
        raise NotPermitted("a symbolic link")


class NameOf(Protocol):
    """The name of a session's directory."""

    def __call__(self, session_id: str) -> str: ...
