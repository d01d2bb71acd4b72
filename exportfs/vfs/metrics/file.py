"""The node of `.metrics`: found by its name in the root, and not listed."""

import contextlib
import importlib
import sys
from collections.abc import Callable

import trio

from exportfs.vfs.inodes import METRICS
from exportfs.vfs.metrics.sources import Sources
from exportfs.vfs.node import Snapshot
from exportfs.vfs.texts import LivingText

_RENDERER = "exportfs.vfs.metrics.openmetrics"
"""With it comes prometheus_client, whose import takes some 30 ms and looks into /proc: not for mounts whose metrics
nobody reads."""


OLDEST = 1.0
"""Seconds for which the text stands: it takes some milliseconds to make, in the thread that answers everybody, and
looking at a file, opening and reading it are three occasions."""


class MetricsFile(LivingText):
    """`.metrics`"""

    def __init__(self, sources: Sources) -> None:
        super().__init__(METRICS, self._render, sources.context.wall, sources.context.mounted_at)
        self._sources = sources
        self._renderer: Callable[[], bytes] | None = None
        self._recent: tuple[float, Snapshot] | None = None

    async def load(self) -> None:
        """Loads what rendering needs in a thread, while the mount goes on answering. To be awaited before it is looked
        at; without that, the look itself does it."""
        if _RENDERER not in sys.modules:
            with contextlib.suppress(RuntimeError):  # no thread can be started
                await trio.to_thread.run_sync(importlib.import_module, _RENDERER, abandon_on_cancel=True)

    def snapshot(self) -> Snapshot:
        now = trio.current_time()
        if self._recent is None or now - self._recent[0] >= OLDEST:
            self._recent = now, super().snapshot()
        return self._recent[1]

    def _render(self) -> bytes:
        if self._renderer is None:
            from exportfs.vfs.metrics.openmetrics import renderer

            self._renderer = renderer(self._sources)
        return self._renderer()
