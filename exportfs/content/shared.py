"""What all results of a mount share."""

from dataclasses import dataclass, field

from exportfs.content.block_sizes import BlockSizes
from exportfs.content.cache import BlockCache
from exportfs.content.line import Line
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
    ahead_most: int
    """Bytes that one reader may have read ahead."""
    bytes: int = field(default=0)
    retries: int = field(default=0)
    slow: bool = field(default=False)
    """Whether the server may need long for a first block: the last download of which none came was not given long, or
    the last first block did take long."""

    @property
    def stall(self) -> float:
        """Seconds without a block after which a running download is given up."""
        return self.patience.stall

    def began(self, took: float) -> None:
        """A download brought its first block after so many seconds."""
        self.slow = took > self.stall / 2
        self.scheduler.began(took)
