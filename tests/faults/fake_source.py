"""A server of one file for `exportfs.content`, in this process and on a clock of the test's: what can go wrong does."""

import random
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

import trio

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

CONTENT = random.Random(20109).randbytes(6 << 20)
"""What every file of it holds, up to its size."""

ERRORS = (Unreachable, Interrupted, Exhausted, Unauthenticated, Corrupt)
KINDS = ("error", "clean end", "stall", "short", "long", "skip", "repeat", "index", "swap", "overrun", "slow")


@dataclass(frozen=True)
class Trouble:
    """What happens to one download: `kind`, at its block number `block`."""

    kind: str
    block: int = 0
    error: type[ExportfsError] = Interrupted


@dataclass
class FakeSource:
    """Starts downloads, each with the next trouble; `always` is the trouble of those for which there is no other."""

    nursery: trio.Nursery
    size: int
    largest: int | None = None
    """Blocks above so many bytes are refused."""
    troubles: deque[Trouble] = field(default_factory=deque)
    always: Trouble | None = None
    rate: float | None = None
    """Bytes a second of the line, shared by all downloads; None: a millisecond a block."""
    round_trip: float = 0.0
    """Seconds before the first block."""
    sent: int = 0
    running: int = 0
    mend_fails: int = 0

    def start(self, fetch: Fetch, sink: Sink) -> "FakeDownload":
        trouble = self.troubles.popleft() if self.troubles else self.always
        download = FakeDownload(self, fetch, sink, trouble)
        self.nursery.start_soon(download.run)
        return download

    async def mend(self, error: ExportfsError) -> None:
        if isinstance(error, Unauthenticated) and self.mend_fails > 0:
            self.mend_fails -= 1
            raise Unreachable("no login server")
        await trio.lowlevel.checkpoint()


class FakeDownload:
    def __init__(self, source: FakeSource, fetch: Fetch, sink: Sink, trouble: Trouble | None) -> None:
        self._source, self._size, self._first = source, fetch.chunk_size, fetch.first
        self._until, self._stop, self._sink, self._trouble = fetch.until, fetch.stop, sink, trouble
        self._allowed = trio.Event()
        self._scope = trio.CancelScope()
        self.suspected = False

    def allow(self, until: int) -> None:
        self._until = max(self._until, until)
        self._allowed.set()

    def window(self, amount: int) -> None:
        """What is allowed comes at its own pace here."""

    def cancel(self) -> None:
        self._scope.cancel()

    def suspect(self) -> None:
        self.suspected = True

    async def run(self) -> None:
        self._source.running += 1
        try:
            with self._scope:
                error = await self._send()
                if not self._scope.cancel_called:
                    self._sink.ended(error)
        finally:
            self._source.running -= 1

    async def _send(self) -> ExportfsError | None:
        largest = self._source.largest
        if largest is not None and self._size > largest:
            return InvalidArgument("chunk_size_kb is too large")
        trouble = self._trouble
        await trio.sleep(self._source.round_trip)
        for number, (index, data) in enumerate(self._blocks()):
            if trouble is not None and number == trouble.block:
                if trouble.kind == "error":
                    return trouble.error("a fault")
                if trouble.kind == "clean end":
                    return None
                if trouble.kind == "stall":
                    await trio.sleep_forever()
            await trio.sleep(self._seconds(len(data)))
            self._source.sent += len(data)
            self._sink.block(index, memoryview(data))
            while index + 1 >= self._until:
                if self._stop:
                    return None
                self._allowed = trio.Event()
                await self._allowed.wait()
        return None

    def _seconds(self, size: int) -> float:
        source, trouble = self._source, self._trouble
        if source.rate is not None:
            return size * source.running / source.rate
        return 1.0 if trouble is not None and trouble.kind == "slow" else 0.001

    def _true(self) -> Iterator[tuple[int, bytes]]:
        index, size = self._first, self._source.size
        while index * self._size < size:
            yield index, CONTENT[index * self._size : min((index + 1) * self._size, size)]
            index += 1

    def _blocks(self) -> Iterator[tuple[int, bytes]]:
        trouble, blocks = self._trouble, list(self._true())
        if trouble is not None and trouble.block < len(blocks):
            at = trouble.block
            index, data = blocks[at]
            replacements = {
                "short": [(index, data[:-1])],
                "long": [(index, data + b"x")],
                "skip": [],
                "repeat": [(index, data), (index, data)],
                "index": [(index + 1, data)],
                "swap": [*blocks[at + 1 : at + 2], (index, data)],
            }
            if trouble.kind in replacements:
                after = at + (2 if trouble.kind == "swap" else 1)
                blocks = [*blocks[:at], *replacements[trouble.kind], *blocks[after:]]
        if trouble is not None and trouble.kind == "overrun":
            blocks.append(((blocks[-1][0] if blocks else self._first - 1) + 1, bytes(1024)))
        yield from blocks
