"""A running download, as who started it sees it, and who gets its blocks."""

from typing import Protocol

from exportfs.errors import ExportfsError


class Sink(Protocol):
    """Who gets the blocks. Both are called in trio's thread."""

    def block(self, index: int, data: memoryview, length: int | None = None) -> None:
        """length: that of the whole block, where `data` is only its beginning."""

    def ended(self, error: ExportfsError | None) -> None:
        """After the last block: None for a clean end of the stream."""


class Handle(Protocol):
    """A running download, of either kind. In trio's thread."""

    def allow(self, until: int) -> None: ...
    def window(self, amount: int) -> None: ...
    def cancel(self) -> None: ...
    def suspect(self) -> None: ...
