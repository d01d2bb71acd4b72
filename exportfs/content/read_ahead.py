"""Whether an open file is read in sequence: nothing is read ahead until that is proven. Pure, without a clock.

How far to read ahead follows from the line (`content.line`) and is decided where downloads are chosen.
"""

from dataclasses import dataclass

from exportfs.content.tuning import KERNEL_WINDOWS, NEAR_PROVEN, NEAR_READ, PROVEN


@dataclass(frozen=True, slots=True)
class Plan:
    """What one read is part of."""

    proven: bool
    """Whether it belongs to sequential reading."""
    lingering: bool
    """Whether the next read will probably continue here, so that a running download should wait for it."""
    run: int
    """Bytes read in sequence so far."""
    jumped: bool
    """Whether it left a sequence for another place."""


class Position:
    """The reading position of one open file. Only `read` changes it."""

    def __init__(self) -> None:
        self._expected = 0
        self._run = 0

    def read(self, offset: int, length: int, kernel_ahead: int = 0) -> Plan:
        """Takes note of a read of `length` bytes at `offset` and says what it is part of. kernel_ahead: bytes of the
        kernel's window of read-ahead."""
        end = offset + length
        enough = PROVEN + KERNEL_WINDOWS * kernel_ahead
        near = NEAR_PROVEN if self._run > enough else NEAR_READ
        jumped = False
        if self._run and abs(offset - self._expected) <= near:
            self._run += min(length, max(0, end - self._expected))
            self._expected = max(self._expected, end)
        else:
            jumped = self._run > 0
            self._run = length
            self._expected = end
        # One large request alone proves nothing: the kernel makes one of a read beside a page that it has.
        return Plan(self._run > enough, self._run > length or offset == 0, self._run, jumped)
