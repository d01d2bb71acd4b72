"""A server behind a line of which rate, round trip and bursts are known, and a kernel that reads ahead as Linux does:
all on trio's clock, so that what a reader would feel on such a line comes out the same each time.

Real in it are `exportfs.content` and `exportfs.rpc.exact`; HTTP/2's frames, the line and the kernel are modelled.
"""

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import trio

from exportfs.config import KIB, MIB
from exportfs.content.download import FileKey
from exportfs.content.library import Library
from exportfs.content.line import Line
from exportfs.content.reader import Reader
from exportfs.content.source import Sink
from exportfs.errors import ExportfsError, Unwanted
from exportfs.model import Fetch
from exportfs.rpc.exact import ExactDownload
from exportfs.rpc.http2_client import WINDOW
from exportfs.rpc.wire_format import message
from tests.support.fake_source import content

PAGE = 4 * KIB
FRAME = 16 * KIB
WIDE = 4 * MIB
PACKET, PACKETS = 1448, 1514 / 1448
"""Bytes of data in a packet, and on an Ethernet for each byte of data."""


class Stream:
    """One call as the server has it: what it has to say, and how much of it it may."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._index = fetch.first
        self._ready = bytearray()
        self.window = WINDOW
        self.begun = False
        self.ended = False

    def take(self) -> bytes:
        """The next frame that may be sent; empty where there is none."""
        fetch = self._fetch
        while len(self._ready) < FRAME and self._index * fetch.chunk_size < fetch.size:
            start = self._index * fetch.chunk_size
            data = content(fetch.file_id, start, min(fetch.chunk_size, fetch.size - start))
            wrapped = message((1, self._index), (2, data))
            self._ready += b"\0" + len(wrapped).to_bytes(4, "big") + wrapped
            self._index += 1
        frame = bytes(self._ready[: min(FRAME, self.window)])
        del self._ready[: len(frame)]
        self.window -= len(frame)
        self.ended = not self._ready and self._index * fetch.chunk_size >= fetch.size
        return frame


@dataclass
class ModelledLine:
    """Also what `exportfs.content` takes for its source of downloads.

    rate in bytes a second, round_trip and think (before a call's first byte) in seconds, burst in bytes that pass at
    once after a pause. late: given a time, when the mount's thread really gets to what arrives then.
    """

    nursery: trio.Nursery
    sizes: dict[str, int]
    rate: float
    round_trip: float = 0.0002
    burst: int = 16 * KIB
    think: float = 0.001
    late: Callable[[float], float] = lambda moment: moment
    line: Line = field(default_factory=Line)
    carried: float = 0.0
    """Bytes, headers included."""
    usable: bool = True
    ready: bool = True

    def __post_init__(self) -> None:
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._woken = trio.Event()
        self._numbers = itertools.count(1, 2)
        self._streams: dict[int, tuple[Stream, ExactDownload]] = {}
        self._free_at = -math.inf
        self._taken_at = 0.0
        self.line.round_trip_took(self.round_trip)
        self.library = Library(self, self, line=self.line, cache_size=256 * MIB, max_downloads=4, timeout=30)
        self.nursery.start_soon(self.library.reap)
        self.nursery.start_soon(self._run)

    def open(self, file_id: str) -> "KernelFile":
        """As a program would open it through the kernel."""
        reader = self.library.open(FileKey("session", file_id, self.sizes[file_id]))
        return KernelFile(self.nursery, reader, self.line.kernel_ahead)

    # --- As a source ---

    def start(self, fetch: Fetch, sink: Sink) -> ExactDownload:
        download = ExactDownload(self, fetch, sink)  # type: ignore[arg-type] # the part of it that this is
        if fetch.wide:  # it knows nothing of the line, and has gRPC's window
            download._line = Line()
            download.window(WIDE)
        stream, number = Stream(fetch), next(self._numbers)
        self._streams[number] = stream, download

        def begin() -> None:
            stream.begun = True
            self._send(number)

        self._at(trio.current_time() + self.round_trip / 2 + self.think, begin)
        download.opened(number)
        return download

    def unanswered_since(self) -> float | None:
        return None

    async def mend(self, error: ExportfsError) -> None:
        await trio.lowlevel.checkpoint()

    # --- As a connection ---

    def window(self, number: int, amount: int) -> None:
        def widen() -> None:
            if number in self._streams:
                self._streams[number][0].window += amount
                self._send(number)

        self._at(trio.current_time() + self.round_trip / 2, widen)

    def cancel(self, download: ExactDownload, number: int) -> None:
        def end() -> None:
            self._streams.pop(number, None)

        self._at(trio.current_time() + self.round_trip / 2, end)

    def suspect(self) -> None:
        pass

    def close(self) -> None:
        raise AssertionError("nothing stalls here")

    # --- The line ---

    def _send(self, number: int) -> None:
        if number not in self._streams:
            return
        stream, download = self._streams[number]
        if not stream.begun:
            return
        now = trio.current_time()
        while frame := stream.take():
            amount = len(frame) * PACKETS
            self.carried += amount
            begins = max(self._free_at, now - self.burst / self.rate)
            self._free_at = begins + amount / self.rate
            arrives = max(now, self._free_at) + self.round_trip / 2
            # As long as nothing is known of the line, in the pieces in which it comes; later in larger ones.
            together: dict[float, int] = {}
            for end in range(PACKET, len(frame), PACKET) if self.line.rate is None else ():
                comes = max(now, begins + end * PACKETS / self.rate) + self.round_trip / 2
                together[max(self._taken_at, self.late(comes))] = end
            self._taken_at = max(self._taken_at, self.late(arrives))
            together[self._taken_at] = len(frame)
            for (comes, end), begin in zip(together.items(), [0, *together.values()], strict=False):
                self._at(comes, partial(self._comes, download, memoryview(frame)[begin:end]))
        if stream.ended:
            del self._streams[number]
            self._at(max(self._taken_at, now), lambda: download.ended(None))

    def _comes(self, download: ExactDownload, data: memoryview) -> None:
        if self.line.rate is None:
            self.line.received(trio.current_time(), len(data))
        download.data(data)

    def _at(self, moment: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (moment, next(self._order), action))
        self._woken.set()

    async def _run(self) -> None:
        while True:
            self._woken = trio.Event()
            with trio.move_on_at(self._events[0][0] if self._events else float("inf")):
                await self._woken.wait()
            while self._events and self._events[0][0] <= trio.current_time():
                heapq.heappop(self._events)[2]()


class KernelFile:
    """An open file with the kernel's page cache and its read-ahead, as mm/readahead.c of Linux 6 does it. Bytes are
    compared. ahead: bytes of read-ahead, as set when it is opened."""

    def __init__(self, nursery: trio.Nursery, reader: Reader, ahead: int) -> None:
        self._nursery = nursery
        self.reader = reader
        self._ahead = ahead // PAGE
        self._pages: dict[int, trio.Event] = {}
        self._marked: set[int] = set()
        self._start = self._size = self._async = 0
        self._last = -1
        self._end = -(-reader.key.size // PAGE)
        self.requests: list[tuple[int, int]] = []
        self.in_vain = 0
        """Pages of refused requests that somebody waited for."""

    async def read(self, offset: int, length: int) -> float:
        """Gives the seconds that a program has waited for it."""
        begun = trio.current_time()
        last = min(-(-(offset + length) // PAGE), self._end)
        page = offset // PAGE
        while page < last:
            if page not in self._pages:
                self._miss(page, last - page)
            if page in self._marked:
                self._marked.discard(page)
                self._go_on(last - offset // PAGE)
            here = self._pages[page]
            await here.wait()
            if self._pages.get(page) is here:
                page += 1
            elif page not in self._pages:
                self.in_vain += 1
                await self._fetch_alone(page)
        self._last = last - 1
        return trio.current_time() - begun

    def _miss(self, page: int, count: int) -> None:
        most = max(self._ahead, min(count, 32))
        if page == 0 or count > most or page - self._last in (0, 1):
            self._start, self._size = page, self._first(count, most)
            self._async = self._size - count if self._size > count else self._size // 2
            self._submit()
            return
        before = page
        while before - 1 in self._pages and page - before < most:
            before -= 1
        if page - before <= count:
            self._request(page, count)
            return
        self._start, self._size, self._async = page, min(page - before + count, most), 1
        self._submit()

    def _go_on(self, count: int) -> None:
        most = max(self._ahead, min(count, 32))
        self._start += self._size
        grown = self._size * 4 if self._size < most // 16 else self._size * 2
        self._size = self._async = min(grown, most)
        self._submit()

    @staticmethod
    def _first(count: int, most: int) -> int:
        size = 1 << (count - 1).bit_length()
        return int(size * 4 if size <= most // 32 else size * 2 if size <= most // 4 else most)

    def _submit(self) -> None:
        self._marked.add(self._start + self._size - self._async)
        self._request(self._start, self._size)

    def _request(self, page: int, count: int) -> None:
        wanted = [one for one in range(page, min(page + count, self._end)) if one not in self._pages]
        for _, group in itertools.groupby(enumerate(wanted), lambda pair: pair[1] - pair[0]):
            pages = [one for _, one in group]
            for one in pages:
                self._pages[one] = trio.Event()
            self.requests.append((pages[0] * PAGE, len(pages) * PAGE))
            self._nursery.start_soon(self._fetch, pages)

    async def _fetch_alone(self, page: int) -> None:
        """For who waits for a page of a request that failed. What is raised here, programs see."""
        self._pages[page] = trio.Event()
        offset, key = page * PAGE, self.reader.key
        data = await self.reader.read(offset, PAGE)
        assert bytes(data) == content(key.file_id, offset, min(PAGE, key.size - offset))
        self._pages[page].set()

    async def _fetch(self, pages: list[int]) -> None:
        offset, length = pages[0] * PAGE, len(pages) * PAGE
        try:
            data = await self.reader.read(offset, length)
        except Unwanted:  # the mount has them dropped
            for page in pages:
                self._pages.pop(page).set()
            return
        key = self.reader.key
        assert bytes(data) == content(key.file_id, offset, min(length, key.size - offset))
        for page in pages:
            self._pages[page].set()
