"""Between pyfuse3 and the filesystem: a few lines a handler."""

import contextlib
import errno
import stat
from collections.abc import Sequence

import pyfuse3
from pyfuse3 import (
    EntryAttributes,
    FileHandleT,
    FileInfo,
    FileNameT,
    FlagT,
    FUSEError,
    InodeT,
    ModeT,
    ReaddirToken,
    RequestContext,
    SetattrFields,
    StatvfsData,
    XAttrNameT,
)

from exportfs.errors import Gone, NoAttribute, Unwanted
from exportfs.fuse.callers import ACLS, expects_acls, reads_directly
from exportfs.fuse.handlers import Handlers, at_once, handler
from exportfs.fuse.leftovers import Leftovers
from exportfs.naming import encode
from exportfs.vfs.filesystem import FRAGMENT, NAME_MAX, Filesystem
from exportfs.vfs.node import Attributes, Changes, Node, Opening, Owner
from exportfs.vfs.status import Activity


class ExportOperations(Handlers):
    """pyfuse3's view of the filesystem."""

    supports_dot_lookup = True
    """Of any number, also of one that the kernel has forgotten: for handles of NFS."""
    enable_writeback_cache = False

    def __init__(self, filesystem: Filesystem, owner: Owner, activity: Activity, *, timeout: float) -> None:
        super().__init__(activity, timeout)
        self.filesystem = filesystem
        self.owner = owner
        self.leftovers = Leftovers(lambda ino, offset, length: None)
        self.direct: dict[int, bool] = {}
        """Of handles that were looked at, whether anybody may read past the kernel's cache; for good where he may: it
        can be changed while he reads."""

        self.gone: dict[int, float] = {}
        """Directories of sessions that are gone, and until when (monotonic seconds) the kernel may believe in their
        names."""

    def openers(self) -> set[int]:
        """The processes that opened what is open."""
        return {pid for _, pid in self.opened.values()}

    def session_gone(self, session_id: str) -> int | None:
        """The inode of its directory, where the kernel knows it: its attributes are to be asked for."""
        ino = self.filesystem.directory_of(session_id)
        if ino is not None:
            with contextlib.suppress(Gone):
                believes = self.filesystem.attributes(ino).cache_timeout
                self.gone[ino] = self.activity.monotonic() + believes
        return ino

    def _asked_by_name(self, ino: int, pid: int) -> bool:
        """Whether somebody asks for the attributes of a directory that is gone who has come by its name, as far as is
        known: for whoever has it open they are those of one that has been removed."""
        if self.activity.monotonic() >= self.gone[ino]:
            del self.gone[ino]
            return False
        return (ino, pid) not in self.opened.values()

    @handler
    async def lookup(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> EntryAttributes:
        return self._entry(await self.filesystem.lookup(parent_inode, _text(name)), ctx.pid)

    async def forget(self, inode_list: Sequence[tuple[InodeT, int]]) -> None:
        # Nothing in here can fail, and nobody could be told.
        for ino, count in inode_list:
            self.gone.pop(ino, None)
            self.filesystem.forget(ino, count)

    @at_once
    def getattr(self, inode: InodeT, ctx: RequestContext) -> EntryAttributes:
        attributes = self.filesystem.attributes(inode, ctx.pid)
        if inode in self.gone and not attributes.nlink and self._asked_by_name(inode, ctx.pid):
            # Then the kernel asks whether the name still leads to it.
            raise FUSEError(errno.ESTALE)
        return self._attributes(attributes)

    @handler
    async def setattr(
        self,
        inode: InodeT,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: FileHandleT | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        changes = Changes(
            size=attr.st_size if fields.update_size else None,
            mode=attr.st_mode if fields.update_mode else None,
            uid=attr.st_uid if fields.update_uid else None,
            gid=attr.st_gid if fields.update_gid else None,
            mtime_ns=attr.st_mtime_ns if fields.update_mtime else None,
        )
        return self._attributes(await self.filesystem.change(inode, changes))

    @at_once
    def readlink(self, inode: InodeT, ctx: RequestContext) -> FileNameT:
        return _name(self.filesystem.target(inode))

    @at_once
    def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        handle = self.filesystem.open_directory(inode)
        self.opened[handle] = inode, ctx.pid
        return FileHandleT(handle)

    @handler
    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:
        _, pid = self.opened.get(fh, (0, 0))

        def emit(name: str, node: Node, after: int) -> bool:
            if not pyfuse3.readdir_reply(token, _name(name), self._attributes_of(node, pid), after):
                return False
            self.filesystem.looked_up(node)
            return True

        await self.filesystem.read_directory(fh, start_id, emit)

    @at_once
    def releasedir(self, fh: FileHandleT) -> None:
        self.opened.pop(fh, None)
        self.filesystem.close_directory(fh)

    @at_once
    def fsyncdir(self, fh: FileHandleT, datasync: bool) -> None:
        pass

    @handler
    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> FileInfo:
        handle, opening = await self.filesystem.open(inode, flags, ctx.pid)
        self.opened[handle] = inode, ctx.pid
        return _info(handle, opening)

    @handler
    async def create(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, flags: FlagT, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        if len(name) > NAME_MAX:
            raise FUSEError(errno.ENAMETOOLONG)
        node, fh, opening = await self.filesystem.create(
            parent_inode, _text(name), mode & ~ctx.umask, flags, uid=ctx.uid, gid=ctx.gid
        )
        self.opened[fh] = node.ino, ctx.pid
        return _info(fh, opening), self._entry(node, ctx.pid)

    @handler
    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        leftovers = self.leftovers
        ino, pid = self.opened.get(fh, (0, 0))
        if leftovers:
            leftovers.asked(ino, off, size)
        if fh not in self.direct and self.filesystem.may_be_ahead(off, size):
            # Now, since it is no longer to be seen when it is closed.
            self.direct[fh] = reads_directly(pid, ino) is not False
        while True:
            try:
                return await self.filesystem.read(fh, off, size)  # type: ignore[return-value] # pyfuse3 takes any buffer
            except Unwanted:
                # The kernel asks again for what it read ahead; a program that reads past its cache would see the error.
                if not self._may_read_directly(fh, ino, pid):
                    leftovers.refused(ino, off, size)
                    raise

    def _may_read_directly(self, fh: int, ino: int, pid: int) -> bool:
        if not self.direct.get(fh, False):
            directly = reads_directly(pid, ino)
            # Where it is not shown any more, it is just being closed.
            self.direct[fh] = fh not in self.direct if directly is None else directly
        return self.direct[fh]

    @handler
    async def write(self, fh: FileHandleT, off: int, buf: bytes) -> int:
        return await self.filesystem.write(fh, off, buf)

    @handler
    async def flush(self, fh: FileHandleT) -> None:
        await self.filesystem.flush(fh)

    @at_once
    def fsync(self, fh: FileHandleT, datasync: bool) -> None:
        # Requests live in memory until close() submits them: there is nothing to sync.
        pass

    @handler
    async def release(self, fh: FileHandleT) -> None:
        ino, _ = self.opened.pop(fh, (0, 0))
        self.direct.pop(fh, None)
        if self.leftovers and all(other != ino for other, _ in self.opened.values()):
            self.leftovers.closed(ino)
        await self.filesystem.release(fh)

    @handler
    async def unlink(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        await self.filesystem.unlink(parent_inode, _text(name))

    @handler
    async def rmdir(self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext) -> None:
        await self.filesystem.rmdir(parent_inode, _text(name))

    @handler
    async def rename(
        self,
        parent_inode_old: InodeT,
        name_old: FileNameT,
        parent_inode_new: InodeT,
        name_new: FileNameT,
        flags: FlagT,
        ctx: RequestContext,
    ) -> None:
        if flags & ~pyfuse3.RENAME_NOREPLACE:
            raise FUSEError(errno.EINVAL)
        if len(name_new) > NAME_MAX:
            raise FUSEError(errno.ENAMETOOLONG)
        old, new = _text(name_old), _text(name_new)
        replace = not flags & pyfuse3.RENAME_NOREPLACE
        await self.filesystem.rename(parent_inode_old, old, parent_inode_new, new, replace=replace)

    @at_once
    def mkdir(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, ctx: RequestContext
    ) -> EntryAttributes:
        self.filesystem.refuse_creation()

    @at_once
    def mknod(
        self, parent_inode: InodeT, name: FileNameT, mode: ModeT, rdev: int, ctx: RequestContext
    ) -> EntryAttributes:
        self.filesystem.refuse_creation()

    @at_once
    def symlink(
        self, parent_inode: InodeT, name: FileNameT, target: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        self.filesystem.refuse_creation()

    @at_once
    def link(
        self, inode: InodeT, new_parent_inode: InodeT, new_name: FileNameT, ctx: RequestContext
    ) -> EntryAttributes:
        self.filesystem.refuse_creation()

    @at_once
    def getxattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> bytes:
        if name in ACLS and expects_acls(ctx.pid):
            raise NoAttribute("no ACL")
        return self.filesystem.xattr(inode, _text(name))

    @at_once
    def listxattr(self, inode: InodeT, ctx: RequestContext) -> Sequence[XAttrNameT]:
        return [XAttrNameT(encode(name)) for name in self.filesystem.xattrs(inode)]

    @at_once
    def setxattr(self, inode: InodeT, name: XAttrNameT, value: bytes, ctx: RequestContext) -> None:
        self.filesystem.set_xattr(inode, _text(name), value)

    @at_once
    def removexattr(self, inode: InodeT, name: XAttrNameT, ctx: RequestContext) -> None:
        self.filesystem.remove_xattr(inode, _text(name))

    @at_once
    def statfs(self, ctx: RequestContext) -> StatvfsData:
        space = self.filesystem.space()
        data = StatvfsData()
        data.f_bsize = data.f_frsize = FRAGMENT
        data.f_blocks = (space.used + space.free) // FRAGMENT
        data.f_bfree = data.f_bavail = space.free // FRAGMENT
        data.f_files = space.files + space.free_files
        data.f_ffree = data.f_favail = space.free_files
        data.f_namemax = NAME_MAX
        return data

    def _entry(self, node: Node, pid: int) -> EntryAttributes:
        """What lookup answers: from now on the kernel knows the node."""
        attributes = self._attributes_of(node, pid)
        self.filesystem.looked_up(node)
        return attributes

    def _attributes_of(self, node: Node, pid: int) -> EntryAttributes:
        entry = self._attributes(node.attributes_for(pid))
        entry.generation = node.generation
        return entry

    def _attributes(self, attributes: Attributes) -> EntryAttributes:
        entry = EntryAttributes()
        entry.st_ino = InodeT(attributes.ino)
        mode = attributes.mode
        # What programs wrote keeps the mode they gave it, and the mode of a link means nothing.
        masked = 0 if attributes.own_mode or stat.S_ISLNK(mode) else self.owner.umask & 0o777
        entry.st_mode = ModeT(mode & ~masked)
        entry.st_nlink = attributes.nlink
        entry.st_uid = self.owner.uid if attributes.uid is None else attributes.uid
        entry.st_gid = self.owner.gid if attributes.gid is None else attributes.gid
        entry.st_size = attributes.size
        entry.st_blocks = attributes.blocks
        entry.st_blksize = attributes.block_size
        entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = attributes.mtime_ns
        if attributes.ctime_ns is not None:
            entry.st_ctime_ns = attributes.ctime_ns
        entry.entry_timeout = entry.attr_timeout = attributes.cache_timeout
        return entry


def _text(name: bytes) -> str:
    # Not os.fsdecode: the mount's names are UTF-8 whatever the locale of who mounted.
    return name.decode("utf-8", "surrogateescape")


def _name(text: str) -> FileNameT:
    return FileNameT(encode(text))


def _info(fh: int, opening: Opening) -> FileInfo:
    return FileInfo(fh=FileHandleT(fh), direct_io=opening.direct_io, keep_cache=opening.keep_cache)
