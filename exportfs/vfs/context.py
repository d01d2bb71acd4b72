"""What the nodes of the tree need: the parts behind it, gathered in one place."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from exportfs.cameras.catalogue import Cameras
from exportfs.cameras.footage import FootageReader
from exportfs.content.library import Library
from exportfs.metrics import RequestCounters
from exportfs.sessions.catalogue import Catalogue
from exportfs.sessions.control import Actions
from exportfs.sessions.journal import Journal
from exportfs.sessions.keeper import Keeper
from exportfs.sessions.ledger import Ledger
from exportfs.sessions.starter import Submitter
from exportfs.vfs.inodes import Inodes
from exportfs.vfs.node import Owner


@dataclass(frozen=True, slots=True)
class Context:
    """The parts of one mount."""

    catalogue: Catalogue
    keeper: Keeper
    submitter: Submitter
    actions: Actions
    ledger: Ledger
    journal: Journal
    library: Library
    cameras: Cameras
    footage: FootageReader
    requests: RequestCounters
    inodes: Inodes
    owner: Owner
    wall: Callable[[], float]
    """Unix time."""
    mounted_at: float
    mountpoint: Path
    timeout: float
    """Seconds."""
    read_only: bool
    agent: str | None
    start_soon: Callable[..., None]
    """Starts a task that outlives the call that wanted it (`nursery.start_soon` of the mount)."""

    @property
    def cache_timeout(self) -> float:
        """Seconds for which the kernel may keep what it was told of sessions."""
        return self.catalogue.kernel_seconds
