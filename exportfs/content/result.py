"""One result's bytes, shared by all who have it open: blocks from the cache, from a download under way, or from a
new one."""

import logging
from collections import deque

import trio

from exportfs.content.block_sizes import FileSizes
from exportfs.content.cache import Block
from exportfs.content.choice import Means, Underway, choose, outgrows
from exportfs.content.download import Download, FileKey, Preempted, WrongLength
from exportfs.content.read_ahead import Plan
from exportfs.content.shared import Shared
from exportfs.content.tuning import (
    LADDER,
    REACH_SECONDS,
    REACH_WIDE,
    REFUSED,
    SERVED_HALVES,
    SLOW_BLOCK,
    SMALL_AFTER,
)
from exportfs.content.waiting import Waiting
from exportfs.errors import (
    AccessDenied,
    Corrupt,
    Exhausted,
    ExportfsError,
    Gone,
    Interrupted,
    InvalidArgument,
    NotFound,
    OutOfRange,
    TimedOut,
    Unwanted,
)
from exportfs.retry import Patience

log = logging.getLogger(__name__)


class Result:
    """Reads of one result. Not safe for anything but trio's thread; between two awaits all is consistent.

    It opens the downloads and hears what becomes of them; it tells the scheduler, and whoever waits.
    """

    def __init__(self, key: FileKey, shared: Shared) -> None:
        self.key = key
        self._shared = shared
        self._downloads: list[Download] = []
        self._waiting = Waiting(shared)
        self._sizes = FileSizes(shared.block_sizes)
        self._served, self._served_at = 0.0, 0.0
        self._ended_empty = False
        """Whether the server was asked for bytes of a file that was announced without any, and sent none."""
        self.left = deque[tuple[int, int]](maxlen=REFUSED)
        """From where to where the kernel's read-ahead was refused lately: it has pages without their bytes there."""

    def left_from(self, offset: int, end: int) -> int:
        """Up to where reading that comes to `offset` will go on page by page; `end` where it will not."""
        return max((until for begin, until in self.left if begin <= offset < until), default=end)

    def cached(self, offset: int) -> Block | None:
        """The block that holds the byte at `offset`, if it is at hand."""
        return self._shared.cache.find(self.key, offset)

    async def block_at(self, offset: int, end: int, plan: Plan, reader: object, since: float) -> Block:
        """The block that holds the byte at `offset`, of a read by `reader` that began at `since` and goes up to `end`.

        Raises Gone, Corrupt, AccessDenied, Busy, TimedOut, Unreachable and others, when trying again does not help; and
        Unwanted once the read is.
        """
        patience = Patience(self._shared.patience, trio.current_time())
        failures = sizes_tried = attempt = 0
        begun = trio.current_time()
        while True:
            block = self.cached(offset)
            if block is not None:
                return block
            if plan.unwanted:
                raise Unwanted("reading went on elsewhere")
            download = self._serving(
                offset, end, plan, reader, since, small=failures >= SMALL_AFTER, whole=failures > 0
            )
            attempt += 1
            try:
                block = await self._waiting.wait(offset, end, plan, since, download, patience)
                if trio.current_time() - begun >= SLOW_BLOCK:
                    self._note(offset, attempt, begun, "is here")
                return block
            except Preempted as preempted:
                self._note(offset, attempt, begun, f"is asked for again: {preempted}")
                await trio.lowlevel.checkpoint()
            except Unwanted:
                raise
            except ExportfsError as error:
                self._note(
                    offset, attempt, begun, f"failed in blocks of {download.chunk_size >> 10} KiB: {error}"
                )
                if isinstance(error, NotFound) and not download.other_size:
                    raise Gone(str(error)) from None
                self._shared.retries += 1
                if download.other_size and sizes_tried < 2 * len(LADDER):
                    sizes_tried += 1
                    await trio.lowlevel.checkpoint()
                    continue
                failures = failures + 1 if download.delivered == 0 else 0
                await self._mend(_as_met_by_a_read(error), patience)

    async def prove_empty(self, reader: object) -> None:
        """Asks the server for bytes of a file that it announced without any.

        Raises Corrupt where it sends some: it did not know the size, and the file would be copied as an empty one.
        Otherwise raises as `block_at` does.
        """
        patience = Patience(self._shared.patience, trio.current_time())
        while not self._ended_empty:
            download = self._open(0, 0, wide=False, sequential=False, stop=True, reader=reader)
            try:
                await self._waiting.wait(0, 0, None, trio.current_time(), download, patience)
            except Preempted:
                await trio.lowlevel.checkpoint()
            except (InvalidArgument, NotFound):
                return  # how some say that there is nothing at this place
            except ExportfsError as error:
                await self._mend(error, patience)

    def _note(self, offset: int, attempt: int, begun: float, what: str) -> None:
        """For the field: what became of a block that somebody waits for."""
        line = self._shared.line
        log.debug(
            "session %s, file %r: the block at %d, attempt %d, %s after %.2f s (window %d KiB, %s)",
            self.key.session_id,
            self.key.file_id,
            offset,
            attempt,
            what,
            trio.current_time() - begun,
            line.window >> 10,
            "rate unknown" if line.rate is None else f"rate {line.rate / 1024:.0f} KiB/s",
        )

    def ahead(self, end: int, plan: Plan, reader: object) -> None:
        """Lets a download go on beyond `end`, as far as the line and the plan want it."""
        if not (plan.proven or plan.bulk):
            return
        size, fast = self.key.size, self._shared.line.fast
        window = self._ahead(plan, fast)
        goal = min(end + window, size)
        if plan.proven and self._grow(end, goal, reader):
            return
        # What one download alone has brought from here on, and is to bring, need not be looked for block by block.
        alone = self._downloads[0] if len(self._downloads) == 1 else None
        if alone is not None and alone.start <= end <= alone.offset:
            position = self._missing(alone.limit, goal)
        else:
            position = self._missing(end, goal)
        if position >= goal:
            return
        for download in self._downloads:
            fits = download.wide == fast and not download.stop and not download.superseded
            if fits and download.offset <= position <= download.limit:
                download.last_used = trio.current_time()
                download.allow(goal)
                self._shared.scheduler.share()
                return
        # Nothing goes on here: a new one is worth its call once half of the window is used up.
        if plan.proven and position < end + window // 2:
            self._supersede(position, reader)
            self._open(position, goal, wide=fast, sequential=True, reader=reader)

    def _grow(self, end: int, goal: int, reader: object) -> bool:
        """Has a download of larger blocks take over from one that brings what follows in small ones, while that one
        still brings something: the line is not to rest for the round trip of the call. What lies before the next of
        the larger blocks is left to the small ones, so that nothing comes twice."""
        fast = self._shared.line.fast
        size = self._sizes.stream if fast else self._sizes.exact
        for download in self._downloads:
            if download.wide or download.stop or download.bounded or not self._follows(download, end, goal):
                continue
            if not (fast or outgrows(download.chunk_size, size)):
                continue
            position = -(-download.limit // size) * size
            if position < self.key.size and self._missing(position, position + 1) == position:
                download.allow(position)
                # Also where another reader used it last: that one would have it go on beside the new one.
                download.superseded = True
                self._end_superseded(download)
                self._shared.scheduler.share()
                self._supersede(position, reader)
                self._open(position, max(goal, position + 1), wide=fast, sequential=True, reader=reader)
                return True
        return False

    def _follows(self, download: Download, end: int, goal: int) -> bool:
        """Whether it brings what comes after `end`, or after what lies between that and where it began."""
        if download.start <= end:
            return end <= download.limit
        return download.start <= goal and self._missing(end, download.start) >= download.start

    def _missing(self, position: int, goal: int) -> int:
        """The first byte from `position` on that is neither here nor to come; `goal` or more where there is none."""
        while position < goal:
            block = self.cached(position)
            if block is not None:
                position = block.end
                continue
            coming = [
                download.limit for download in self._downloads if download.offset <= position < download.limit
            ]
            if not coming:
                break
            position = max(coming)
        return position

    def done(self, plan: Plan) -> None:
        """A read has been answered: a download for it is of no more use, unless reading will go on there."""
        if not plan.lingering:
            for download in list(self._downloads):
                ends = (download.stop and not download.wide) or download.left_at is not None
                if ends and self.awaited_since(download) is None:
                    download.give_up(Interrupted("no longer needed"))

    def close(self) -> None:
        """Nobody has the file open any more."""
        for download in list(self._downloads):
            if not self.awaited(download):
                download.give_up(Interrupted("the file was closed"))

    def arrived(self, download: Download, index: int, block: Block) -> None:
        """A download brought a block."""
        shared, size, now = self._shared, len(block.data), trio.current_time()
        shared.bytes += size
        shared.received(size)
        shared.scheduler.moved(now)
        if index == download.first:
            shared.began(now - download.started_at)
        self._served, self._served_at = self.served(now) + size, now
        whole = size == download.chunk_size < self.key.size
        self._sizes.right(download.chunk_size, download.took, whole=whole)
        if download.wide:
            shared.line.wide(size, download.took / max(1, shared.scheduler.wide), now)
        shared.cache.put(self.key, download.chunk_size, index, block)
        self._waiting.arrived(block)
        self._waiting.leave(download, lambda offset: self._out_of_reach(download, offset))
        self._end_superseded(download)
        shared.scheduler.schedule()
        if not download.wide:
            shared.scheduler.share()

    def finished(self, download: Download, error: ExportfsError | None) -> None:
        """A download ended; None where it brought all that it was to."""
        log.debug(
            "session %s, file %r: the download from %d ended after %d bytes: %s",
            self.key.session_id,
            self.key.file_id,
            download.start,
            download.delivered,
            error or "complete",
        )
        self._downloads.remove(download)
        self._shared.scheduler.ended(download)
        self._ended_empty = self._ended_empty or (error is None and not self.key.size)
        if download.refusal is not None and self.key.size:
            alone = self._shared.scheduler.running == 0
            download.other_size = self._sizes.failed(download.chunk_size, download.refusal, alone=alone)
        if isinstance(error, Exhausted) and not download.other_size:
            self._shared.scheduler.server_is_full()
        if isinstance(error, WrongLength):
            download.other_size = self._sizes.wrong_length(
                download.chunk_size, error.got, download.next, self.key.size
            )
        elif isinstance(error, TimedOut) and not download.delivered:
            self._shared.block_sizes.stalled(download.chunk_size)
            # Either its connection is dead, or the server takes its time: the next one, on another, is given longer.
            self._shared.slow = not download.patient
            if self._shared.scheduler.moves:
                # Others get on: it may be waiting at the server for one of them to end.
                self._shared.scheduler.server_is_full()
        self._waiting.fail(download, error or Preempted("the download ended before the block that was due"))

    def awaited(self, download: Download) -> bool:
        return self._waiting.awaited(download)

    def awaited_since(self, download: Download) -> float | None:
        return self._waiting.awaited_since(download)

    def served(self, now: float) -> float:
        """Bytes that arrived lately: half of them are forgotten every few seconds."""
        return float(self._served * 0.5 ** ((now - self._served_at) / SERVED_HALVES))

    def _serving(
        self, offset: int, end: int, plan: Plan, reader: object, since: float, *, small: bool, whole: bool
    ) -> Download:
        """The download that will bring `offset`."""
        line, size = self._shared.line, self.key.size
        usable = [one for one in self._downloads if not self._out_of_reach(one, offset)]
        underway = [
            Underway(
                download.offset,
                download.limit,
                download.chunk_size,
                download.wide,
                download.stop or download.superseded,
                download.within(REACH_SECONDS),
            )
            for download in usable
        ]
        means = Means(line.fast, line.reach, self._sizes.exact, self._sizes.stream)
        choice = choose(offset, size, plan, underway, means, small=small)
        if choice.underway is None:
            goal = min(end + self._ahead(plan, choice.wide), size)
            if choice.sequential:
                self._supersede(offset, reader)
            best = self._open(
                offset,
                goal if choice.sequential or plan.bulk else end,
                wide=choice.wide,
                sequential=choice.sequential,
                stop=choice.stop,
                whole=whole,
                reader=reader,
            )
        else:
            best = usable[choice.underway]
            if best.left_at is None or since >= best.left_at:  # else it is a read that was left that goes on
                best.reader, best.left_at = reader, None
            # On a line that has proved fast, exact downloads bring what is asked for and leave the rest to a wide one.
            fits = best.wide == line.fast
            best.allow(min(end + (self._ahead(plan, best.wide, best.chunk_size) if fits else 0), size))
        best.last_used = trio.current_time()
        return best

    def _ahead(self, plan: Plan, wide: bool, chunk_size: int = 0) -> int:
        """Bytes to be read ahead, in blocks of this size or, by default, of what a stream has now."""
        default = self._sizes.stream if wide else self._sizes.exact
        return self._shared.ahead(plan, wide=wide, chunk_size=chunk_size or default)

    def _open(
        self,
        offset: int,
        goal: int,
        *,
        wide: bool,
        sequential: bool,
        reader: object,
        stop: bool = False,
        whole: bool = True,
    ) -> Download:
        """A new download that brings `offset` and goes on to `goal`; `whole`: to the end of the block that this is in.
        One that does not stop there always does."""
        sizes = self._sizes
        size = sizes.stream if wide else sizes.exact if sequential else sizes.seek
        # Where another one is to begin, this one has to end: two requests of the kernel that both lost theirs come
        # back in any order, and must not fetch the rest of the file twice.
        begins = [
            download.start
            for download in self._downloads
            if not download.stop and offset < download.start <= max(goal, offset + REACH_WIDE)
        ]
        if begins and not stop:
            goal, stop = min(begins) if sequential else min(goal, *begins), True
        download = Download(
            self,
            self.key,
            size,
            offset // size,
            wide=wide,
            stop=stop,
            whole=whole or sequential,
            patient=self._shared.slow,
            doubtful=sizes.doubtful(size, offset // size, self.key.size),
            reader=reader,
            clock=trio.current_time,
        )
        download.allow(goal)
        log.debug(
            "session %s, file %r: %s download of blocks of %d KiB from %d to %d%s",
            self.key.session_id,
            self.key.file_id,
            "wide" if wide else "exact",
            size // 1024,
            download.start,
            download.limit,
            ", then it ends" if stop else "",
        )
        self._downloads.append(download)
        self._shared.scheduler.submit(download)
        return download

    def leave(self, reader: object) -> None:
        """A reader went elsewhere: nothing more is sent of what it left, before anything else is asked for. Reads that
        are unwanted by now end."""
        self._waiting.refuse()
        for download in list(self._downloads):
            if download.reader is reader:
                if self.awaited(download):
                    download.left_at = trio.current_time()
                else:
                    download.give_up(Interrupted("its reader went elsewhere"))

    def _out_of_reach(self, download: Download, offset: int) -> bool:
        """Whether the download, at the speed of its last block, comes to `offset` only after the timeout.

        What it is allowed to read ahead is then no reason to wait for it, and neither is that it moves: a read of
        one byte behind 4 MiB would wait for all of them. Another download is at most one call too many.
        """
        return offset - download.offset > download.within(self._shared.patience.timeout)

    def _supersede(self, offset: int, reader: object) -> None:
        """Another download takes over from here: what is wanted of those before still comes, and no more."""
        for download in list(self._downloads):
            if download.reader is reader and not download.stop and download.offset <= offset:
                download.superseded = True
                self._end_superseded(download)

    def _end_superseded(self, download: Download) -> None:
        if download.superseded and not download.wanted and not self.awaited(download):
            download.give_up(Interrupted("sequential reading goes on with other blocks"))

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
