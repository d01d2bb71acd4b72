"""What glibc does with the memory of a mount: `python -m tests.support.allocations CACHE` goes a mount's way up to
where it would begin, takes and frees memory there as a mount does, and tells in JSON where that came from and what of
it stayed."""

import ctypes
import json
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import exportfs
from exportfs.cli.commands import mount
from exportfs.config import KIB, MIB, MountConfig, ServerConfig
from exportfs.memory import Watch, resident

THREADS = 6
PIECE, PIECES = 64 * KIB, 384
"""Bytes of one, and how many: 24 MiB."""
BLOCKS = 64
BLOCK, BUFFER = MIB + 64, MIB + 4 * KIB
"""Bytes of a block of 1 MiB as Python has it, and of pyfuse3's buffer for a request."""


@dataclass(frozen=True)
class Told:
    one_place: bool
    """Whether what threads take at the same time all comes from the heap."""
    blocks_from_heap: bool
    buffers_apart: bool
    kept: int
    """Bytes that are still in memory of 24 MiB at the heap's end that were taken and freed."""
    huge: int
    """Bytes of 64 MiB of blocks that lie where huge pages were asked for."""


def tell(libc: ctypes.CDLL, watch: Watch) -> Told:
    libc.malloc.argtypes, libc.malloc.restype = [ctypes.c_size_t], ctypes.c_void_p
    places: list[bool] = []
    together = threading.Barrier(THREADS)

    def take() -> None:
        together.wait()
        places.append(_in_heap(libc.malloc(PIECE)))
        together.wait()  # what a thread had is the next one's as soon as it ends

    threads = [threading.Thread(target=take) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    apart, block = not _in_heap(libc.malloc(BUFFER)), _in_heap(libc.malloc(BLOCK))
    before = resident()
    pieces = [b"x" * PIECE for _ in range(PIECES)]
    assert resident() - before > PIECE * PIECES * 3 // 4
    pieces.clear()
    kept = resident() - before
    return Told(len(places) == THREADS and all(places), block, apart, kept, _huge(libc, watch))


def _huge(libc: ctypes.CDLL, watch: Watch) -> int:
    blocks = list[int]()
    for _ in range(BLOCKS):
        blocks.append(libc.malloc(BLOCK))
        watch.received(BLOCK)
    asked = list[range]()
    for line in Path("/proc/self/smaps").read_text().splitlines():
        first, *rest = line.split()
        if "-" in first:
            begin, end = (int(text, 16) for text in first.split("-"))
        elif first == "VmFlags:" and "hg" in rest:
            asked.append(range(begin, end))
    return BLOCK * sum(any(block in place for place in asked) for block in blocks)


def _in_heap(address: int) -> bool:
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith("[heap]"):
            begin, end = (int(text, 16) for text in line.split()[0].split("-"))
            if begin <= address < end:
                return True
    return False


def main() -> None:
    told: list[Told] = []

    def run(config: MountConfig, usable: Callable[[], None], **others: Any) -> None:
        told.append(tell(ctypes.CDLL(None), Watch(config.cache_size)))

    # The mount itself, in whose place this stands, is imported only then.
    vars(exportfs)["app"] = SimpleNamespace(run=run)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        server = ServerConfig("localhost")
        config = MountConfig(server, place, cache_size=int(sys.argv[1]), log_file=place / "mount.log")
        mount.serve(config, lambda: None)
    print(json.dumps(asdict(told[0])))


if __name__ == "__main__":
    main()
