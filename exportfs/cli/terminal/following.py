"""Waiting for sessions with a bar for each, and saying how they ended."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exportfs.cli.failures import complain
from exportfs.cli.terminal.progress import Bar, Bars, shares
from exportfs.client.endings import ending, footage_lines
from exportfs.client.sessions import SessionRecord
from exportfs.client.wait import Clock, wait_for
from exportfs.record import COMPLETED, ENDED
from exportfs.units import human_size


def follow(
    directories: list[Path], *, timeout: float | None = None, clock: Clock | None = None
) -> list[SessionRecord]:
    """`wait_for` with a bar for each session, on a terminal."""
    clock = Clock() if clock is None else clock
    with shares() as bars:
        display = _Display(bars, clock, len(set(directories)))
        return wait_for(directories, timeout=timeout, report=display.show, clock=clock)


FOOTAGE_MISSING = 3
"""Exit code where everything worked, and results hold less than was asked for."""


def verdict(records: list[SessionRecord]) -> int:
    """Lines on stderr for each session that did not complete, or lacks footage; the exit code.

    0 all is there (as far as can be told); 1 one did not complete or has no result at all; 3 footage is missing.
    """
    for record in records:
        if record.state != COMPLETED:
            complain(ending(record))
        for line in footage_lines(record):
            complain(line)
    if any(record.state != COMPLETED or record.empty for record in records):
        return 1
    return FOOTAGE_MISSING if any(record.partial for record in records) else 0


@dataclass(slots=True)
class Pace:
    """How fast an export goes, from what was seen of it."""

    footage: float | None
    """Seconds of the archive interval; None where unknown."""
    begin: tuple[float, float] | None = None
    """Time and share of the first look."""

    def rate(self, now: float, share: float) -> str:
        """`8.2x`: seconds of footage for each second; empty while there is nothing to tell."""
        if self.begin is None:
            self.begin = (now, share)
        elapsed, moved = now - self.begin[0], share - self.begin[1]
        if self.footage is None or elapsed <= 0 or moved <= 0:
            return ""
        return f"{moved * self.footage / elapsed:.1f}x"


@dataclass(slots=True)
class _Display:
    bars: Bars
    clock: Clock
    count: int
    """Of all sessions."""
    total: Bar | None = None
    """The line that counts them, where they are several."""
    latest: dict[Path, SessionRecord] = field(default_factory=dict)
    lines: dict[Path, tuple[Bar, Pace]] = field(default_factory=dict)

    def show(self, record: SessionRecord) -> None:
        if self.total is None and self.count > 1:
            self.total = self.bars.bar("", float(self.count))
        if record.directory not in self.lines:
            bar = self.bars.bar(record.name, 1.0 if record.progress is not None else None)
            self.lines[record.directory] = (bar, Pace(footage_seconds(record.raw.get("options"))))
        self._count(record)
        bar, pace = self.lines[record.directory]
        if record.state in ENDED:
            bar.done()
            return
        rate = pace.rate(self.clock.monotonic(), record.progress) if record.progress is not None else ""
        bar.update(record.progress, total=1.0, note=" ".join(filter(None, (record.state, rate))))

    def _count(self, record: SessionRecord) -> None:
        """`3 of 7`, and the size of the results that are there."""
        self.latest[record.directory] = record
        if self.total is None:
            return
        seen = self.latest.values()
        ended = [one for one in seen if one.state in ENDED]
        share = len(ended) + sum(one.progress or 0.0 for one in seen if one.state not in ENDED)
        size = sum(one.size for one in ended)
        self.total.update(share, note=human_size(size) if size else "", label=f"{len(ended)} of {self.count}")


def footage_seconds(options: object) -> float | None:
    """Length of the archive interval in a session's options; None for anything else."""
    archive = _member(options, "archive")
    ends = [
        _moment(_member(archive, "startTimestamp", "start_timestamp")),
        _moment(_member(archive, "endTimestamp", "end_timestamp")),
    ]
    if ends[0] is None or ends[1] is None:
        return None
    seconds = (ends[1] - ends[0]).total_seconds()
    return seconds if seconds > 0 else None


def _member(value: object, *names: str) -> Any:
    if not isinstance(value, Mapping):
        return None
    return next((value[name] for name in names if name in value), None)


def _moment(text: object) -> datetime | None:
    """Of the server's form (UTC without saying so) or RFC 3339."""
    if not isinstance(text, str):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
