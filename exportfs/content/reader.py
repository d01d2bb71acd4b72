"""One open result: from offset and length to blocks."""

from collections import deque
from collections.abc import Callable

import trio

from exportfs.content.cache import Block
from exportfs.content.download import FileKey
from exportfs.content.guesses import Guess
from exportfs.content.read_ahead import Plan, Position
from exportfs.content.result import Result
from exportfs.content.shared import Shared
from exportfs.content.tuning import FAIL_FAST, FAILURES, GUESS_AMONG
from exportfs.errors import ExportfsError, Unwanted


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
        self._guess: Guess | None = None
        self._plans: list[Plan] = []
        """Of reads under way."""
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
        plan = self._position.read(offset, end - offset, self._line.kernel_ahead, fast=self._line.fast)
        if plan.proven:
            self._sequential.add(self)
        self._shared.reading += 1
        self._plans.append(plan)
        try:
            if self._guess is not None:
                await self._after(self._guess, offset, plan)
            if plan.guess and self._guesses and self._line.quick and self._shared.reading <= GUESS_AMONG:
                await self._wait_for_somebody(end)
            return await self._read(offset, end, plan)
        finally:
            self._shared.reading -= 1
            self._plans = [other for other in self._plans if other is not plan]

    async def _read(self, offset: int, end: int, plan: Plan) -> bytes | memoryview:
        result, cache = self._result, self._cache
        pieces: list[memoryview] = []
        position, since = offset, trio.current_time()
        missed = False
        while position < end:
            block: Block | None = result.cached(position)
            if block is None:
                if plan.jumped and not missed:
                    self._leave(plan)
                missed = True
                block = await self._wait_for(position, end, plan, since)
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

    def _leave(self, plan: Plan) -> None:
        """This read went elsewhere: of those from before nothing comes but what they asked for."""
        for other in self._plans:
            if other is not plan:
                other.leave()
        self._result.leave(self)

    async def _after(self, guess: Guess, offset: int, plan: Plan) -> None:
        """This read tells whether somebody came to what the kernel read ahead before; that is asked for first."""
        guess.settle(wanted=not plan.jumped)
        if offset == guess.end:
            await guess.over()

    async def _wait_for_somebody(self, end: int) -> None:
        """Raises Unwanted where nobody will come."""
        if self._result.cached(end - 1) is not None:
            return
        guess = self._guess = Guess(end)
        try:
            if not await guess.wanted():
                raise Unwanted("nobody came to what was read ahead")
        finally:
            if self._guess is guess:
                self._guess = None

    def flushed(self) -> None:
        """A descriptor of it was closed, most probably the last one."""
        if self._guess is not None:
            self._guess.settle(wanted=False)

    async def _wait_for(self, position: int, end: int, plan: Plan, since: float) -> Block:
        asked = trio.current_time()
        while self._failed and asked - self._failed[0][2] >= FAIL_FAST:
            self._failed.popleft()
        for begin, until, _, failure in self._failed:
            if begin <= position < until:
                raise failure.with_traceback(None)
        try:
            return await self._result.block_at(position, end, plan, self, since)
        except ExportfsError as error:
            if (now := trio.current_time()) - asked >= self._stall:
                self._failed.append((position, end, now, error))
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
