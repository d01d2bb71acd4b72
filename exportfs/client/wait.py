"""Waiting for sessions to end, with the clock handed in."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from exportfs.client.asking import MountSilent, ask
from exportfs.client.sessions import SessionRecord, read_session, removed
from exportfs.errors import InvalidArgument, TimedOut
from exportfs.record import ENDED

FIRST_POLL_SECONDS = 0.1
"""Before the second look, twice as long before each further one: short exports are over soon."""
POLL_SECONDS = 1.0
"""Between two looks at most; the mount itself asks the server no more often than its `--refresh`."""
PATIENCE_SECONDS = 60.0
"""A record that cannot be read for this long is an error; until then the mount may mend it."""

Report = Callable[[SessionRecord], None]


@dataclass(frozen=True, slots=True)
class Clock:
    """The time that waiting takes."""

    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep


def wait_for(
    directories: Iterable[Path],
    *,
    timeout: float | None = None,
    report: Report = lambda record: None,
    clock: Clock | None = None,
) -> list[SessionRecord]:
    """Look at the sessions until all have ended; their last records, in the order given.

    `report` is called with every record that was read. TimedOut after `timeout` seconds (None: never);
    OSError, InvalidArgument or MountSilent where a record stays unreadable.
    """
    clock = Clock() if clock is None else clock
    order = list(directories)
    last: dict[Path, SessionRecord] = {}
    unreadable_since: dict[Path, float] = {}
    begin, poll = clock.monotonic(), FIRST_POLL_SECONDS
    while True:
        for directory in order:
            if directory in last and last[directory].state in ENDED:
                continue
            record = _look(directory, unreadable_since, clock.monotonic())
            if record is not None:
                last[directory] = record
                report(record)
        open_ones = [d for d in order if d not in last or last[d].state not in ENDED]
        if not open_ones:
            return [last[directory] for directory in order]
        pause, poll = poll, min(2 * poll, POLL_SECONDS)
        if timeout is not None:
            left = begin + timeout - clock.monotonic()
            if left <= 0:
                raise TimedOut(
                    f"{open_ones[0].name}: still running after {timeout:g} s"
                    + (f", and {len(open_ones) - 1} more" if len(open_ones) > 1 else "")
                )
            pause = min(pause, left)
        clock.sleep(pause)


def _look(directory: Path, unreadable_since: dict[Path, float], now: float) -> SessionRecord | None:
    """The record; None where it cannot be read just now."""
    try:
        record = _read(directory)
    except (OSError, InvalidArgument, MountSilent):
        if now - unreadable_since.setdefault(directory, now) >= PATIENCE_SECONDS:
            raise
        return None
    unreadable_since.pop(directory, None)
    return record


def _read(directory: Path) -> SessionRecord:
    try:
        return read_session(directory)
    except FileNotFoundError:
        # Without `sessions/` it is the mount that is gone, and the session may well go on.
        ask(directory, directory.parent.stat)
        return removed(directory)
