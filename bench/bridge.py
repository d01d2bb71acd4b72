"""The smallest mount that can seek: pyfuse3, one thread, one `DownloadFile` call for each read, nothing kept and
nothing checked. No Python mount over gRPC answers a seek sooner, so it tells our own work from that of the way.

    python -m bench.bridge DIRECTORY MOUNTPOINT PORT [CA_FILE NAME]
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyfuse3
import trio
from pyfuse3 import FileHandleT, FlagT, InodeT, RequestContext

from bench.bare import SMALL_WINDOW, Client
from bench.content import KIB
from bench.trivialfs import TrivialFS, serve

BLOCK = 32 * KIB  # as ours asks for in a seek


class Bridge(TrivialFS):
    def __init__(self, directory: Path, port: int, tls: list[str]) -> None:
        super().__init__(directory)
        self.client = Client(f"127.0.0.1:{port}", [*SMALL_WINDOW, ("SingleThreadedUnaryStream", 1)], tls=tls)
        self.threads = ThreadPoolExecutor(8)

    async def open(self, inode: InodeT, flags: FlagT, ctx: RequestContext) -> pyfuse3.FileInfo:
        return pyfuse3.FileInfo(fh=FileHandleT(inode), keep_cache=False)

    async def read(self, fh: FileHandleT, off: int, size: int) -> bytes:
        content = self.content(InodeT(fh))
        length = min(size, content.size - off)
        index, skip = divmod(off, BLOCK)
        token, done = trio.lowlevel.current_trio_token(), trio.Event()
        parts: list[bytes | memoryview] = []

        def take() -> None:
            have = 0
            blocks = self.client.blocks(content.path.name, BLOCK, index)
            for data in blocks:
                parts.append(data)
                have += len(data)
                if have >= skip + length:
                    break
            token.run_sync_soon(done.set)
            blocks.close()  # cancels, while trio wakes up

        self.threads.submit(take)
        await done.wait()
        return b"".join(parts)[skip : skip + length]


def main() -> None:
    filesystem = Bridge(Path(sys.argv[1]), int(sys.argv[3]), sys.argv[4:])
    pyfuse3.init(filesystem, sys.argv[2], set(pyfuse3.default_options) | {"fsname=bench-bridge", "ro"})
    try:
        trio.run(serve, filesystem)
    finally:
        pyfuse3.close()


if __name__ == "__main__":
    main()
