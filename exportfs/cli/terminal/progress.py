"""Progress bars on standard error. On anything but a terminal they say nothing, and cost no import."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from exportfs.cli.terminal.output import printable
from exportfs.units import human_size

_WIDE = 80
"""Columns of a terminal from which on everything is shown."""
_SHORT_BAR, _LONG_BAR = 8, 20
_LEAST_LABEL = 12
# What stands beside a label takes at most so many columns, each with a blank before it.
_SIZES, _SPEED, _PHASE, _STATE, _PERCENT, _REMAINING = 19, 13, 10, 14, 5, 8


class Bar(Protocol):
    """One line of progress."""

    def update(
        self,
        completed: float | None,
        *,
        total: float | None = None,
        note: str | None = None,
        label: str | None = None,
    ) -> None:
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

    def update(
        self,
        completed: float | None,
        *,
        total: float | None = None,
        note: str | None = None,
        label: str | None = None,
    ) -> None:
        pass

    def done(self) -> None:
        pass


class _RichBar:
    def __init__(self, progress: Any, label: str, total: float | None, note: str) -> None:
        self.progress = progress
        self.task = progress.add_task(printable(label), total=total, note=printable(note))

    def update(
        self,
        completed: float | None,
        *,
        total: float | None = None,
        note: str | None = None,
        label: str | None = None,
    ) -> None:
        changes: dict[str, Any] = {}
        if label is not None:
            changes["description"] = printable(label)
        if note is not None:
            changes["note"] = printable(note)
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


@contextmanager
def shares() -> Iterator[Bars]:
    """Bars of parts of a whole: percent, a note, the time that remains."""
    if not visible():
        yield _Quiet()
        return
    with _progress(sizes=False) as progress:
        yield _RichBars(progress)


@contextmanager
def transfers() -> Iterator[Bars]:
    """Bars of bytes: size, rate, the time that remains."""
    if not visible():
        yield _Quiet()
        return
    with _progress(sizes=True) as progress:
        yield _RichBars(progress)


def _progress(*, sizes: bool) -> Any:
    """Bars of rich's. In a narrow window there are fewer columns, and long labels lose their middle: size, percent and
    time are what matters."""
    from rich.progress import (
        BarColumn,
        Progress,
        ProgressColumn,
        Task,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )
    from rich.text import Text

    console = _console()
    wide = console.width >= _WIDE
    bar = _LONG_BAR if console.width >= _WIDE + _LONG_BAR else _SHORT_BAR
    beside = bar + 1 + _REMAINING
    beside += _SIZES + (_SPEED + _PHASE if wide else 0) if sizes else _PERCENT + _STATE
    room = max(_LEAST_LABEL, console.width - beside)

    class Label(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(shortened(task.description, room), no_wrap=True)

    class Sizes(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(amount(task.completed, task.total), style="progress.download", no_wrap=True)

    class Speed(TransferSpeedColumn):
        """In the same units as the sizes beside it."""

        def render(self, task: Task) -> Text:
            speed = task.finished_speed or task.speed
            return Text("" if speed is None else f"{human_size(speed)}/s", style="progress.data.speed")

    columns: list[ProgressColumn] = [Label(), BarColumn(bar_width=bar)]
    columns.append(Sizes() if sizes else TaskProgressColumn())
    if sizes and wide:
        columns.append(Speed())
    if not sizes or wide:
        columns.append(TextColumn("{task.fields[note]}", markup=False))
    columns.append(TimeRemainingColumn(compact=True))
    return Progress(*columns, console=console, transient=True)


def shortened(text: str, room: int) -> str:
    """Without its middle, where it takes more than `room`: both ends of a name tell it from others."""
    if len(text) <= room:
        return text
    end = (room - 1) // 2
    return f"{text[: room - 1 - end]}…{text[len(text) - end :]}"


def amount(done: float, total: float | None) -> str:
    """`1.2 of 8.0 GiB`; without a total, `1.2 GiB`."""
    if total is None:
        return human_size(done)
    number, unit = human_size(total).split()
    of = done / total * float(number) if total else 0.0
    return f"{of:.0f} of {number} {unit}" if unit == "B" else f"{of:.1f} of {number} {unit}"


class Counted:
    """Bars with a line above them that counts them all: `3 of 7`, and the bytes of all."""

    def __init__(self, bars: Bars, count: int, size: int) -> None:
        self._bars = bars
        self._count = count
        self._size = size
        self._ended = 0
        self._before = 0.0
        """Bytes of those that have ended."""
        self._line = bars.bar(self._label(), float(size)) if count > 1 else None

    def bar(self, label: str, total: float | None, note: str = "") -> Bar:
        return _CountedBar(self, self._bars.bar(label, total, note), total or 0.0)

    def say(self, text: str) -> None:
        self._bars.say(text)

    def under_way(self, done: float) -> None:
        """So many bytes of the one that is drawn now."""
        if self._line is not None:
            self._line.update(self._before + done)

    def ended(self, size: float) -> None:
        """One more, whatever came of it."""
        self._ended += 1
        self._before += size
        if self._line is not None:
            self._line.update(self._before, label=self._label())

    def _label(self) -> str:
        return f"{self._ended} of {self._count}"


class _CountedBar:
    def __init__(self, counted: Counted, bar: Bar, total: float) -> None:
        self._counted = counted
        self._bar = bar
        self._total = total
        self._most = 0.0

    def update(
        self,
        completed: float | None,
        *,
        total: float | None = None,
        note: str | None = None,
        label: str | None = None,
    ) -> None:
        self._bar.update(completed, total=total, note=note, label=label)
        # What is verified after it was copied begins anew.
        self._most = max(self._most, completed or 0.0)
        self._counted.under_way(self._most)

    def done(self) -> None:
        self._bar.done()
        self._counted.ended(self._total)


def visible() -> bool:
    """Whether there is a terminal to draw on."""
    return sys.stderr.isatty()


def _console() -> Any:
    from rich.console import Console

    return Console(stderr=True)
