"""All results that are open, and what they share."""

import logging
from collections.abc import Callable

import trio

from exportfs.content.block_sizes import BlockSizes
from exportfs.content.budget import Budget
from exportfs.content.cache import BlockCache
from exportfs.content.download import FileKey
from exportfs.content.line import Line
from exportfs.content.reader import Reader
from exportfs.content.result import Result
from exportfs.content.scheduler import Scheduler
from exportfs.content.shared import Shared
from exportfs.content.source import Remote, Source
from exportfs.content.tuning import (
    FIRST_SAMPLE,
    REAP_EVERY,
    SAMPLE_FIRST,
    SAMPLE_REST,
    SAMPLE_UNMEASURED,
    SAMPLES,
    SEEK,
    TRICKLE_SECONDS,
)
from exportfs.errors import ExportfsError
from exportfs.record import StatusJson
from exportfs.retry import PatienceConfig

log = logging.getLogger(__name__)


class Library:
    """Opens results for reading.

    line: what the source measures of the line to the server. cache_size: bytes of blocks kept. max_downloads:
    DownloadFile calls at once. timeout: seconds without progress after which a read fails.
    """

    def __init__(
        self,
        source: Source,
        remote: Remote,
        *,
        line: Line | None = None,
        cache_size: int,
        max_downloads: int,
        timeout: float,
        received: Callable[[int], None] = lambda amount: None,
    ) -> None:
        self.source = source
        self.line = line or Line()
        budget = Budget(cache_size, max_downloads)
        self.cache = BlockCache(cache_size - budget.spared)
        self._leaving = trio.Event()
        patience = PatienceConfig(timeout=timeout)
        self.scheduler = Scheduler(
            source,
            self.line,
            max_downloads,
            trio.current_time,
            room=self._room,
            stall=patience.stall,
            wake=lambda: self._leaving.set(),
        )
        self._shared = Shared(
            self.cache,
            self.scheduler,
            BlockSizes(cache_size, self.line, lambda: budget.block(len(self._shared.sequential))),
            self.line,
            remote,
            patience,
            budget,
            received,
        )
        self._open: dict[FileKey, tuple[Result, int]] = {}
        self._samples = SAMPLES
        self.bytes_read = 0
        """Sent to whoever reads results."""

    def open(self, key: FileKey, *, guesses: bool = True) -> Reader:
        """A reader of one result; `Reader.close` must follow. guesses: whether its reads may be the kernel's own, which
        takes it as it is that nobody wants one of them (Unwanted)."""
        result, readers = self._open.get(key) or (Result(key, self._shared), 0)
        self._open[key] = (result, readers + 1)
        return Reader(result, self._shared, self._closed, guesses=guesses)

    async def measure(self, reader: Reader) -> None:
        """Waits a moment for the head of the first file that is opened, where the server is near and nothing is known
        of the line: how far the kernel reads ahead in a file follows from what is known when it is opened."""
        line = self.line
        if not line.unmeasured or not self._samples or reader.key.size < FIRST_SAMPLE:
            return
        self._samples -= 1
        begun = trio.current_time()
        try:
            thin = await self._comes_as_over_a_thin_line(reader)
        except ExportfsError:
            return
        if thin is not None:
            line.guessed(thin=thin)
        log.debug(
            "the first file's head: after %.1f ms; the server is %s, the kernel reads %d KiB ahead",
            1000 * (trio.current_time() - begun),
            "near" if line.near else "distant",
            line.kernel_ahead >> 10,
        )

    async def _comes_as_over_a_thin_line(self, reader: Reader) -> bool | None:
        """Whether the head of a file does; None where the server proves distant, and it is not looked at."""
        line = self.line
        line.listen()
        # The first block is waited for by itself: it passes many shapers at once, so that it is the second one that
        # tells. That is asked for with it where the server is near for sure; otherwise whether it is shows with the
        # first one: pings before it met a mount that was busy with its start.
        asked = 2 * SEEK if line.nearby else SEEK
        begun = trio.current_time()
        until = begun + (SAMPLE_FIRST if line.round_trip and line.near else SAMPLE_UNMEASURED)
        if not line.near:
            # By pings, which may have met a server that waits for a core: what comes sooner tells better. Nobody waits
            # for longer, since the first read wants just that.
            if not await self._comes_at_once(reader, SEEK, SEEK, until, distant=True):
                return None
            line.round_trip_took(trio.current_time() - begun)
            until = begun + SAMPLE_FIRST
        # Block by block: over a thin line nobody may want what is on its way by the time that shows.
        for length in range(SEEK, FIRST_SAMPLE + 1, SEEK):
            if length > asked:
                line.pauses()
            if not await self._comes_at_once(reader, length, asked, until):
                return True if line.near else None
            if length == SEEK:
                until = trio.current_time() + SAMPLE_REST
        return False

    async def _comes_at_once(
        self, reader: Reader, length: int, asked: int, until: float, *, distant: bool = False
    ) -> bool:
        """Has the first `length` bytes of the file fetched; false where they come bit by bit, or not by that time, or
        the server proves distant. distant: it counts as that already."""
        line = self.line
        failure: ExportfsError | None = None
        here = trio.Event()

        async def fetch() -> None:
            nonlocal failure
            try:
                await reader.fetch_head(length, asked=asked)
            except ExportfsError as error:
                failure = error
            here.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fetch)
            while (
                not here.is_set()
                and (line.near or distant)
                and not line.trickles(now := trio.current_time())
                and now < until
            ):
                with trio.move_on_after(min(TRICKLE_SECONDS / 3, until - now)):
                    await here.wait()
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure
        return here.is_set() and (line.near or distant)

    def _room(self) -> int:
        """Downloads at a time that the memory has room for. Exact ones share the line's window, however many."""
        shared, line = self._shared, self.line
        if not line.fast:
            return shared.budget.max_downloads
        return shared.budget.streams(shared.block_sizes.stream, near=line.nearby)

    def _closed(self, key: FileKey) -> None:
        result, readers = self._open[key]
        if readers > 1:
            self._open[key] = (result, readers - 1)
        else:
            del self._open[key]
            result.close()

    async def reap(self) -> None:
        """Gives up idle downloads and starts those whose slot has become free. Runs until cancelled."""
        while True:
            with trio.move_on_at(min(trio.current_time() + REAP_EVERY, self.scheduler.next_free)):
                await self._leaving.wait()
            self._leaving = trio.Event()
            self.scheduler.schedule()
            self.scheduler.reap(trio.current_time())
            self.scheduler.relieve(trio.current_time())
            self.scheduler.relieve_calls(self._shared.remote.unanswered_since(), trio.current_time())

    @property
    def bytes_fetched(self) -> int:
        """Of whole blocks that came from the server."""
        return self._shared.bytes

    @property
    def retries(self) -> int:
        """Blocks that were asked for once more after a failure."""
        return self._shared.retries

    def status(self) -> StatusJson:
        """Counters, for people."""
        cache, scheduler, line = self.cache, self.scheduler, self.line
        rate = line.rate
        return {
            "cache": {
                "size": cache.capacity,
                "used": cache.used,
                "blocks": cache.blocks,
                "hits": cache.hits,
                "misses": cache.misses,
            },
            "downloads": {
                "running": scheduler.running,
                "waiting": scheduler.waiting,
                "limit": scheduler.limit,
                "started": scheduler.started,
                "bytes": self._shared.bytes,
                "retries": self._shared.retries,
            },
            "line": {
                "round_trip_ms": round(line.round_trip * 1000, 2) or None,
                "bytes_per_second": None if rate is None else round(rate),
                "window": line.window,
                "fast": line.fast,
            },
        }
