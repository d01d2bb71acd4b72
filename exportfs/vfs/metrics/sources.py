"""Where the numbers are that `.metrics` shows."""

from collections.abc import Callable
from dataclasses import dataclass

from exportfs.metrics import CallCounters, LoginFigures
from exportfs.vfs.context import Context
from exportfs.vfs.status import Activity


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the numbers are. Those of rooms that the tree does not know come from whoever wires the mount."""

    context: Context
    activity: Activity
    server: str
    """Host and port."""
    calls: CallCounters
    login: Callable[[], LoginFigures | None]
    """None where the mount has no login."""
    log_lines_dropped: Callable[[], int]
