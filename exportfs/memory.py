"""The memory of this process, as far as glibc can be told: where it comes from, and that what is free goes back before
the process has more than was promised. With another C library all of it does nothing.

Blocks of 1 MiB and the pieces of 64 KiB in which gRPC receives them come from one heap, where each leaves gaps that do
not fit the other: with a cache of 16 MiB and eight readers 20 to 48 MiB of the heap were free and in memory all the
same. glibc gives back the end of the heap by itself, gaps only when it is asked.

Of what blocks lie in each page of 4 KiB costs the processor a look into the kernel's tables, of which a virtual machine
has two; huge pages are 2 MiB.
"""

import contextlib
import ctypes
import mmap
from collections.abc import Callable

from exportfs.config import KIB, MIB

M_ARENA_MAX, M_MMAP_THRESHOLD, M_TOP_PAD, M_TRIM_THRESHOLD = -8, -3, -2, -1
"""Of mallopt(3)."""
APART = MIB + 2 * KIB
"""Bytes from which on memory is not taken from the heap's end but apart. pyfuse3's buffers for requests (1 MiB and
4 KiB, of which but a page is ever used, for each of a dozen reads that wait) stay untouched there, where a used piece
of the heap is all in memory; a large cache has room for that, too. Blocks of 1 MiB are smaller: for those fresh pages
would cost a third more CPU."""
END_KEPT = (2 * MIB, 32 * MIB)
"""Bytes of free memory at the heap's end that are kept, at least and at most; an eighth of the cache in between. What
goes back is taken again with the next block, at a page fault for each 4 KiB of it, while the interpreter's lock is
held: with 32 MiB `dd` takes an eighth to a fifth less time, and as much less CPU. Small caches have no room for that;
2 MiB are what glibc itself comes to, as long as it is told nothing."""
HUGE_FROM = 32 * MIB
"""Bytes kept at the heap's end from which on there is room for huge pages. Then the heap grows by as much at a time, so
that they can be asked for before it is used, and twice as much goes back only to that. A GiB by `dd` takes 2.5 CPU
seconds in place of 2.9 on slow cores, with a third fewer page faults, and the process 3 MiB more memory."""
HUGE_PAGE = 2 * MIB
BESIDE_CACHE = 72 * MIB
"""Bytes beside the cache from which on free memory goes back. 96 are promised; Python, gRPC and what is under way are
60 to 85. Up to AGAIN and what comes between two looks may be on top."""
LOOK_EVERY = 4 * MIB
"""Bytes received between two looks at how much memory there is, and how long the heap: one takes 10 microseconds."""
AGAIN = 8 * MIB
"""Bytes by which memory has to grow before more is given back: what is taken again costs a page fault for each page."""


def arrange(cache_size: int) -> None:
    """For a mount with a cache of so many bytes. To be called before other threads take memory. All take it from one
    place: a block is allocated in the thread that receives it and freed in the one that answers; with glibc's arenas by
    thread each keeps what it once had, and a GiB costs a third more CPU in page faults (docs/design/reading.md).
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_MMAP_THRESHOLD, APART)
        kept = end_kept(cache_size)
        if kept < HUGE_FROM:
            mallopt(M_TRIM_THRESHOLD, kept)
        else:
            mallopt(M_TRIM_THRESHOLD, 2 * kept)
            mallopt(M_TOP_PAD, kept)


def end_kept(cache_size: int) -> int:
    """Bytes of free memory that stay at the heap's end, with a cache of so many."""
    least, most = END_KEPT
    return min(max(cache_size // 8, least), most)


def resident() -> int:
    """Bytes of this process that are in memory; 0 where that cannot be told."""
    with (
        contextlib.suppress(OSError, ValueError, IndexError),
        open("/proc/self/statm", "rb", buffering=0) as file,
    ):
        return int(file.read(256).split()[1]) * mmap.PAGESIZE
    return 0


def give_back() -> None:
    """What is free goes back to the system."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class HugePages:
    """Huge pages for what the heap grows by, and for the last `unused` bytes of what it has grown by already. Most
    systems give them only to who asks, or never to a heap, which grows by less."""

    def __init__(self, unused: int) -> None:
        self._advise, self._sbrk = _of_the_heap()
        self._end = max(0, self._heap_end() - unused)
        self.ask()

    def ask(self) -> None:
        before, self._end = self._end, self._heap_end()
        if self._end > before > 0:
            begin = before // HUGE_PAGE * HUGE_PAGE
            self._advise(begin, self._end - begin, mmap.MADV_HUGEPAGE)

    def _heap_end(self) -> int:
        return int(self._sbrk(0) or 0)


def _of_the_heap() -> tuple[Callable[[int, int, int], int], Callable[[int], int | None]]:
    """madvise(2), and sbrk(2), which says where the heap ends: always at 0 where they are missing."""
    with contextlib.suppress(OSError, AttributeError):
        libc = ctypes.CDLL(None)
        advise, sbrk = libc.madvise, libc.sbrk
        advise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        sbrk.argtypes, sbrk.restype = [ctypes.c_ssize_t], ctypes.c_void_p
        return advise, sbrk
    return (lambda *_: 0), (lambda _: 0)


class Watch:
    """Has free memory given back when a mount with a cache of `cache_size` bytes has much more than that, and huge
    pages asked for where there is room for them."""

    def __init__(self, cache_size: int) -> None:
        self._limit = self._bound = cache_size + BESIDE_CACHE
        self._received = 0
        kept = end_kept(cache_size)
        self._huge = HugePages(kept) if kept >= HUGE_FROM else None

    def received(self, amount: int) -> None:
        """So many bytes have come, and taken memory."""
        self._received += amount
        if self._received < LOOK_EVERY:
            return
        self._received = 0
        if self._huge is not None:
            self._huge.ask()
        if resident() > self._limit:
            give_back()
            self._limit = max(self._bound, resident() + AGAIN)
