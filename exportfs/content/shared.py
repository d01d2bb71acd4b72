"""What all results of a mount share."""

from collections.abc import Callable
from dataclasses import dataclass, field

from exportfs.content.block_sizes import BlockSizes
from exportfs.content.budget import Budget
from exportfs.content.cache import BlockCache
from exportfs.content.choice import ahead
from exportfs.content.line import Line
from exportfs.content.read_ahead import Plan
from exportfs.content.scheduler import Scheduler
from exportfs.content.source import Remote
from exportfs.retry import PatienceConfig


@dataclass
class Shared:
    """What all results of a mount share."""

    cache: BlockCache
    scheduler: Scheduler
    block_sizes: BlockSizes
    line: Line
    remote: Remote
    patience: PatienceConfig
    budget: Budget
    received: Callable[[int], None]
    """Told how many bytes have come."""
    sequential: set[object] = field(default_factory=set)
    """Readers that are known to read in sequence."""
    bytes: int = field(default=0)
    retries: int = field(default=0)
    reading: int = field(default=0)
    """Reads under way."""
    slow: bool = field(default=False)
    """Whether the server may need long for a first block: the last download of which none came was not given long, or
    the last first block did take long."""

    @property
    def stall(self) -> float:
        """Seconds without a block after which a running download is given up."""
        return self.patience.stall

    def ahead(self, plan: Plan, *, wide: bool, chunk_size: int) -> int:
        """Bytes to be read ahead of a reader, in blocks of this size."""
        line = self.line
        return ahead(
            plan,
            wide=wide,
            near=line.quick,
            window=line.window,
            round_trip=line.bytes_in_a_round_trip,
            chunk_size=chunk_size,
            most=self.budget.ahead(len(self.sequential)),
        )

    def began(self, took: float) -> None:
        """A download brought its first block after so many seconds."""
        self.slow = took > self.stall / 2
        self.scheduler.began(took)
