"""A source of computed content for `exportfs.content`, on trio's clock: what can go wrong with a download does."""

import contextlib
import random
import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from exportfs.content.download import FileKey
from exportfs.content.library import Library
from exportfs.content.line import Line
from exportfs.content.source import Sink
from exportfs.errors import (
    Corrupt,
    Exhausted,
    ExportfsError,
    Interrupted,
    InvalidArgument,
    Unauthenticated,
    Unreachable,
)
from exportfs.model import Fetch

PERIOD = 1048573
"""Bytes after which content repeats. A prime: no two blocks of a file are alike until it has been through them all."""
_TWICE = random.Random(20109).randbytes(PERIOD) * 2


def content(file_id: str, offset: int, length: int) -> bytes:
    """Computed from the offset: any read can be checked without keeping the file."""
    start = (offset + zlib.crc32(file_id.encode())) % PERIOD
    if length <= PERIOD:
        return _TWICE[start : start + length]
    return (_TWICE * (length // len(_TWICE) + 2))[start : start + length]


ERRORS = (Unreachable, Interrupted, Exhausted, Unauthenticated, Corrupt)
SPOILT = ("short", "long", "skip", "twice", "index", "swap", "overrun")
"""Words for a block that is not what it should be; `overrun`: a kilobyte comes beyond the end."""
KINDS = ("error", "end", "stall", "slow", *SPOILT)


@dataclass(frozen=True)
class Trouble:
    """What happens to one download: `kind`, at its block number `block`; `slow` holds for all of it."""

    kind: str
    block: int = 0
    error: type[ExportfsError] = Interrupted

    def at(self, block: int) -> "ExportfsError | str | None":
        """As a `Fault` says it."""
        if block != self.block and self.kind not in ("slow", "overrun"):
            return None
        return self.error("a fault") if self.kind == "error" else self.kind


Fault = Callable[["FakeDownload", int], "ExportfsError | str | None"]
"""Asked before each block: an error ends the download, a word of KINDS or `from zero` spoils it."""


class FakeDownload:
    """One running download, as a task of the nursery."""

    def __init__(self, source: "FakeSource", fetch: Fetch, sink: Sink, trouble: Trouble | None) -> None:
        self.source = source
        self.fetch = fetch
        self.sink = sink
        self.trouble = trouble
        self.until = fetch.until
        self.scope = trio.CancelScope()
        self.changed = trio.Event()
        self.sent = 0
        self.over = False
        self._size = source.sizes[fetch.file_id]
        source.running += 1
        source.most_running = max(source.most_running, source.running)

    def allow(self, until: int) -> None:
        self.until = max(self.until, until)
        self.changed.set()

    def cancel(self) -> None:
        self.scope.cancel()
        self._end()

    def window(self, amount: int) -> None:
        """What is allowed comes at its own pace here."""
        self.source.windows.append(amount)

    def suspect(self) -> None:
        self.source.suspected += 1

    async def run(self) -> None:
        with self.scope:
            async with self.source.places or contextlib.nullcontext():
                error = await self._send()
            if not self.over:
                self.sink.ended(error)
        self._end()

    def _end(self) -> None:
        if not self.over:
            self.over = True
            self.source.running -= 1

    async def _send(self) -> ExportfsError | None:
        """Gives how it ends."""
        source, block = self.source, self.fetch.chunk_size
        if source.at_most is not None and source.running > source.at_most:
            return Exhausted("RESOURCE_EXHAUSTED")
        if source.refused is not None and block > source.refused:
            return InvalidArgument("chunk_size_kb is too large")
        await trio.sleep(source.round_trip)
        if source.largest is not None and block > source.largest:
            return await self._send_other(source.largest)
        if source.smallest is not None and block < source.smallest:
            return await self._send_other(source.smallest)
        index, overrun = self.fetch.first, False
        while index * block < self._size:
            if not await self._allowed(index):
                return None
            fault = source.fault(self, index) if source.fault else None
            if fault is None and self.trouble is not None:
                fault = self.trouble.at(index - self.fetch.first)
            if fault == "stall":
                await trio.sleep_forever()
            await trio.sleep(self._seconds(index, slow=fault == "slow"))
            if isinstance(fault, ExportfsError):
                return fault
            if fault == "end":
                return None
            overrun = overrun or fault == "overrun"
            index = self._send_block(index, fault)
        # Told even where it may stop: nothing is left to allow.
        if not overrun:
            while index >= self.until:
                await self._change()
            await trio.sleep(source.delay)
        if overrun:
            self.sink.block(index, memoryview(bytes(1024)))
        elif source.empty_end and self._size % block == 0:
            self.sink.block(index, memoryview(b""))
        return None

    async def _allowed(self, index: int) -> bool:
        """Whether this block may be sent; else it is over."""
        while index >= self.until:
            if self.fetch.stop:
                return False
            await self._change()
        return True

    async def _change(self) -> None:
        self.changed = trio.Event()
        await self.changed.wait()

    def _seconds(self, index: int, *, slow: bool) -> float:
        """That the block takes on the line."""
        if self.source.rate is not None:
            return len(self._data(index)) * self.source.running / self.source.rate
        return 1.0 if slow else self.source.delay

    def _data(self, index: int) -> bytes:
        start, block = index * self.fetch.chunk_size, self.fetch.chunk_size
        return content(self.fetch.file_id, start, max(0, min(block, self._size - start)))

    def _send_block(self, index: int, fault: str | None) -> int:
        """One, or what the word makes of it. Gives the next one's index."""
        data = self._data(index)
        blocks = {
            "short": [(index, data[:-1])],
            "long": [(index, data + b"x")],
            "skip": [],
            "twice": [(index, data), (index, data)],
            "index": [(index + 1, data)],
            "swap": [(index + 1, self._data(index + 1)), (index, data)],
            "from zero": [(index - self.fetch.first, data)],
        }.get(fault or "", [(index, data)])
        if fault == "swap" and not blocks[0][1]:
            del blocks[0]  # the last one has no other to change places with
        for number, part in blocks:
            self.sent += len(part)
            self.source.sent += len(part)
            self.sink.block(number, memoryview(part))
        return index + (len(blocks) if fault == "swap" else 1)

    async def _send_other(self, block: int) -> ExportfsError | None:
        """As a server that goes by its own size of a block, also for the place to begin."""
        for index in range(self.fetch.first, -(-self._size // block)):
            await trio.sleep(self.source.delay)
            data = content(self.fetch.file_id, index * block, min(block, self._size - index * block))
            self.sink.block(index, memoryview(data))
        return None


def fast_line() -> Line:
    """One that is known to be fast and near."""
    line = Line()
    line.round_trip_took(0.0002)
    line.granted(0.0, 4 << 20)
    line.arrived(0.01, 4 << 20)
    assert line.fast
    return line


@dataclass
class FakeSource:
    """Serves files of these sizes, in bytes."""

    nursery: trio.Nursery
    sizes: dict[str, int]
    delay: float = 0.001
    """Seconds that each block takes."""
    fault: Fault | None = None
    troubles: deque[Trouble] = field(default_factory=deque)
    """Each happens to one download, in order."""
    always: Trouble | None = None
    """Happens to downloads for which there is no other."""
    rate: float | None = None
    """Bytes a second of the line, shared by all downloads; None: `delay` for each block."""
    round_trip: float = 0.0
    """Seconds before the first block."""
    fast: bool = True
    """Whether wide streams are known to pay from the start; else the line is as unknown as that of a new mount."""
    largest: int | None = None
    """Blocks are cut to so many bytes, whatever was asked for."""
    smallest: int | None = None
    """Blocks have so many bytes at least, whatever was asked for."""
    refused: int | None = None
    """Blocks above so many bytes are refused."""
    empty_end: bool = False
    """Whether a file that is a multiple of the block size ends with an empty block."""
    at_most: int | None = None
    """Downloads served at once."""
    places: trio.Semaphore | None = None
    """What a download needs while it is served; others wait for one."""
    called_at: float | None = None
    """When a call was made that has no answer yet."""
    mend_fails: int = 0
    """How often the next logins fail."""
    fetches: list[Fetch] = field(default_factory=list)
    sent: int = 0
    running: int = 0
    most_running: int = 0
    suspected: int = 0
    windows: list[int] = field(default_factory=list)
    mended: list[ExportfsError] = field(default_factory=list)

    def start(self, fetch: Fetch, sink: Sink) -> FakeDownload:
        self.fetches.append(fetch)
        download = FakeDownload(self, fetch, sink, self.troubles.popleft() if self.troubles else self.always)
        self.nursery.start_soon(download.run)
        return download

    async def mend(self, error: ExportfsError) -> None:
        self.mended.append(error)
        if isinstance(error, Unauthenticated) and self.mend_fails > 0:
            self.mend_fails -= 1
            raise Unreachable("no login server")
        await trio.lowlevel.checkpoint()

    def unanswered_since(self) -> float | None:
        return self.called_at

    def library(
        self, *, cache_size: int = 256 << 20, max_downloads: int = 4, timeout: float = 30.0
    ) -> Library:
        line = fast_line() if self.fast else Line()
        return Library(
            self, self, line=line, cache_size=cache_size, max_downloads=max_downloads, timeout=timeout
        )

    def key(self, file_id: str) -> FileKey:
        return FileKey("session", file_id, self.sizes[file_id])
