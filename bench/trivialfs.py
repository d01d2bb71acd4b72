"""The smallest pyfuse3 filesystem that serves a directory's files from memory: the ceiling for ours.

python -m bench.trivialfs DIRECTORY MOUNTPOINT
"""

import os
import stat
import sys
from pathlib import Path

import pyfuse3
import trio
from pyfuse3 import FileHandleT, FileNameT, FlagT, InodeT, ReaddirToken, RequestContext

from bench.content import Content

NEVER = 3600.0


class TrivialFS(pyfuse3.Operations):
    def __init__(self, directory: Path) -> None:
        super().__init__()
        self.files = [Content(path) for path in sorted(directory.iterdir())]
        self.views = [memoryview(content.map) for content in self.files]
        self.inodes = {
            FileNameT(os.fsencode(content.path.name)): InodeT(number)
            for number, content in enumerate(self.files, pyfuse3.ROOT_INODE + 1)
        }
        self.sizes: dict[int, int] = {}  # reads by size: what the kernel really asks for

    def content(self, inode: InodeT) -> Content:
        return self.files[inode - pyfuse3.ROOT_INODE - 1]

    def attributes(self, inode: InodeT) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino = inode
        entry.st_uid, entry.st_gid = os.getuid(), os.getgid()
        entry.entry_timeout = entry.attr_timeout = NEVER
        if inode == pyfuse3.ROOT_INODE:
            entry.st_mode, entry.st_nlink = stat.S_IFDIR | 0o555, 2
        else:
            entry.st_mode, entry.st_nlink = stat.S_IFREG | 0o444, 1
            entry.st_size = self.content(inode).size
        return entry

    async def getattr(self, inode: InodeT, ctx: RequestContext) -> pyfuse3.EntryAttributes:
        return self.attributes(inode)

    async def lookup(
        self, parent_inode: InodeT, name: FileNameT, ctx: RequestContext
    ) -> pyfuse3.EntryAttributes:
        if name not in self.inodes:
            raise pyfuse3.FUSEError(2)
        return self.attributes(self.inodes[name])

    async def opendir(self, inode: InodeT, ctx: RequestContext) -> FileHandleT:
        return FileHandleT(inode)

    async def readdir(self, fh: FileHandleT, start_id: int, token: ReaddirToken) -> None:
        for name, inode in list(self.inodes.items())[start_id:]:
            if not pyfuse3.readdir_reply(token, name, self.attributes(inode), inode - pyfuse3.ROOT_INODE):
                break

    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> pyfuse3.FileInfo:
        return pyfuse3.FileInfo(fh=FileHandleT(inode), keep_cache=True)

    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        self.sizes[size] = self.sizes.get(size, 0) + 1
        view = self.views[fh - pyfuse3.ROOT_INODE - 1]
        return view[off : off + size]  # type: ignore[return-value] # pyfuse3 takes any buffer


async def serve(filesystem: TrivialFS) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pyfuse3.main)


def main() -> None:
    filesystem = TrivialFS(Path(sys.argv[1]))
    options = set(pyfuse3.default_options) | {"fsname=bench-trivial", "ro"}
    pyfuse3.init(filesystem, sys.argv[2], options)
    try:
        trio.run(serve, filesystem)
    finally:
        pyfuse3.close()
        print(dict(sorted(filesystem.sizes.items())), file=sys.stderr)


if __name__ == "__main__":
    main()
