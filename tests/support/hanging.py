"""A filesystem that hangs, as a home directory on NFS does whose server has gone: in memory, served by a process of its
own that can be stopped. What is asked of it meanwhile waits until it goes on."""

import errno
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyfuse3
import trio

from tests.support.harness import eventually


class HangingFolder:
    """Mounted at `place` from the beginning to `close`."""

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir(parents=True)
        self._process = subprocess.Popen([sys.executable, "-m", __name__, str(place)])
        eventually(lambda: place.is_mount() or self._process.poll() is not None)
        assert place.is_mount()

    def hang(self) -> None:
        self._process.send_signal(signal.SIGSTOP)
        # Once it is stopped nothing is answered any more, also what was asked for before.
        status = Path(f"/proc/{self._process.pid}/status")
        eventually(lambda: "State:\tT" in status.read_text())

    def go_on(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self.place)], check=False)
        self._process.kill()
        self._process.wait()


class _InMemory(pyfuse3.Operations):
    """As much of a filesystem as a journal needs. A handle is the inode's number."""

    def __init__(self) -> None:
        super().__init__()
        self.modes = {pyfuse3.ROOT_INODE: stat.S_IFDIR | 0o755}
        self.data: dict[int, bytearray] = {pyfuse3.ROOT_INODE: bytearray()}
        self.names: dict[tuple[int, bytes], int] = {}

    def _add(self, parent: int, name: bytes, mode: int) -> int:
        inode = max(self.modes) + 1
        self.modes[inode], self.data[inode], self.names[parent, name] = mode, bytearray(), inode
        return inode

    async def getattr(self, inode: int, ctx: Any = None) -> pyfuse3.EntryAttributes:
        entry = pyfuse3.EntryAttributes()
        entry.st_ino, entry.st_mode = inode, self.modes[inode]
        entry.st_uid, entry.st_gid, entry.st_nlink = os.getuid(), os.getgid(), 1
        entry.st_size = len(self.data[inode])
        # Nothing is remembered: each look is a call.
        entry.attr_timeout = entry.entry_timeout = 0
        return entry

    async def lookup(self, parent_inode: int, name: bytes, ctx: Any = None) -> pyfuse3.EntryAttributes:
        if (parent_inode, name) not in self.names:
            raise pyfuse3.FUSEError(errno.ENOENT)
        return await self.getattr(self.names[parent_inode, name])

    async def setattr(self, inode: int, attr: Any, fields: Any, fh: Any, ctx: Any) -> pyfuse3.EntryAttributes:
        if fields.update_size:
            self.data[inode][attr.st_size :] = b""
        return await self.getattr(inode)

    async def mkdir(self, parent_inode: int, name: bytes, mode: int, ctx: Any) -> pyfuse3.EntryAttributes:
        return await self.getattr(self._add(parent_inode, name, stat.S_IFDIR | mode))

    async def create(self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: Any) -> Any:
        inode = self._add(parent_inode, name, stat.S_IFREG | mode)
        return pyfuse3.FileInfo(fh=inode), await self.getattr(inode)

    async def open(self, inode: int, flags: int, ctx: Any) -> pyfuse3.FileInfo:
        return pyfuse3.FileInfo(fh=inode)

    async def read(self, fh: int, off: int, size: int) -> bytes:
        return bytes(self.data[fh][off : off + size])

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        self.data[fh][off : off + len(buf)] = buf
        return len(buf)

    async def fsync(self, fh: int, datasync: bool) -> None:
        pass

    async def flush(self, fh: int) -> None:
        pass

    async def release(self, fh: int) -> None:
        pass

    async def rename(self, old_parent: int, old: bytes, new_parent: int, new: bytes, *_: Any) -> None:
        self.names[new_parent, new] = self.names.pop((old_parent, old))

    async def unlink(self, parent_inode: int, name: bytes, ctx: Any) -> None:
        del self.names[parent_inode, name]


def _serve(place: str) -> None:
    pyfuse3.init(_InMemory(), place, {"fsname=hanging", *pyfuse3.default_options})
    trio.run(pyfuse3.main)


if __name__ == "__main__":
    _serve(sys.argv[1])
