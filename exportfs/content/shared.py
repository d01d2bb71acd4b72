"""What all results of a mount share."""

from exportfs.content.cache import BlockCache
from exportfs.content.chunks import Chunks
from exportfs.content.slots import Slots
from exportfs.content.source import Remote
from exportfs.core.patience import PatienceConfig


class Shared:
    """What all results of a mount share."""

    def __init__(
        self, cache: BlockCache, slots: Slots, chunks: Chunks, remote: Remote, patience: PatienceConfig
    ) -> None:
        self.cache = cache
        self.slots = slots
        self.chunks = chunks
        self.remote = remote
        self.patience = patience
        self.stall = patience.stall
        self.bytes = 0
        self.retries = 0
