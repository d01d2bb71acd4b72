"""Texts that the mount makes: as they are when they are opened."""

from collections.abc import Callable
from typing import Protocol

from exportfs.vfs.node import SECOND, Snapshot, Text


class FixedText(Text):
    """A text that is made anew each time it is opened."""

    def __init__(self, ino: int, text: "TextMaker", moment: float) -> None:
        super().__init__(ino)
        self._text = text
        self._mtime_ns = int(moment * SECOND)

    def snapshot(self) -> Snapshot:
        return Snapshot(self._text(), self._mtime_ns)


class LivingText(Text):
    """A text that tells of something that goes on: its time of modification is that of its latest change."""

    def __init__(self, ino: int, text: "TextMaker", wall: Callable[[], float], moment: float) -> None:
        super().__init__(ino)
        self._text = text
        self._wall = wall
        self._moment = moment
        self._latest = Snapshot(b"", 0)

    def snapshot(self) -> Snapshot:
        text = self._text()
        if text != self._latest.data:
            now_ns = int(self._wall() * SECOND)
            self._latest = Snapshot(text, max(now_ns, self._latest.mtime_ns), int(self._moment * SECOND))
        return self._latest


class TextMaker(Protocol):
    """Makes a text."""

    def __call__(self) -> bytes: ...
