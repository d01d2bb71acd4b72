"""One result's bytes, shared by all who have it open: blocks from the cache, from a download under way, or from a
new one."""

import trio

from exportfs.config import KIB, MIB
from exportfs.content.cache import Block, BlockCache
from exportfs.content.chunks import Chunks
from exportfs.content.slots import Slots
from exportfs.content.source import Mender
from exportfs.content.stream import FileKey, Phase, Preempted, Stream, WrongLength
from exportfs.core.patience import Patience, PatienceConfig
from exportfs.core.window import Plan
from exportfs.errors import ExportfsError, Gone, Interrupted, NotFound, TimedOut

REACH_SEEK = 192 * KIB
REACH_STREAM = 4 * MIB
"""Bytes: a download that will be there after reading through no more than this is not worth another call."""
SMALL_AFTER = 2
"""After so many failures in a row blocks are small: a connection that breaks often still brings a few."""


class Waiter:
    """Somebody needs the byte at `offset`."""

    __slots__ = ("block", "error", "event", "offset", "stream")

    def __init__(self, offset: int, stream: Stream) -> None:
        self.offset = offset
        self.stream = stream
        self.event = trio.Event()
        self.block: Block | None = None
        self.error: ExportfsError | None = None


class Shared:
    """What all results of a mount share."""

    def __init__(
        self, cache: BlockCache, slots: Slots, chunks: Chunks, mender: Mender, patience: PatienceConfig
    ) -> None:
        self.cache = cache
        self.slots = slots
        self.chunks = chunks
        self.mender = mender
        self.patience = patience
        self.stall = max(0.2, patience.timeout / 3)
        """Seconds without a block after which a running download is given up and a new one tried."""
        self.bytes = 0
        self.retries = 0


class Content:
    """Reads of one result. Not safe for anything but trio's thread; between two awaits all is consistent."""

    def __init__(self, key: FileKey, shared: Shared) -> None:
        self.key = key
        self._shared = shared
        self._streams: list[Stream] = []
        self._waiters: list[Waiter] = []

    def cached(self, offset: int) -> Block | None:
        """The block that holds the byte at `offset`, if it is at hand."""
        return self._shared.cache.find(self.key, offset)

    async def block_at(self, offset: int, end: int, plan: Plan) -> Block:
        """The block that holds the byte at `offset`, of a read that goes up to `end`.

        Raises Gone, Corrupt, AccessDenied, Busy, TimedOut, Unreachable and others, when trying again is no use.
        """
        patience = Patience(self._shared.patience, trio.current_time())
        failures = 0
        while True:
            block = self.cached(offset)
            if block is not None:
                return block
            stream = self._serving(offset, end, plan, small=failures >= SMALL_AFTER)
            try:
                return await self._wait(offset, stream, patience)
            except Preempted:
                await trio.lowlevel.checkpoint()
            except NotFound as error:
                raise Gone(str(error)) from None
            except ExportfsError as error:
                self._shared.retries += 1
                failures = failures + 1 if stream.delivered == 0 else 0
                if self._shared.chunks.refused(stream.chunk_size, error):
                    continue
                pause = patience.after(error, trio.current_time())
                await self._mend(error, patience)
                await trio.sleep(pause)

    def ahead(self, end: int, plan: Plan) -> None:
        """Lets a download go on so far that `plan.ahead` bytes beyond `end` are on their way."""
        size = self.key.size
        goal = min(end + plan.ahead, size)
        if not plan.proven or end >= size:
            return
        for stream in self._streams:
            if (
                not stream.seek
                and end <= stream.offset + REACH_STREAM
                and stream.offset <= goal + stream.chunk_size
            ):
                stream.last_used = trio.current_time()
                if goal > stream.limit:
                    stream.allow(goal)
                return
        position = end
        # Nothing runs here: a new one is worth its call once half of the window is used up.
        while position < min(end + plan.ahead // 2, size):
            block = self.cached(position)
            if block is None:
                self._open(position, goal, seek=False)
                return
            position = block.end

    def done(self, plan: Plan) -> None:
        """A read has been answered: a seek's download is of no more use, unless reading will go on there."""
        if not plan.lingering:
            for stream in list(self._streams):
                if stream.seek and not self.awaited(stream):
                    stream.give_up(Interrupted("no longer needed"))

    def close(self) -> None:
        """Nobody has the file open any more."""
        for stream in list(self._streams):
            if not self.awaited(stream):
                stream.give_up(Interrupted("the file was closed"))

    def arrived(self, stream: Stream, index: int, block: Block) -> None:
        shared = self._shared
        shared.bytes += len(block.data)
        shared.chunks.right(stream.chunk_size)
        shared.cache.put(self.key, stream.chunk_size, index, block)
        for waiter in self._waiters:
            if waiter.block is None and block.start <= waiter.offset < block.end:
                waiter.block = block
                waiter.event.set()
        shared.slots.schedule()

    def finished(self, stream: Stream, error: ExportfsError | None) -> None:
        self._streams.remove(stream)
        if isinstance(error, WrongLength):
            self._shared.chunks.wrong_length(stream.chunk_size)
        for waiter in self._waiters:
            if waiter.stream is stream and waiter.block is None:
                waiter.error = error or Preempted("the download ended before the block that was due")
                waiter.event.set()

    def awaited(self, stream: Stream) -> bool:
        """Whether somebody waits for a block of this stream."""
        return any(waiter.stream is stream and waiter.block is None for waiter in self._waiters)

    def _serving(self, offset: int, end: int, plan: Plan, *, small: bool) -> Stream:
        """The stream that will bring `offset`: the nearest one under way, or a new one."""
        goal = min(end + plan.ahead, self.key.size)
        switch = plan.proven and not small and self.key.size - offset > REACH_SEEK
        best: Stream | None = None
        for stream in self._streams:
            gap = offset - stream.offset
            reach = REACH_SEEK if stream.seek else REACH_STREAM
            if stream.stop:
                reach = stream.limit - stream.offset - 1
            usable = 0 <= gap <= max(reach, stream.limit - stream.offset - 1) and not (switch and stream.seek)
            if usable and (best is None or stream.offset > best.offset):
                best = stream
        if best is None:
            seek = not plan.proven or small
            best = self._open(offset, end if seek else goal, seek=seek, stop=seek and not plan.lingering)
            if switch:
                self._give_up_seeks()
        best.last_used = trio.current_time()
        best.allow(goal if not best.seek else end)
        return best

    def _open(self, offset: int, goal: int, *, seek: bool, stop: bool = False) -> Stream:
        chunks = self._shared.chunks
        size = chunks.seek if seek else chunks.stream
        stream = Stream(self, self.key, size, offset // size, seek=seek, clock=trio.current_time, stop=stop)
        stream.allow(goal)
        self._streams.append(stream)
        self._shared.slots.submit(stream)
        return stream

    def _give_up_seeks(self) -> None:
        for stream in list(self._streams):
            if stream.seek and not self.awaited(stream):
                stream.give_up(Interrupted("sequential reading goes on with larger blocks"))

    async def _wait(self, offset: int, stream: Stream, patience: Patience) -> Block:
        waiter = Waiter(offset, stream)
        self._waiters.append(waiter)
        try:
            if stream.phase is Phase.ENDED:  # it ended while it was being opened
                raise Interrupted("the download ended at once")
            since = trio.current_time()
            while not waiter.event.is_set():
                moved = max(stream.last_moved, since)
                stalled_at = (
                    moved + self._shared.stall if stream.phase is Phase.RUNNING else patience.deadline
                )
                with trio.move_on_at(min(stalled_at, patience.deadline)):
                    await waiter.event.wait()
                self._judge(waiter, since, patience)
        finally:
            self._waiters.remove(waiter)
        if waiter.block is not None:
            return waiter.block
        assert waiter.error is not None
        raise waiter.error

    def _judge(self, waiter: Waiter, since: float, patience: Patience) -> None:
        """After a wait that ended: whether the stream still moves, or is to be given up."""
        stream, now = waiter.stream, trio.current_time()
        if stream.phase is Phase.RUNNING and stream.last_moved > since:
            patience.progress(stream.last_moved)
        if waiter.event.is_set():
            return
        if stream.phase is Phase.QUEUED:
            if now >= patience.deadline:
                raise TimedOut("no download slot became free in time")
        elif now >= min(max(stream.last_moved, since) + self._shared.stall, patience.deadline):
            stream.stalled(TimedOut(f"nothing came for {now - max(stream.last_moved, since):.0f} s"))

    async def _mend(self, error: ExportfsError, patience: Patience) -> None:
        with trio.move_on_at(patience.deadline):
            await self._shared.mender.mend(error)
