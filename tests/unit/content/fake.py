"""A source of computed content, under trio's clock: every block comes after a delay, and faults can be scripted."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from exportfs.content.download import FileKey
from exportfs.content.library import Library
from exportfs.content.line import Line
from exportfs.content.source import Sink
from exportfs.errors import Exhausted, ExportfsError
from exportfs.model import Fetch

PAGE = 4096


def content(file_id: str, offset: int, length: int) -> bytes:
    """Computed from the offset: any read can be checked without keeping the file."""
    pages = range(offset // PAGE, (offset + length - 1) // PAGE + 1) if length else range(0)
    data = b"".join(hashlib.sha256(f"{file_id}/{page}".encode()).digest() * (PAGE // 32) for page in pages)
    start = offset % PAGE
    return data[start : start + length]


Fault = Callable[["FakeDownload", int], "ExportfsError | str | None"]
"""Asked before each block: an error ends the download, a word spoils the block (`short`, `index`, `from zero`, `twice`,
`stall`, `end`)."""


class FakeDownload:
    """One running download, as a task of the nursery."""

    def __init__(self, source: "FakeSource", fetch: Fetch, sink: Sink) -> None:
        self.source = source
        self.fetch = fetch
        self.sink = sink
        self.until = fetch.until
        self.scope = trio.CancelScope()
        self.changed = trio.Event()
        self.sent = 0
        self.over = False
        source.running += 1
        source.most_running = max(source.most_running, source.running)

    def allow(self, until: int) -> None:
        self.until = max(self.until, until)
        self.changed.set()

    def cancel(self) -> None:
        self.scope.cancel()
        self._end()

    def window(self, amount: int) -> None:
        self.source.windows.append(amount)

    def suspect(self) -> None:
        self.source.suspected += 1

    async def run(self) -> None:
        with self.scope:
            await self._send()
        self._end()

    def _end(self) -> None:
        if not self.over:
            self.over = True
            self.source.running -= 1

    async def _send(self) -> None:
        source, fetch = self.source, self.fetch
        size = source.sizes[fetch.file_id]
        if source.at_most is not None and source.running > source.at_most:
            self.sink.ended(Exhausted("RESOURCE_EXHAUSTED"))
            return
        if source.largest is not None and fetch.chunk_size > source.largest:
            await self._send_other(source.largest, size)
            return
        if source.smallest is not None and fetch.chunk_size < source.smallest:
            await self._send_other(source.smallest, size)
            return
        index = fetch.first
        while index * fetch.chunk_size < size:
            while index >= self.until:
                if fetch.stop:
                    self.sink.ended(None)
                    return
                self.changed = trio.Event()
                await self.changed.wait()
            await trio.sleep(source.delay)
            fault = source.fault(self, index) if source.fault else None
            if isinstance(fault, ExportfsError):
                self.sink.ended(fault)
                return
            if fault == "end":
                self.sink.ended(None)
                return
            if fault == "stall":
                await trio.sleep_forever()
            start = index * fetch.chunk_size
            data = content(fetch.file_id, start, min(fetch.chunk_size, size - start))
            self.sent += len(data)
            source.sent += len(data)
            if fault == "short":
                data = data[:-1]
            number = index - fetch.first if fault == "from zero" else index
            self.sink.block(index + 1 if fault == "index" else number, memoryview(data))
            if fault == "twice":
                self.sink.block(index, memoryview(data))
            index += 1
        while index >= self.until:
            self.changed = trio.Event()
            await self.changed.wait()
        await trio.sleep(source.delay)
        if source.empty_end and size % fetch.chunk_size == 0:
            self.sink.block(index, memoryview(b""))
        self.sink.ended(None)

    async def _send_other(self, block: int, size: int) -> None:
        """As a server that goes by its own size of a block, also for the place to begin."""
        for index in range(self.fetch.first, -(-size // block)):
            await trio.sleep(self.source.delay)
            data = content(self.fetch.file_id, index * block, min(block, size - index * block))
            self.sink.block(index, memoryview(data))
        self.sink.ended(None)


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
    fault: Fault | None = None
    fetches: list[Fetch] = field(default_factory=list)
    sent: int = 0
    running: int = 0
    most_running: int = 0
    suspected: int = 0
    windows: list[int] = field(default_factory=list)
    mended: list[ExportfsError] = field(default_factory=list)
    fast: bool = True
    """Whether wide streams are known to pay from the start; else the line is as unknown as that of a new mount."""
    largest: int | None = None
    """Blocks are cut to so many bytes, whatever was asked for."""
    smallest: int | None = None
    """Blocks have so many bytes at least, whatever was asked for."""
    empty_end: bool = False
    """Whether a file that is a multiple of the block size ends with an empty block."""
    at_most: int | None = None
    """Downloads served at once."""

    def start(self, fetch: Fetch, sink: Sink) -> FakeDownload:
        self.fetches.append(fetch)
        download = FakeDownload(self, fetch, sink)
        self.nursery.start_soon(download.run)
        return download

    async def mend(self, error: ExportfsError) -> None:
        self.mended.append(error)

    def library(
        self, *, cache_size: int = 256 << 20, max_downloads: int = 4, timeout: float = 30.0
    ) -> Library:
        line = fast_line() if self.fast else Line()
        return Library(
            self, self, line=line, cache_size=cache_size, max_downloads=max_downloads, timeout=timeout
        )

    def key(self, file_id: str) -> FileKey:
        return FileKey("session", file_id, self.sizes[file_id])
