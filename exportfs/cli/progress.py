"""Progress bars on standard error. On anything but a terminal they say nothing, and cost no import."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from exportfs.cli.text import human_size, printable


class Bar(Protocol):
    """One line of progress."""

    def update(self, completed: float | None, *, total: float | None = None, note: str | None = None) -> None:
        """`completed` in the bar's unit; None: not known. `total`, where it has become known or changed."""

    def done(self) -> None:
        """Take the line away."""


class Bars(Protocol):
    """All lines of one command."""

    def bar(self, label: str, total: float | None, note: str = "") -> Bar:
        """A new line. `total` in bytes, or in any unit for `shares`; None: unknown."""

    def say(self, text: str) -> None:
        """A line above the bars."""


class _Quiet:
    def bar(self, label: str, total: float | None, note: str = "") -> Bar:
        return self

    def say(self, text: str) -> None:
        pass

    def update(self, completed: float | None, *, total: float | None = None, note: str | None = None) -> None:
        pass

    def done(self) -> None:
        pass


class _RichBar:
    def __init__(self, progress: Any, label: str, total: float | None, note: str) -> None:
        self.progress = progress
        self.task = progress.add_task(_plain(label), total=total, note=_plain(note))

    def update(self, completed: float | None, *, total: float | None = None, note: str | None = None) -> None:
        changes: dict[str, Any] = {}
        if note is not None:
            changes["note"] = _plain(note)
        if completed is not None:
            changes["completed"] = completed
            if total is not None:
                changes["total"] = total
        self.progress.update(self.task, **changes)

    def done(self) -> None:
        self.progress.remove_task(self.task)


class _RichBars:
    def __init__(self, progress: Any) -> None:
        self.progress = progress

    def bar(self, label: str, total: float | None, note: str = "") -> Bar:
        return _RichBar(self.progress, label, total, note)

    def say(self, text: str) -> None:
        self.progress.console.print(printable(text), markup=False, highlight=False)


def _plain(text: str) -> str:
    """For rich's markup: a name with brackets in it stays as it is."""
    from rich.markup import escape

    return escape(printable(text))


@contextmanager
def shares() -> Iterator[Bars]:
    """Bars of parts of a whole: percent, a note, the time that remains."""
    if not visible():
        yield _Quiet()
        return
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[note]}"),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=_console(), transient=True) as progress:
        yield _RichBars(progress)


@contextmanager
def transfers() -> Iterator[Bars]:
    """Bars of bytes: size, rate, the time that remains."""
    if not visible():
        yield _Quiet()
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        Task,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.text import Text

    class Speed(TransferSpeedColumn):
        """In the same units as the sizes beside it."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{human_size(speed)}/s", style="progress.data.speed")

    columns = (
        TextColumn("{task.description}"),
        TextColumn("{task.fields[note]}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        Speed(),
        TimeRemainingColumn(compact=True),
    )
    with Progress(*columns, console=_console(), transient=True) as progress:
        yield _RichBars(progress)


def visible() -> bool:
    """Whether there is a terminal to draw on."""
    return sys.stderr.isatty()


def _console() -> Any:
    from rich.console import Console

    return Console(stderr=True)
