"""A process beside a mount from /etc/fstab that takes the mount away when its process has crashed.

mount(8) takes a dead mount for mounted: `mount -a` would pass it over for ever, and an automount would never be asked
again. A mount by hand needs none: the next `axxon-exportfs mount` replaces what crashed.
"""

import contextlib
import ctypes
import os
import select
import signal
from pathlib import Path
from typing import NoReturn

from exportfs.cli.commands.umount import process_of
from exportfs.cli.daemon.background import close_inherited
from exportfs.errors import ExportfsError
from exportfs.fuse.mount import unmount
from exportfs.fuse.mountpoint import MountEntry, is_dead, mount_table, place_of, top

PR_SET_NAME = 15
"""Of prctl(2)."""
TITLE = "mount-guard"
"""What `ps` shows, and the number of the process that is guarded."""


def guard(mountpoint: str) -> None:
    """Begins to guard what was just mounted there; returns at once."""
    entry = top(place_of(Path(mountpoint)), mount_table())
    process = process_of(entry.place) if entry is not None and entry.ours else None
    if entry is None or process is None:
        return
    if os.fork() == 0:
        _child(entry, process.descriptor, f"{TITLE} {process.pid}")
    os.close(process.descriptor)


def _child(entry: MountEntry, process: int, title: str) -> NoReturn:
    """Never returns."""
    with contextlib.suppress(BaseException):
        os.setsid()
        with contextlib.suppress(OSError, AttributeError, ValueError):
            show_as(title)
        os.chdir("/")
        for number in (signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        close_inherited({process})
        for _ in range(3):
            os.open(os.devnull, os.O_RDWR)
        ended = select.poll()
        ended.register(process, select.POLLIN)
        ended.poll()
        take_away(entry)
    os._exit(0)


def show_as(title: str) -> None:
    """Takes another name and command line: whoever kills a mount by its own (`pkill -f`, `killall`) means the mount,
    and would leave it dead for ever. Raises OSError, AttributeError, ValueError where the system has it otherwise."""
    words = os.fsencode(title)
    ctypes.CDLL(None).prctl(PR_SET_NAME, words[:15].partition(b" ")[0], 0, 0, 0)
    with open("/proc/self/stat", "rb") as file:
        # Fields 48 and 49 of proc(5), arg_start and arg_end, counted after the name in brackets.
        fields = file.read().rpartition(b")")[2].split()
    start, end = int(fields[45]), int(fields[46])
    if end - start > len(words):
        ctypes.memset(start, 0, end - start)
        ctypes.memmove(start, words, len(words))


def take_away(entry: MountEntry) -> None:
    """Unmounts it where its process left it behind; nothing else, should something else be there by now."""
    with contextlib.suppress(ExportfsError):
        if entry in mount_table() and is_dead(entry):
            unmount(entry, lazy=True)
