"""Whether an open file is read in sequence: nothing is read ahead until that is proven. Pure, without a clock.

How far to read ahead follows from the line (`content.line`) and is decided where downloads are chosen.
"""

from dataclasses import dataclass

from exportfs.content.tuning import (
    BULK,
    GUESSED,
    KERNEL_WINDOWS,
    LARGE,
    NEAR_PROVEN,
    NEAR_READ,
    PROVEN,
    REORDER,
    REORDER_RUNS,
    REORDERED,
)


@dataclass(slots=True)
class Plan:
    """What one read is part of. Only its methods change it."""

    proven: bool
    """Whether it belongs to sequential reading."""
    lingering: bool
    """Whether the next read will probably continue here, so that a running download should wait for it."""
    run: int
    """Bytes read in sequence so far."""
    jumped: bool
    """Whether it left a sequence for another place."""
    bulk: bool = False
    """Whether it goes on from a first read as copies make it."""
    guess: bool = False
    """Whether it is most probably the kernel's guess: nobody has come to its first byte yet."""
    continued: bool = False
    """Whether it goes on from an earlier read: while reading goes on elsewhere it is the kernel's read-ahead."""
    unwanted: bool = False
    """Whether nobody waits for it any more."""

    def leave(self) -> None:
        """Reading went on elsewhere meanwhile: nothing is to come beyond this read."""
        self.proven = self.lingering = self.bulk = False

    def refuse(self) -> None:
        """The same, and nothing of this read either."""
        self.leave()
        self.unwanted = True


@dataclass(slots=True)
class _Run:
    """What was read in sequence: offsets, and the bytes of it."""

    start: int
    end: int
    read: int
    proven: bool = False
    bulk: bool = False
    last: int = 0
    """Bytes of the last read."""
    doubled: bool = False
    """Whether that was twice as long as the one that it continued."""


class Position:
    """The reading position of one open file. Only `read` changes it.

    Several reads may be under way at once, and come in any order: servers give each request of a client to another
    thread (ganesha, Samba). That shows when gaps that were left are filled, again and again; from then on places close
    to one another are one, and reading is as sequential as all of it together. Who jumps fills no gaps.
    """

    def __init__(self) -> None:
        self._runs: list[_Run] = []
        """Close to one another; the last one was read last."""
        self._filled = 0
        """Gaps, since the last jump."""
        self._plain = 0
        """Bytes since the last of them."""

    def read(self, offset: int, length: int, kernel_ahead: int = 0, *, fast: bool = False) -> Plan:
        """Takes note of a read of `length` bytes at `offset` and says what it is part of. kernel_ahead: bytes of the
        kernel's window of read-ahead. fast: whether the line is. On others each place stays by itself: what is read
        ahead of several is sent twice where they meet (1.15 bytes for each, measured)."""
        enough = PROVEN + KERNEL_WINDOWS * kernel_ahead
        run = self._continued(offset, enough)
        continued, jumped = run is not None, False
        before = run.read if run is not None and run.start == 0 else 0
        if run is not None:
            run.doubled = (offset, length) == (run.end, 2 * run.last)
            more = min(length, max(0, offset + length - run.end))
            run.read += more
            run.end = max(run.end, offset + length)
            self._plain += more
            if self._plain > REORDER:
                self._filled = 0
            self._runs.remove(run)
        else:
            near = [other for other in self._runs if abs(offset - other.end) <= REORDER]
            jumped = bool(self._runs) and not (near and fast and self._reordered)
            self._filled = self._filled if near else 0
            # What is read once more leaves no gap.
            self._runs = [other for other in near if not other.start <= offset < other.end]
            run = _Run(
                offset, offset + length, length, bulk=offset == 0 and length >= max(BULK, kernel_ahead)
            )
        run.last = length
        self._fill(run)
        self._runs = [*self._runs[1 - REORDER_RUNS :], run]
        read = sum(each.read for each in self._runs) if fast and self._reordered else run.read
        # One large request alone proves nothing: the kernel makes one of a read beside a page that it has.
        bulk = fast and length >= LARGE and (offset == 0 or before >= PROVEN)
        run.proven = run.proven or read > enough or bulk
        # So the kernel's windows grow ahead of small reads, each asked for when somebody comes to the one before. The
        # largest come again and again; and a program that asks for so much itself does not begin with so little.
        guess = not run.proven and run.doubled and GUESSED <= length < kernel_ahead
        return Plan(run.proven, read > length or offset == 0, read, jumped, run.bulk, guess, continued)

    @property
    def _reordered(self) -> bool:
        return self._filled >= REORDERED

    def _continued(self, offset: int, enough: int) -> _Run | None:
        """The run that a read at `offset` continues, the one that was read last before others."""
        for run in reversed(self._runs):
            if abs(offset - run.end) <= (NEAR_PROVEN if run.read > enough else NEAR_READ):
                return run
        return None

    def _fill(self, run: _Run) -> None:
        """Takes in those that begin where it has come to."""
        for other in list(self._runs):
            if run.start < other.start <= run.end:
                self._runs.remove(other)
                self._filled += 1
                self._plain = 0
                run.read += max(0, other.end - run.end)
                run.end = max(run.end, other.end)
