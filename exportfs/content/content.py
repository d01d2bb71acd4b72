"""One result's bytes, shared by all who have it open: blocks from the cache, from a download under way, or from a
new one."""

from collections.abc import Sequence

import trio

from exportfs.config import KIB, MIB
from exportfs.content.cache import Block
from exportfs.content.chunks import LADDER, Sizes
from exportfs.content.shared import Shared
from exportfs.content.stream import FileKey, Phase, Preempted, Stream, WrongLength
from exportfs.content.stripes import Stripes
from exportfs.core.patience import Patience
from exportfs.core.window import Plan
from exportfs.errors import (
    AccessDenied,
    Corrupt,
    Exhausted,
    ExportfsError,
    Gone,
    Interrupted,
    NotFound,
    OutOfRange,
    TimedOut,
)

REACH_SEEK = 192 * KIB
REACH_STREAM = 4 * MIB
"""Bytes: a download that will be there after reading through no more than this is not worth another call."""
REACH_SECONDS = 2.0
"""And no further than it gets in this time: on a slow line another call is the shorter way."""
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


class Content:
    """Reads of one result. Not safe for anything but trio's thread; between two awaits all is consistent."""

    def __init__(self, key: FileKey, shared: Shared) -> None:
        self.key = key
        self._shared = shared
        self._streams: list[Stream] = []
        self._waiters: list[Waiter] = []
        self._stripes = Stripes(self, shared)
        self._sizes = Sizes(shared.chunks)

    @property
    def streams(self) -> Sequence[Stream]:
        """Downloads of this result, queued or running."""
        return self._streams

    def cached(self, offset: int) -> Block | None:
        """The block that holds the byte at `offset`, if it is at hand."""
        return self._shared.cache.find(self.key, offset)

    async def block_at(self, offset: int, end: int, plan: Plan) -> Block:
        """The block that holds the byte at `offset`, of a read that goes up to `end`.

        Raises Gone, Corrupt, AccessDenied, Busy, TimedOut, Unreachable and others, when trying again is no use.
        """
        patience = Patience(self._shared.patience, trio.current_time())
        failures = sizes_tried = 0
        while True:
            block = self.cached(offset)
            if block is not None:
                return block
            stream = self._serving(offset, end, plan, small=failures >= SMALL_AFTER)
            try:
                return await self._wait(offset, stream, patience)
            except Preempted:
                await trio.lowlevel.checkpoint()
            except ExportfsError as error:
                if isinstance(error, NotFound) and not stream.other_size:
                    raise Gone(str(error)) from None
                self._shared.retries += 1
                if stream.other_size and sizes_tried < len(LADDER):
                    sizes_tried += 1
                    await trio.lowlevel.checkpoint()
                    continue
                failures = failures + 1 if stream.delivered == 0 else 0
                await self._mend(_as_met_by_a_read(error), patience)

    def ahead(self, end: int, plan: Plan) -> None:
        """Lets a download go on so far that `plan.ahead` bytes beyond `end` are on their way."""
        size = self.key.size
        goal = min(end + plan.ahead, size)
        if not plan.proven or end >= size:
            return
        if self._stripes.worth_it(end, plan):
            self._stripes.ahead(end)
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
                self.open(position, goal)
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
        self._sizes.right(stream.chunk_size, len(block.data), stream.took)
        shared.cache.put(self.key, stream.chunk_size, index, block)
        for waiter in self._waiters:
            if waiter.block is None and block.start <= waiter.offset < block.end:
                waiter.block = block
                waiter.event.set()
                continue
            mine = waiter.stream is stream and waiter.block is None
            if mine and self._out_of_reach(stream, waiter.offset):
                waiter.error = Preempted("the download is too slow to be waited for")
                waiter.event.set()
        shared.slots.schedule()

    def finished(self, stream: Stream, error: ExportfsError | None) -> None:
        self._streams.remove(stream)
        if stream.refusal is not None:
            alone = self._shared.slots.running == 0
            stream.other_size = self._sizes.failed(stream.chunk_size, stream.refusal, alone=alone)
        if isinstance(error, Exhausted) and not stream.other_size:
            self._shared.slots.server_is_full()
        if isinstance(error, WrongLength):
            self._sizes.wrong_length(stream.chunk_size, error.got)
        elif isinstance(error, TimedOut) and not stream.delivered:
            self._shared.chunks.stalled(stream.chunk_size)
        for waiter in self._waiters:
            if waiter.stream is stream and waiter.block is None:
                waiter.error = error or Preempted("the download ended before the block that was due")
                waiter.event.set()

    def awaited(self, stream: Stream) -> bool:
        """Whether somebody waits for a block of this stream."""
        return any(waiter.stream is stream and waiter.block is None for waiter in self._waiters)

    def _serving(self, offset: int, end: int, plan: Plan, *, small: bool) -> Stream:
        """The stream that will bring `offset`: the nearest one under way, or a new one."""
        # Segments are fetched in `ahead`; a single download must not run into the next one.
        striped = self._stripes.worth_it(end, plan)
        goal = end if striped else min(end + plan.ahead, self.key.size)
        switch = plan.proven and not small and self.key.size - offset > REACH_SEEK
        best: Stream | None = None
        for stream in self._streams:
            gap = offset - stream.offset
            reach = REACH_SEEK if stream.seek else min(REACH_STREAM, stream.within(REACH_SECONDS))
            if stream.stop:
                reach = stream.limit - stream.offset - 1
            usable = 0 <= gap <= max(reach, stream.limit - stream.offset - 1) and not (switch and stream.seek)
            usable = usable and not self._out_of_reach(stream, offset)
            if usable and (best is None or stream.offset > best.offset):
                best = stream
        if best is None:
            seek = not plan.proven or small
            best = self.open(offset, end if seek else goal, seek=seek, stop=seek and not plan.lingering)
            if switch:
                self._give_up_seeks()
        best.last_used = trio.current_time()
        best.allow(goal if not best.seek else end)
        return best

    def open(
        self, offset: int, goal: int, *, seek: bool = False, stop: bool = False, line: int = 0
    ) -> Stream:
        """A new download that brings `offset` and goes on to `goal`."""
        size = self._sizes.seek if seek else self._sizes.stream
        # Where another one is to begin, this one has to end: two requests of the kernel that both lost theirs come
        # back in any order, and must not fetch the rest of the file twice.
        begins = [
            stream.start
            for stream in self._streams
            if not stream.seek and offset < stream.start <= max(goal, offset + REACH_STREAM)
        ]
        if begins and not seek:
            goal, stop = min(begins), True
        stream = Stream(
            self, self.key, size, offset // size, seek=seek, stop=stop, line=line, clock=trio.current_time
        )
        stream.allow(goal)
        self._streams.append(stream)
        self._shared.slots.submit(stream)
        return stream

    def _out_of_reach(self, stream: Stream, offset: int) -> bool:
        """Whether the stream, at the speed of its last block, comes to `offset` only after the timeout.

        What it is allowed to read ahead is then no reason to wait for it, and neither is that it moves: a read of
        one byte behind 4 MiB would wait for all of them. Another download is at most one call too many.
        """
        return offset - stream.offset > stream.within(self._shared.patience.timeout)

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
            since, brought = trio.current_time(), self._shared.bytes
            while not waiter.event.is_set():
                moved = max(stream.last_moved, since)
                running = stream.phase is Phase.RUNNING
                # A queued one is looked at again soon: nobody tells when it begins, and then it can stall.
                queued = min(self._shared.slots.next_free, trio.current_time() + self._shared.stall / 4)
                look_at = moved + self._shared.stall if running else queued
                with trio.move_on_at(min(look_at, patience.deadline)):
                    await waiter.event.wait()
                self._shared.slots.schedule()
                late = stream.phase is Phase.QUEUED and trio.current_time() >= patience.deadline
                if late and self._shared.bytes != brought:
                    brought = self._shared.bytes
                    patience.progress(trio.current_time())  # others get on: our turn comes
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
        if stream.phase is Phase.RUNNING and stream.started_at > since:
            patience.turn(stream.started_at)
        # That it has begun is no progress yet.
        if stream.phase is Phase.RUNNING and stream.last_moved > max(since, stream.started_at):
            patience.progress(stream.last_moved)
        if waiter.event.is_set():
            return
        if stream.phase is Phase.QUEUED:
            if now >= patience.deadline:
                raise TimedOut("no download slot became free in time")
        elif now >= max(stream.last_moved, since) + self._shared.stall:
            stream.stalled(TimedOut(f"nothing came for {now - max(stream.last_moved, since):.0f} s"))
        elif now >= patience.deadline:
            raise TimedOut("nothing came in time")

    async def _mend(self, error: ExportfsError, patience: Patience) -> None:
        """Mends what can be mended, and pauses before the next try. Raises what is final."""
        pause = patience.after(error, trio.current_time())
        while True:
            try:
                with trio.move_on_at(patience.deadline) as scope:
                    await self._shared.remote.mend(error)
                break
            except AccessDenied:
                raise
            except ExportfsError as failure:  # mending itself failed, and may be tried again
                await trio.sleep(patience.after(failure, trio.current_time()))
        if scope.cancelled_caught:
            raise error
        await trio.sleep(pause)


def _as_met_by_a_read(error: ExportfsError) -> ExportfsError:
    """We never ask beyond the announced end, so a place that is out of range means that the size does not hold."""
    return Corrupt(f"the file is shorter than announced: {error}") if isinstance(error, OutOfRange) else error
