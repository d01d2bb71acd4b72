"""One open result: from offset and length to blocks."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from mmap import PAGESIZE

import trio

from exportfs.content.cache import Block
from exportfs.content.download import FileKey
from exportfs.content.guesses import Guess
from exportfs.content.read_ahead import Plan, Position
from exportfs.content.result import Result
from exportfs.content.shared import Shared
from exportfs.content.tuning import FAIL_FAST, FAILURES, GUESS_AMONG, REFUSED, REFUSED_WITHIN
from exportfs.errors import ExportfsError, Unwanted


@dataclass(slots=True, eq=False)
class _Read:
    """One that is under way."""

    offset: int
    end: int
    plan: Plan
    since: float
    """Monotonic seconds when it began."""
    until: int
    """Up to where is asked for what it finds missing. Beyond its end where the kernel asks page by page for what was
    refused when it read it ahead: each block would cost a round trip."""


class Reader:
    """One open file. `closed` is told when it is closed; guesses: whether reads may be the kernel's own."""

    def __init__(
        self, result: Result, shared: Shared, closed: Callable[[FileKey], None], *, guesses: bool = True
    ) -> None:
        self._result = result
        self._shared = shared
        self._cache = shared.cache
        self._line = shared.line
        self._closed = closed
        self._position = Position()
        self._stall = shared.stall
        self._sequential = shared.sequential
        self._guesses = guesses
        """Not for long where they are not of whole pages, as a program's own may be, past the kernel's cache; or where
        another has the descriptor: of a loop device, which may read so as well, nothing else shows."""
        self._flushed = False
        """Whether a descriptor of it was closed."""
        self._guess: Guess | None = None
        self._reads: list[_Read] = []
        """Under way."""
        self._refused = deque[_Read](maxlen=REFUSED)
        """Lately, since reading went on elsewhere."""
        self._cause: _Read | None = None
        """The read for which the last of them were refused; None: a descriptor was closed."""
        self._by_one = True
        """Whether one program reads, one place after the other, as far as is known."""
        self._failed = deque[tuple[int, int, float, ExportfsError]](maxlen=FAILURES)
        """From where to where and when reads failed lately after they had waited, and with what."""

    @property
    def key(self) -> FileKey:
        return self._result.key

    async def read(self, offset: int, length: int) -> bytes | memoryview:
        """The bytes from `offset` on: `length` of them, or fewer only at the end of the file.

        A view of a block where one block holds them all. Answers without letting other tasks run where the blocks
        are at hand. Raises what `Result.block_at` raises, and Unwanted.
        """
        end = min(offset + length, self._result.key.size)
        if offset >= end:
            return b""
        if offset % PAGESIZE or length % PAGESIZE or self._flushed:
            self._guesses = False
        plan = self._position.read(offset, end - offset, self._line.kernel_ahead, fast=self._line.fast)
        if plan.proven:
            self._sequential.add(self)
        if self._refused:
            self._look_whether_somebody_waited(offset, end)
        until = self._result.left_from(offset, end) if plan.continued and length <= PAGESIZE else end
        read = _Read(offset, end, plan, trio.current_time(), until)
        self._shared.reading += 1
        self._reads.append(read)
        try:
            if self._guess is not None:
                await self._after(self._guess, offset, plan)
            if plan.guess and self._guesses and self._line.quick and self._shared.reading <= GUESS_AMONG:
                await self._wait_for_somebody(offset, end)
            return await self._read(read)
        finally:
            self._shared.reading -= 1
            self._reads.remove(read)

    async def _read(self, read: _Read) -> bytes | memoryview:
        offset, end, plan = read.offset, read.end, read.plan
        result, cache = self._result, self._cache
        pieces: list[memoryview] = []
        position = offset
        missed = False
        while position < end:
            block: Block | None = result.cached(position)
            if block is None:
                if plan.jumped and not missed:
                    self._leave(read)
                missed = True
                block = await self._wait_for(position, read)
            piece = block.data[position - block.start : end - block.start]
            pieces.append(piece)
            position += len(piece)
            if position >= block.end:
                cache.read_through(result.key, block)
        if missed:
            cache.misses += 1
            result.done(plan)
        else:
            cache.hits += 1
        result.ahead(end, plan, self)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _leave(self, read: _Read) -> None:
        """This read went elsewhere: of those from before nothing comes but what they asked for, if that."""
        for other in self._reads:
            if other is not read:
                other.plan.leave()
        self._refuse(read)
        self._result.leave(self)

    def _refuse(self, cause: _Read | None) -> bool:
        """A read went elsewhere, or the file was closed (None): those that went on from others were made by the
        kernel, ahead of who waits for them no more. Says whether there are any.

        Where somebody waits all the same the kernel asks once more, page by page. Were that refused, a program would
        see it; and what has waited long would wait for as long again. On a fast line they are soon there, and who reads
        with several threads has most of them under way there.
        """
        if not self._by_one or not self._guesses or self._line.fast:
            return False
        recent = trio.current_time() - self._stall / REFUSED_WITHIN
        refused = [
            read
            for read in self._reads
            if read is not cause
            and read.plan.continued
            and read.since > recent
            and read.end - read.offset > PAGESIZE
            and not self._was_refused(read.offset, read.end)
        ]
        for read in refused:
            read.plan.refuse()
            self._result.left.append((read.offset, read.end))
        if refused:
            self._refused.extend(refused)
            self._cause = cause
        return bool(refused)

    def _was_refused(self, offset: int, end: int) -> bool:
        return any(read.offset < end and offset < read.end for read in self._refused)

    def _look_whether_somebody_waited(self, offset: int, end: int) -> None:
        """Of what was refused something is asked for again while the read for which it was refused is under way; or
        anything, though a descriptor was closed. So there is another thread, or another descriptor, and it is not to
        be refused what it waits for again and again."""
        if self._cause is None or (self._cause in self._reads and self._was_refused(offset, end)):
            self._by_one = False

    async def _after(self, guess: Guess, offset: int, plan: Plan) -> None:
        """This read tells whether somebody came to what the kernel read ahead before; that is asked for first."""
        guess.settle(wanted=not plan.jumped)
        if offset == guess.end:
            await guess.over()

    async def _wait_for_somebody(self, offset: int, end: int) -> None:
        """Raises Unwanted where nobody will come."""
        if self._result.cached(end - 1) is not None:
            return
        guess = self._guess = Guess(end)
        try:
            if not await guess.wanted():
                self._result.left.append((offset, end))
                raise Unwanted("nobody came to what was read ahead")
        finally:
            if self._guess is guess:
                self._guess = None

    def flushed(self) -> None:
        """A descriptor of it was closed, most probably the last one."""
        self._flushed = True
        if self._guess is not None:
            self._guess.settle(wanted=False)
        if self._refuse(None):
            self._result.leave(self)

    async def _wait_for(self, position: int, read: _Read) -> Block:
        asked = trio.current_time()
        while self._failed and asked - self._failed[0][2] >= FAIL_FAST:
            self._failed.popleft()
        for begin, until, _, failure in self._failed:
            if begin <= position < until:
                raise failure.with_traceback(None)
        try:
            return await self._result.block_at(position, read.until, read.plan, self, read.since)
        except ExportfsError as error:
            if (now := trio.current_time()) - asked >= self._stall:
                self._failed.append((position, read.end, now, error))
            raise

    async def fetch_head(self, length: int, *, asked: int = 0) -> None:
        """Has the first bytes of the file fetched; the reading position stays as it is. asked: bytes that are to be on
        their way by then, where that is more. Raises what `Result.block_at` raises."""
        size = self._result.key.size
        end, until = min(length, size), min(max(length, asked), size)
        plan = Position().read(0, until)
        position, since = 0, trio.current_time()
        while position < end:
            position = (await self._result.block_at(position, until, plan, self, since)).end

    async def prove_empty(self) -> None:
        """Where the file was announced without any bytes, asks the server. Raises what `Result.prove_empty` raises."""
        if not self._result.key.size:
            await self._result.prove_empty(self)

    def close(self) -> None:
        """The file is no longer open. To be called once."""
        self._sequential.discard(self)
        self._closed(self.key)
