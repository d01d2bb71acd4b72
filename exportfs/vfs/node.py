"""What the tree is made of: nodes (what a name stands for) and handles (what is open)."""

import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from exportfs.errors import BadHandle, NoAttribute, NotADirectory, NotFound, NotPermitted

BLOCK = 512
"""Bytes in the unit of st_blocks (POSIX)."""
SECOND = 10**9


@dataclass(frozen=True, slots=True)
class Attributes:
    """What stat shows, but for the owner, who is the same everywhere unless given. Times in ns since 1970."""

    ino: int
    mode: int
    size: int = 0
    nlink: int = 1
    mtime_ns: int = 0
    ctime_ns: int | None = None
    """None: `mtime_ns`."""
    block_size: int = 4096
    """Bytes that are best read at once (st_blksize)."""
    cache_timeout: float = 0.0
    """Seconds for which the kernel may keep this and the name that led to it."""
    uid: int | None = None
    gid: int | None = None
    own_mode: bool = False
    """Whether the mode was chosen by a program, so that the umask has had its say."""

    @property
    def blocks(self) -> int:
        return -(-self.size // BLOCK)


@dataclass(frozen=True, slots=True)
class Changes:
    """What setattr asks for; None: left as it is."""

    size: int | None = None
    mode: int | None = None
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Opening:
    """How the kernel is to treat an open file."""

    direct_io: bool = False
    """No page cache: every read is asked for, and its answer taken as it is."""
    keep_cache: bool = False
    """What is in the page cache from before still holds."""


class Handle:
    """An open file. Offsets and lengths in bytes. What a kind of file does not offer raises."""

    opening = Opening()

    async def read(self, offset: int, length: int) -> bytes | memoryview:
        raise BadHandle("not open for reading")

    async def write(self, offset: int, data: bytes) -> int:
        raise BadHandle("not open for writing")

    async def flush(self) -> None:
        """Once for every closed duplicate of a descriptor; its errors reach the caller of close()."""

    async def release(self) -> None:
        """The last one is closed; nobody hears of errors."""


class Node:
    """Anything with an inode number."""

    __slots__ = ("generation", "ino")

    def __init__(self, ino: int) -> None:
        self.ino = ino
        self.generation = 0
        """Tells apart what has the same number one after the other (32 bits); `Inodes` sets it."""

    def attributes(self) -> Attributes:
        """From memory, always at once. Raises Gone where the server no longer has it."""
        raise NotImplementedError

    def attributes_for(self, pid: int) -> Attributes:
        """As this process is to see them; 0: anybody."""
        return self.attributes()

    def xattrs(self) -> Mapping[str, bytes]:
        """Extended attributes by full name."""
        return {}

    def xattr(self, name: str) -> bytes:
        """One of them. Raises NoAttribute."""
        try:
            return self.xattrs()[name]
        except KeyError:
            raise NoAttribute(f"no attribute {name}") from None

    async def open(self, flags: int) -> Handle:
        """Opens it with the flags of open(2)."""
        raise NotPermitted("this cannot be opened")

    async def change(self, changes: Changes) -> None:
        """Changes attributes."""
        raise NotPermitted("its attributes cannot be changed")

    def target(self) -> str:
        """Where a symbolic link leads."""
        raise NotFound("not a symbolic link")


class Directory(Node):
    """A node with names below it."""

    __slots__ = ()

    def check_there(self) -> None:
        """Raises Gone where its names are gone, though its attributes may still be told."""

    async def lookup(self, name: str) -> Node:
        """The node of a name. Raises NotFound."""
        raise NotADirectory("not a directory")

    async def entries(self) -> "Entries":
        """What is listed, as it is now."""
        raise NotADirectory("not a directory")


@dataclass(frozen=True, slots=True)
class Entries:
    """A listing at one time: names, and how to get the node of one when it is needed.

    A node may have gone by then (NotFound), and its name is then passed over.
    """

    names: list[str]
    nodes: "NodeMaker"


class NodeMaker:
    """Gives the node of a listed name."""

    def node(self, place: int, name: str) -> Node:
        """The node of the name at this place of the listing. Raises NotFound."""
        raise NotImplementedError


class FixedNodes(NodeMaker):
    """Of nodes that are there already."""

    def __init__(self, nodes: Iterable[Node]) -> None:
        self._nodes = list(nodes)

    def node(self, place: int, name: str) -> Node:
        return self._nodes[place]


@dataclass(slots=True)
class Snapshot:
    """A text as it was when it was opened."""

    data: bytes
    mtime_ns: int
    ctime_ns: int | None = None
    """None: the same. Of what never stands still it does: `tar` takes a file for changed while it was read whose
    ctime differs from that of its first look."""


@dataclass(eq=False)
class TextHandle(Handle):
    """An open text: what it held when it was opened, whatever becomes of it."""

    node: "Text"
    snapshot: Snapshot
    pid: int = 0
    """Who opened it; 0: unknown."""
    opening = Opening(direct_io=True)

    async def read(self, offset: int, length: int) -> bytes | memoryview:
        return self.snapshot.data[offset : offset + length]

    async def release(self) -> None:
        self.node.openings.remove(self)


class Text(Node):
    """A file whose text is made when it is opened.

    To who opened it its attributes are those of that opening: `tar` and `cp` compare them with what they read. Others
    see those of the text as it is now, however long somebody keeps it open: `rsync` and `make` go by them.
    """

    # No __slots__: a text that belongs to a session has two bases, and only one may have them.
    mode = stat.S_IFREG | 0o444

    def __init__(self, ino: int) -> None:
        super().__init__(ino)
        self.openings: list[TextHandle] = []

    def snapshot(self) -> Snapshot:
        """The text as it is now."""
        raise NotImplementedError

    def attributes(self) -> Attributes:
        return self.attributes_of(self.snapshot())

    def attributes_for(self, pid: int) -> Attributes:
        own = [opening.snapshot for opening in self.openings if pid and opening.pid == pid]
        return self.attributes_of(own[-1]) if own else self.attributes()

    def attributes_of(self, snapshot: Snapshot) -> Attributes:
        """Those of the text when it was this one."""
        return Attributes(
            self.ino,
            self.mode,
            len(snapshot.data),
            mtime_ns=snapshot.mtime_ns,
            ctime_ns=snapshot.ctime_ns,
        )

    async def open(self, flags: int) -> Handle:
        if flags & os.O_ACCMODE != os.O_RDONLY:
            raise NotPermitted("it is read-only")
        snapshot = self.snapshot()
        handle = TextHandle(self, snapshot)
        self.openings.append(handle)
        return handle


@dataclass(slots=True)
class Owner:
    """Whose the tree is: who mounted it."""

    uid: int
    gid: int
    umask: int = field(default=0o022)
    new_mode: int | None = None
    """Of new/, the umask not regarded; None: 0755, regarded."""
