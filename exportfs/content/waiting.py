"""Who waits for blocks of one result, and for how long: until the block is there, or its download moves no more."""

from collections.abc import Callable

import trio

from exportfs.content.cache import Block
from exportfs.content.download import Download, Phase, Preempted
from exportfs.content.read_ahead import Plan
from exportfs.content.shared import Shared
from exportfs.errors import ExportfsError, Interrupted, TimedOut, Unwanted
from exportfs.retry import Patience


class _Waiter:
    """Somebody needs the byte at `offset`, and then what follows up to `end`."""

    __slots__ = ("block", "brought", "download", "end", "error", "event", "offset", "plan", "since")

    def __init__(
        self, offset: int, end: int, plan: Plan | None, since: float, download: Download, brought: int
    ) -> None:
        self.offset = offset
        self.end = end
        self.plan = plan
        self.since = since
        self.download = download
        self.brought = brought
        """Bytes that all downloads had brought when the wait began."""
        self.event = trio.Event()
        self.block: Block | None = None
        self.error: ExportfsError | None = None


class Waiting:
    """All who wait for blocks of a result. In trio's thread."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._waiters: list[_Waiter] = []

    async def wait(
        self, offset: int, end: int, plan: Plan | None, since: float, download: Download, patience: Patience
    ) -> Block:
        """The block that holds the byte at `offset`, of a read that began at `since` and goes up to `end`, as soon as
        it is there, from `download` or another. Raises what the download ended with, TimedOut, and Unwanted once the
        read is."""
        waiter = _Waiter(offset, end, plan, since, download, self._shared.bytes)
        self._waiters.append(waiter)
        self._shared.scheduler.share()
        try:
            if download.phase is Phase.ENDED:  # it ended while it was being opened
                raise Interrupted("the download ended at once")
            begun, brought = trio.current_time(), self._shared.bytes
            while not waiter.event.is_set():
                moved = max(download.last_moved, begun)
                running = download.phase is Phase.RUNNING
                # A queued one is looked at again soon: nobody tells when it begins, and then it can stall.
                queued = min(self._shared.scheduler.next_free, trio.current_time() + self._shared.stall / 4)
                look_at = moved + self._stall(download) if running else queued
                with trio.move_on_at(min(look_at, patience.deadline)):
                    await waiter.event.wait()
                self._shared.scheduler.schedule()
                late = download.phase is Phase.QUEUED and trio.current_time() >= patience.deadline
                if late and self._shared.bytes != brought:
                    brought = self._shared.bytes
                    patience.progress(trio.current_time())  # others get on: our turn comes
                self._judge(waiter, begun, patience)
        finally:
            self._waiters.remove(waiter)
        if waiter.block is not None:
            return waiter.block
        assert waiter.error is not None
        raise waiter.error

    def _judge(self, waiter: _Waiter, since: float, patience: Patience) -> None:
        """After a wait that ended: whether the stream still moves, or is to be given up."""
        download, now = waiter.download, trio.current_time()
        # Having queued behind what brings nothing either is no reason to wait for longer than others do.
        others = self._shared.bytes != waiter.brought
        if download.phase is Phase.RUNNING and download.started_at > since and others:
            patience.turn(download.started_at)
        # That it has begun is not progress yet; that it has ended since takes nothing away from what it brought.
        brings = download.phase is Phase.RUNNING or download.delivered > 0
        if brings and download.last_moved > max(since, download.started_at):
            patience.progress(download.last_moved)
        if waiter.event.is_set():
            return
        if download.phase is Phase.QUEUED:
            if now >= patience.deadline:
                raise TimedOut("no download slot became free in time")
        elif now >= max(download.last_moved, since) + self._stall(download):
            download.stalled(TimedOut(f"nothing came for {now - max(download.last_moved, since):.0f} s"))
        elif now >= patience.deadline:
            if download.patient and now >= max(download.last_moved, since) + self._shared.stall:
                download.stalled(TimedOut("nothing came in time"))  # for the next read another one
            raise TimedOut("nothing came in time")

    def _stall(self, download: Download) -> float:
        """Seconds without a block after which it is given up."""
        patience = self._shared.patience
        return patience.long_stall if download.patient and not download.delivered else self._shared.stall

    def arrived(self, block: Block) -> None:
        """It is there."""
        for waiter in self._waiters:
            if waiter.block is None and block.start <= waiter.offset < block.end:
                waiter.block = block
                waiter.event.set()

    def leave(self, download: Download, out_of_reach: Callable[[int], bool]) -> None:
        """Who waits for an offset that this download comes to too late is to ask for it anew."""
        for waiter in self._of(download):
            if out_of_reach(waiter.offset):
                waiter.error = Preempted("the download is too slow to be waited for")
                waiter.event.set()

    def refuse(self) -> None:
        """Reads that nobody wants wait no longer."""
        for waiter in self._waiters:
            if waiter.plan is not None and waiter.plan.unwanted and not waiter.event.is_set():
                waiter.error = Unwanted("reading went on elsewhere")
                waiter.event.set()

    def fail(self, download: Download, error: ExportfsError) -> None:
        """Its download has ended."""
        for waiter in self._of(download):
            waiter.error = error
            waiter.event.set()

    def awaited(self, download: Download) -> bool:
        """Whether somebody waits for a block of this download."""
        return bool(self._of(download))

    def awaited_since(self, download: Download) -> float | None:
        """Since when somebody waits for a block of this download; None where nobody does.

        Who has just got one and needs the next goes on waiting, although it has not come to that yet.
        """
        since = (
            waiter.since
            for waiter in self._waiters
            if waiter.download is download
            and waiter.error is None
            and (waiter.block is None or waiter.block.end < waiter.end)
        )
        return min(since, default=None)

    def _of(self, download: Download) -> list[_Waiter]:
        return [
            waiter for waiter in self._waiters if waiter.download is download and not waiter.event.is_set()
        ]
