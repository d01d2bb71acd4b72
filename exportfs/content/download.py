"""One DownloadFile call for one file: checks every block before anyone sees it."""

from collections.abc import Callable
from enum import Enum
from typing import NamedTuple, Protocol

from exportfs.content.cache import Block
from exportfs.content.source import Running, Source
from exportfs.content.tuning import WRAPPING
from exportfs.errors import Corrupt, ExportfsError, Interrupted
from exportfs.model import Fetch


class FileKey(NamedTuple):
    """A result as the server announced it. Another size is another file, and so is one of another export that was given
    the same id (`edition`).

    A tuple, since it is hashed dozens of times in a read, which a dataclass does in Python.
    """

    session_id: str
    file_id: str
    size: int
    edition: int = 0


class Phase(Enum):
    QUEUED = "queued"
    RUNNING = "running"
    ENDED = "ended"


class Owner(Protocol):
    """Who opened the download and hears all that becomes of it."""

    def arrived(self, download: "Download", index: int, block: Block) -> None: ...
    def finished(self, download: "Download", error: ExportfsError | None) -> None: ...
    def awaited(self, download: "Download") -> bool: ...
    def awaited_since(self, download: "Download") -> float | None: ...
    def served(self, now: float) -> float: ...


class Download:
    """From block `first` on, as far as it is allowed. Nothing in here waits.

    An exact download sends what it is allowed and no more; a wide one as fast as its connection's window lets it.
    """

    def __init__(
        self,
        owner: Owner,
        key: FileKey,
        chunk_size: int,
        first: int,
        *,
        wide: bool,
        stop: bool = False,
        whole: bool = True,
        patient: bool = False,
        doubtful: bool = False,
        reader: object = None,
        clock: Callable[[], float],
    ) -> None:
        now = clock()
        self._clock = clock
        self.owner = owner
        self.key = key
        self.chunk_size = chunk_size
        self.wide = wide
        self.stop = stop
        """Whether it ends where it may read no further, for good."""
        self._end: int | None = None if whole or wide or not stop else first * chunk_size
        """Offset of the first byte that is not wanted, where that may be within a block."""
        self.patient = patient
        """Whether it is given long for its first block."""
        self.reader = reader
        """Who used it last."""
        self.left_at: float | None = None
        """When its reader went elsewhere while somebody still waited for it."""
        self.superseded = False
        """Whether another download goes on where this one was last allowed to go."""
        self.first = first
        self.next = first
        self.phase = Phase.QUEUED
        self.last_used = now
        self.last_moved = now
        self.started_at = now
        self.began_at = now
        """When its first block came, or when it was made."""
        self.took = 0.0
        """Seconds that the last block took to come, from when it could."""
        self._asked = now
        self.refusal: ExportfsError | None = None
        """What the server ended it with before any block had come as it should."""
        self.other_size = False
        """Whether it failed by its block size, as far as one can tell: another one is to be tried at once."""
        self._until = first
        self._running: Running | None = None
        self._held: Block | None = None
        self._proof = (first + 1) * chunk_size + 1 if doubtful else 0
        """Offset up to which it has to come before its first block is believed: that may be the end of the file in
        larger blocks, of a server that numbers by those, and then nothing follows it."""
        self._doubted: Block | None = None
        self._blocks = -(-key.size // chunk_size)

    @property
    def start(self) -> int:
        """Of the first byte that it was opened for."""
        return self.first * self.chunk_size

    @property
    def offset(self) -> int:
        """Of the first byte that has not arrived yet."""
        return self.next * self.chunk_size

    @property
    def limit(self) -> int:
        """Offset up to which it may read."""
        return self._until * self.chunk_size if self._end is None else self._end

    def within(self, seconds: float) -> int:
        """Bytes that it brings in this time, by its last block; much where there was none yet."""
        return int(self.chunk_size * seconds / self.took) if self.took > 0 else self.key.size

    @property
    def delivered(self) -> int:
        """Bytes, of whole blocks."""
        return 0 if self._doubted is not None else (self.next - self.first) * self.chunk_size

    @property
    def bounded(self) -> bool:
        """Whether it goes no further than its limit, whatever else is asked for."""
        return self.superseded or (self.stop and self._running is not None)

    @property
    def wanted(self) -> int:
        """Bytes that it may bring and has not."""
        return max(0, min(self.limit, self.key.size) - self.offset) + (1 if self._held is not None else 0)

    @property
    def wanted_sent(self) -> int:
        """The same with what each block is wrapped in."""
        wanted = self.wanted
        return wanted + WRAPPING * -(-wanted // self.chunk_size)

    @property
    def idle(self) -> bool:
        """Whether it has brought all that it may, nobody waits for more, and it does not end with that, as seeks do."""
        ends = self.stop and not self.wide
        rests = self.phase is Phase.RUNNING and not ends and self.next >= self._until
        return rests and not self.owner.awaited(self)

    def allow(self, offset: int) -> None:
        """Lets it read up to `offset` at least, in whole blocks."""
        offset = max(offset, self._proof)
        until = -(-min(offset, self.key.size) // self.chunk_size)
        if until > self._until and not self.bounded:
            if self.next >= self._until:
                self._asked = self._clock()
            self._until = until
            if self._running is not None:
                self._running.allow(self._bound())
        if self._end is not None and self._running is None:
            self._end = max(self._end, min(offset, self.key.size))

    def begin(self, source: Source) -> None:
        """Starts the call."""
        self.phase = Phase.RUNNING
        self.last_moved = self.started_at = self._clock()
        fetch = Fetch(
            self.key.session_id,
            self.key.file_id,
            self.chunk_size,
            self.first,
            self._bound(),
            size=self.key.size,
            wide=self.wide,
            stop=self.stop,
            end=self._end,
        )
        self._running = source.start(fetch, self)

    def window(self, amount: int) -> None:
        """Lets so many bytes be on their way at a time, where it is exact."""
        if self._running is not None:
            self._running.window(amount)

    def paused(self, moved: float) -> None:
        """Others come first, and something came for them at `moved`: that nothing came here until then is not its
        connection's fault."""
        self.last_moved = max(self.last_moved, moved)

    def give_up(self, error: ExportfsError) -> None:
        """Ends the call for a reason of ours; who still waits for it gets the error."""
        self._over(error)

    def stalled(self, error: ExportfsError) -> None:
        """Nothing came for too long. What is complete is delivered all the same."""
        if self._running is not None:
            self._running.suspect()
        self._over(None if self._release_held() else error)

    def block(self, index: int, data: memoryview, length: int | None = None) -> None:
        if self._has_ended:
            return
        if not data:
            return  # how some servers end a file, or begin one
        now = self._clock()
        self.took = now - max(self.last_moved, self._asked)
        self.last_moved = now
        if self.next == self.first:
            self.began_at = now
        start = self.next * self.chunk_size
        expected = min(self.chunk_size, self.key.size - start)
        if self._held is not None or expected <= 0:
            self._over(Corrupt(f"the file is longer than the {self.key.size} bytes announced"))
        elif index != self.next:
            self._over(Corrupt(f"block {index} came where {self.next} was due"))
        elif (got := len(data) if length is None else length) != expected:
            self._over(WrongLength(f"block {index} has {got} bytes instead of {expected}", got))
        elif index == self._blocks - 1:
            # Whether this is the end shows only when the stream ends: until then nobody gets the last block.
            self._held = Block(start, data)
            self._believe()
        else:
            self.next += 1
            if self._proof and index == self.first:
                self._doubted = Block(start, data)
                return
            self._believe()
            if not self._has_ended:
                self.owner.arrived(self, index, Block(start, data))

    def ended(self, error: ExportfsError | None) -> None:
        stopped = self.stop and self.next >= self._until
        if error is None and self._doubted is not None:
            larger = (self.key.size - self.chunk_size) // self.first
            error = WrongLength(
                f"nothing follows block {self.first}: it may be one of {larger} bytes", larger
            )
        if error is None and not self._release_held() and not stopped:
            at = self.offset
            error = Corrupt(f"the download ended at byte {at} of {self.key.size}")
        if self.next == self.first and self._held is None:
            self.refusal = error
        self._over(error)

    def _believe(self) -> None:
        """What follows the first block shows that it is of the size that was asked for."""
        if self._doubted is not None:
            block, self._doubted = self._doubted, None
            self.owner.arrived(self, self.first, block)

    @property
    def _has_ended(self) -> bool:
        return self.phase is Phase.ENDED

    def _release_held(self) -> bool:
        if self._held is None or self._has_ended:
            return False
        block, self._held = self._held, None
        self.next += 1
        self.owner.arrived(self, self._blocks - 1, block)
        return True

    def _over(self, error: ExportfsError | None) -> None:
        if self.phase is Phase.ENDED:
            return
        self.phase = Phase.ENDED
        if self._running is not None:
            self._running.cancel()
        self.owner.finished(self, error)

    def _bound(self) -> int:
        # Beyond the last block there is still the end of the stream to wait for.
        return self._until + 1 if self._until >= self._blocks else self._until


class WrongLength(Corrupt):
    """A block of another length than asked for: a fault, or a server that sends smaller blocks than it is asked for."""

    def __init__(self, message: str, got: int) -> None:
        super().__init__(message)
        self.got = got
        """Its length in bytes."""


class Preempted(Interrupted):
    """Ended for others to have their turn; no failure."""
