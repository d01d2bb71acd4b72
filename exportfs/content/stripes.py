"""Several downloads for one reader. Over a long line a connection brings no more than its window lets through in a
round trip; three connections bring three times that. So a large file that is read in sequence is cut into segments,
and the next few are fetched at once, each over a connection of its own.

A download cannot be asked to end somewhere, so each segment wastes what is on its way when it is cancelled. That, and
the memory, make it worth it only over distance, and for one reader at a time.
"""

from collections.abc import Sequence
from typing import Protocol

import trio

from exportfs.config import MIB
from exportfs.content.cache import Block
from exportfs.content.shared import Shared
from exportfs.content.stream import FileKey, Stream
from exportfs.core.window import Plan
from exportfs.errors import Interrupted

SEGMENT = 32 * MIB
"""Bytes. About 3 MiB are on their way when a segment is cut off: a tenth."""
WORTH_AFTER = 8 * MIB
"""Bytes read in sequence."""
DISTANT = 0.008
"""Seconds of round trip. Nearer than that one connection fills what there is (measured: docs/design/reading.md)."""


class Striped(Protocol):
    """The result whose segments are fetched."""

    key: FileKey

    @property
    def streams(self) -> Sequence[Stream]: ...
    def cached(self, offset: int) -> Block | None: ...
    def open(
        self, offset: int, goal: int, *, seek: bool = False, stop: bool = False, line: int = 0
    ) -> Stream: ...


class Stripes:
    """Of one result."""

    def __init__(self, content: Striped, shared: Shared) -> None:
        self._content = content
        self._shared = shared
        self._looked_at = -1

    @property
    def _lines(self) -> int:
        """Segments at once: one slot stays free for others, and all fit into the cache."""
        return min(self._shared.slots.limit - 1, self._shared.cache.ahead_capacity // SEGMENT - 1)

    def worth_it(self, end: int, plan: Plan) -> bool:
        """Whether a reader that has come to `end` is to be served in segments."""
        shared, content = self._shared, self._content
        alone = len(content.streams) == shared.slots.running + shared.slots.waiting
        far = shared.remote.round_trip >= DISTANT
        return (
            plan.run >= WORTH_AFTER and far and alone and self._lines > 1 and content.key.size - end > SEGMENT
        )

    def ahead(self, end: int) -> None:
        """Sees to it that this segment and the next ones are on their way."""
        content, size = self._content, self._content.key.size
        place = end // MIB
        if place == self._looked_at:
            return
        self._looked_at = place
        now = trio.current_time()
        for stream in list(content.streams):
            if stream.stop:
                stream.last_used = now
            elif stream.idle:
                stream.give_up(Interrupted("segments took over"))
            elif not stream.seek:
                # What was begun before goes on to the end of its segment and no further.
                stream.allow(min(-(-stream.limit // SEGMENT) * SEGMENT, size))
        first = end // SEGMENT
        for segment in range(first, first + self._lines):
            begin, limit = max(end, segment * SEGMENT), min((segment + 1) * SEGMENT, size)
            missing = self._missing(begin, limit)
            if missing is not None:
                content.open(missing, limit, stop=True, line=segment % self._lines)

    def _missing(self, begin: int, limit: int) -> int | None:
        """The first byte of a segment that is neither here nor on its way."""
        position = begin
        while position < limit:
            block = self._content.cached(position)
            if block is not None:
                position = block.end
                continue
            if any(
                stream.offset <= position < stream.limit
                for stream in self._content.streams
                if not stream.seek
            ):
                return None
            return position
        return None
