"""How far to read ahead for one open file: nothing until reading in sequence is proven, then as far again
as has been read, up to a bound. A random read costs what it asks for and no more."""

from dataclasses import dataclass

KIB = 1024
MIB = 1024 * KIB


@dataclass(frozen=True, slots=True)
class WindowConfig:
    """Bounds in bytes."""

    proven: int = 256 * KIB
    """More than this read in sequence proves it: the third request of 128 KiB, the kernel's own read-ahead.
    A thumbnailer's look at a header stays below."""
    slack: int = 512 * KIB
    """Once it is proven, a read this far from the expected offset still counts: the kernel may send its read-ahead out
    of order, and players skip small boxes."""
    near: int = 64 * KIB
    """Until then only a read this near does: of many random reads some always fall close to each other."""
    most: int = 16 * MIB
    """Never further ahead than this."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What one read wants: whether it belongs to sequential reading, and how much beyond its end."""

    proven: bool
    lingering: bool
    """Whether the next read will probably continue here, so that a running download should wait for it."""
    ahead: int
    run: int
    """Bytes read in sequence so far."""


class Window:
    """The reading position of one open file. Only `read` changes it; there is no clock in it."""

    def __init__(self, config: WindowConfig) -> None:
        self._config = config
        self._expected = 0
        self._run = 0

    def read(self, offset: int, length: int) -> Plan:
        """Takes note of a read of `length` bytes at `offset` and says how to serve it."""
        end = offset + length
        config = self._config
        slack = config.slack if self._run > config.proven else config.near
        if self._run and abs(offset - self._expected) <= slack:
            self._run += min(length, max(0, end - self._expected))
            self._expected = max(self._expected, end)
        else:
            self._run = length
            self._expected = end
        # One large request alone proves nothing: the kernel makes one of a read beside a page that it has.
        proven = self._run > config.proven and (self._run > length or offset == 0)
        lingering = self._run > length or offset == 0
        ahead = min(self._run, config.most) if proven else 0
        return Plan(proven, lingering, ahead, self._run)
