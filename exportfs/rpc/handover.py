"""What a download's thread has for trio: blocks, and how it ended. Coalesced: however many came, trio is woken once."""

import contextlib
import logging
from collections import deque
from collections.abc import Callable

import trio

from exportfs.errors import ExportfsError, Interrupted
from exportfs.rpc.handle import Sink

log = logging.getLogger(__name__)


class HandOver:
    """Made in trio's thread; `block` and `over` are called in the download's, all else in trio's."""

    def __init__(
        self, sink: Sink, ended: Callable[[ExportfsError | None], None] = lambda error: None
    ) -> None:
        """`ended` is told with what the sink is going to be told."""
        self._sink = sink
        self._ended = ended
        self._token = trio.lowlevel.current_trio_token()
        self._queue: deque[tuple[int, memoryview]] = deque()
        self._end: tuple[ExportfsError | None] | None = None
        self.closed = False
        """Whether nobody wants anything of it any more."""

    def block(self, index: int, data: memoryview) -> None:
        self._queue.append((index, data))
        self.wake()

    def over(self, error: ExportfsError | None) -> None:
        if self._end is None:
            self._end = (error,)
            self.wake()

    def soon(self, work: Callable[[], object]) -> None:
        """In trio's thread, as soon as it gets to it."""
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(work)

    def wake(self) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(self._deliver, idempotent=True)

    def close(self) -> None:
        self.closed = True
        self._queue.clear()

    def _deliver(self) -> None:
        try:
            # `end` is read first: what the thread put before it is then in the queue.
            end = self._end
            while self._queue and not self.closed:
                self._sink.block(*self._queue.popleft())
            if end is not None and not self.closed:
                self.closed = True
                self._ended(end[0])
                self._sink.ended(end[0])
        except Exception as error:  # from here it would end trio's run, and the mount
            log.exception("a block could not be taken")
            self.close()
            failure = Interrupted(f"the download failed: {type(error).__name__}: {error}")
            self._ended(failure)
            with contextlib.suppress(Exception):
                self._sink.ended(failure)
