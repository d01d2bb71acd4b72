"""All results that are open, and what they share."""

import trio

from exportfs.config import MIB
from exportfs.content.cache import Block, BlockCache
from exportfs.content.chunks import Chunks
from exportfs.content.content import Content
from exportfs.content.shared import Shared
from exportfs.content.slots import Slots
from exportfs.content.source import Remote, Source
from exportfs.content.stream import FileKey
from exportfs.core.patience import PatienceConfig
from exportfs.core.window import Window, WindowConfig

REAP_EVERY = 1.0
"""Seconds between looks for downloads that nobody uses."""


class Library:
    """Opens results for reading.

    cache_size: bytes of blocks kept. max_downloads: DownloadFile calls at once. timeout: seconds without progress
    after which a read fails.
    """

    def __init__(
        self, source: Source, remote: Remote, *, cache_size: int, max_downloads: int, timeout: float
    ) -> None:
        self.cache = BlockCache(cache_size)
        patience = PatienceConfig(timeout=timeout)
        self.slots = Slots(source, remote, max_downloads, trio.current_time, stall=patience.stall)
        self._shared = Shared(self.cache, self.slots, Chunks(cache_size), remote, patience)
        # What all readers may have read ahead together stays within half of the cache.
        self._window = WindowConfig(most=min(16 * MIB, cache_size // (2 * max_downloads)))
        self._open: dict[FileKey, tuple[Content, int]] = {}
        self._leaving = trio.Event()
        self.slots.on_leaving = self._look_again

    def open(self, key: FileKey) -> "Reader":
        """A reader of one result; `Reader.close` must follow."""
        content, readers = self._open.get(key) or (Content(key, self._shared), 0)
        self._open[key] = (content, readers + 1)
        return Reader(self, content, Window(self._window))

    def closed(self, key: FileKey) -> None:
        content, readers = self._open[key]
        if readers > 1:
            self._open[key] = (content, readers - 1)
        else:
            del self._open[key]
            content.close()

    async def reap(self) -> None:
        """Gives up idle downloads and starts those whose slot has become free, for as long as it is let run."""
        while True:
            with trio.move_on_at(min(trio.current_time() + REAP_EVERY, self.slots.next_free)):
                await self._leaving.wait()
            self._leaving = trio.Event()
            self.slots.schedule()
            self.slots.reap(trio.current_time())

    def _look_again(self) -> None:
        self._leaving.set()

    def status(self) -> dict[str, dict[str, int]]:
        """Counters, for people."""
        cache, slots = self.cache, self.slots
        return {
            "cache": {
                "size": cache.capacity,
                "used": cache.used,
                "blocks": cache.blocks,
                "hits": cache.hits,
                "misses": cache.misses,
            },
            "downloads": {
                "running": slots.running,
                "waiting": slots.waiting,
                "limit": slots.limit,
                "started": slots.started,
                "bytes": self._shared.bytes,
                "retries": self._shared.retries,
            },
        }


class Reader:
    """One open file."""

    def __init__(self, library: Library, content: Content, window: Window) -> None:
        self._library = library
        self._content = content
        self._window = window

    @property
    def key(self) -> FileKey:
        return self._content.key

    async def read(self, offset: int, length: int) -> bytes | memoryview:
        """The bytes from `offset` on: `length` of them, or fewer only at the end of the file.

        A view of a block where one block holds them all. Answers without letting other tasks run where the blocks
        are at hand. Raises what `Content.block_at` raises.
        """
        content, cache = self._content, self._library.cache
        end = min(offset + length, content.key.size)
        if offset >= end:
            return b""
        plan = self._window.read(offset, end - offset)
        pieces: list[memoryview] = []
        position = offset
        missed = False
        while position < end:
            block: Block | None = content.cached(position)
            if block is None:
                missed = True
                block = await content.block_at(position, end, plan)
            piece = block.data[position - block.start : end - block.start]
            pieces.append(piece)
            position += len(piece)
            if position >= block.end:
                cache.read_through(content.key, block)
        if missed:
            cache.misses += 1
            content.done(plan)
        else:
            cache.hits += 1
        content.ahead(end, plan)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        """The file is no longer open. To be called once."""
        self._library.closed(self.key)
