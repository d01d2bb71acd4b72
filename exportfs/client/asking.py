"""Calls into a mount, bounded by whether it answers at all.

A mount bounds its calls itself: the server may take its time, and then there is an error. But where the mount's own
process is stopped, or stuck, a call into it never comes back, and Ctrl-C does not end it. So calls are made in threads,
and where one takes long the mount is asked for something that it always has at hand.
"""

import contextlib
import errno
import os
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from exportfs.bounded import Running, Start, in_a_new_thread
from exportfs.errors import TimedOut
from exportfs.fuse.mountpoint import PROBE_TIMEOUT, mount_table, probe

T = TypeVar("T")

LOOK_EVERY = 1.0
"""Seconds of a call between two looks whether its mount still answers."""
KNOWN_PATIENCE = 0.2
"""Seconds for a mount that did not answer the last time."""
MOST_LINKS = 40
"""On the way to a path, as the kernel has it."""
_silent: set[Path] = set()
"""Mounts that did not answer when they were last asked."""


class MountSilent(TimedOut):
    """The mount does not answer, whatever the server does. What was asked of it may still be done, should it go on."""


def ask(
    path: Path,
    call: Callable[[], T],
    *,
    patience: float = PROBE_TIMEOUT,
    start: Start = in_a_new_thread,
    undo: Callable[[T], None] = lambda _: None,
) -> T:
    """What a call gives that looks at `path`. Raises MountSilent where its mount does not answer for so many seconds,
    and what the call raises. `undo` is given what the call gives when nobody waits for it any more."""
    running = Running(call, start)
    try:
        while not running.over(KNOWN_PATIENCE if _silent else LOOK_EVERY):
            place = _mount_of(path)
            if place is None or _answers(place, patience) or running.over(0):
                continue
            raise MountSilent(f"{place}: does not answer; its process may be stopped")
        return running.result()
    except BaseException:
        running.leave(undo)
        raise


def _answers(place: Path, patience: float) -> bool:
    if probe(place, KNOWN_PATIENCE if place in _silent else patience) == errno.ETIMEDOUT:
        _silent.add(place)
        return False
    _silent.discard(place)
    return True


def open_there(path: Path, flags: int, mode: int = 0o600, *, patience: float = PROBE_TIMEOUT) -> int:
    """A descriptor of what is there, which `close_there` closes. Raises OSError, MountSilent."""
    return ask(
        path, lambda: os.open(path, flags | os.O_CLOEXEC, mode), patience=patience, undo=_close_in_passing
    )


def close_there(path: Path, descriptor: int) -> None:
    """Closes what was only read; left open where the mount does not answer. Raises nothing.

    A close waits for the mount and cannot be ended, not even by SIGKILL. (Nor can the end of the process, which closes
    it; but then all is said and saved.)
    """
    place = _mount_of(path)
    if place is None or _answers(place, PROBE_TIMEOUT):
        _close_in_passing(descriptor)


def _close_in_passing(descriptor: int) -> None:
    with contextlib.suppress(OSError):
        os.close(descriptor)


def _mount_of(path: Path) -> Path | None:
    """Of our mounts the one in which a path lies. Nothing in it is looked at."""
    ours = {entry.place for entry in mount_table() if entry.ours}
    here, links = Path("/"), 0
    rest = deque(Path(os.getcwd(), path).parts)
    while rest:
        part = rest.popleft()
        here = here.parent if part == ".." else here / part
        if here in ours:
            return here
        try:
            target = os.readlink(here)
        except OSError:
            continue
        links += 1
        if links > MOST_LINKS:
            return None
        here = here.parent
        rest.extendleft(reversed(Path(target).parts))
    return None
