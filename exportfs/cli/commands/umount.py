"""`umount`: when it returns, the mount, its process and its login are gone, or it says what is not."""

import contextlib
import errno
import json
import os
import select
import threading
from dataclasses import dataclass
from pathlib import Path

import click

from exportfs.cli.failures import complain
from exportfs.cli.params.arguments import MOUNTPOINT
from exportfs.cli.params.mountpoint import chosen_mount
from exportfs.client.mounts import owner_of
from exportfs.errors import ExportfsError
from exportfs.fuse.holders import holders
from exportfs.fuse.mount import unmount
from exportfs.fuse.mountpoint import FILESYSTEM_TYPE, mount_table, place_of, probe, top
from exportfs.record import STATUS

PROCESS_TIMEOUT = 5.0
"""Seconds that `umount` waits for the login to be closed and the process to end."""
HOLDERS_AFTER = 0.2
"""Seconds after which a process that has not ended is taken for held by somebody."""
ANSWER_TIMEOUT = 2.0
"""Seconds for the mount to say which process serves it."""


@dataclass(frozen=True, slots=True)
class Process:
    """The one that serves a mount."""

    pid: int
    descriptor: int
    """Becomes readable when it ends."""

    def ended(self, within: float) -> bool:
        """Waits for it."""
        waiting = select.poll()
        waiting.register(self.descriptor, select.POLLIN)
        return bool(waiting.poll(within * 1000))


@click.command()
@MOUNTPOINT
@click.option(
    "--lazy", is_flag=True, help="Detach now even if it is in use; it ends when the last user does."
)
def umount(mountpoint: Path | None, lazy: bool) -> int:
    """End a mount.

    MOUNTPOINT may be left out where you have mounted one alone; which it was is said then.
    Its login on the server is closed, and its process ends; a copy of the mount in another mount namespace (a
    container, `unshare -m`) ends with it. The exit code is 1 where the process has not ended after 5 seconds.
    """
    if mountpoint is None:
        mountpoint = chosen_mount(None, own=True)
        complain(f"unmounting {mountpoint}")
    place = place_of(mountpoint)
    before = mount_table()
    entry = top(place, before)
    if entry is None:
        raise ExportfsError(
            f"cannot unmount {mountpoint}: nothing is mounted there; see `axxon-exportfs status`"
        )
    if not entry.ours:
        raise ExportfsError(
            f"cannot unmount {mountpoint}: it is of type {entry.fs_type}, not {FILESYSTEM_TYPE}; use `umount`"
        )
    if os.geteuid() not in (0, entry.user_id) and (owner := owner_of(entry)):
        raise ExportfsError(f"cannot unmount {mountpoint}: user {owner} mounted it; that user or root can")
    if not lazy and probe(place) == errno.ETIMEDOUT:
        # It would be busy, if only with what we have asked.
        raise ExportfsError(
            f"cannot unmount {mountpoint}: it does not answer; its process may be stopped: let that go on "
            "(`kill -CONT PID`), or add --lazy"
        )
    process = None if lazy else process_of(place)
    unmount(entry, lazy=lazy)
    # Of those before: a later one may have got its numbers.
    still = [other.place for other in before if other.device == entry.device and other != entry]
    still = [place for place in still if place in {other.place for other in mount_table()}]
    if still:
        places = ", ".join(map(str, still))
        complain(f"{mountpoint} is unmounted; it is still mounted at {places}, so its process and login stay")
        return 0
    if process is None:
        return 0
    with contextlib.closing(os.fdopen(process.descriptor)):
        # Looked for only now: from most namespaces, such as those of system services, it goes by itself.
        others = [] if process.ended(HOLDERS_AFTER) else holders(entry.device)
        if not process.ended(PROCESS_TIMEOUT):
            complain(
                f"{mountpoint} is unmounted, but process {process.pid}, which served it, has not ended after "
                f"{PROCESS_TIMEOUT:g} s: its login on the server may still be open"
            )
            return 1
    for other in others:
        complain(f"the copy of the mount in the mount namespace of {other} has ended with it")
    return 0


def process_of(place: Path) -> Process | None:
    """Which process serves the mount, in its own words; None where it does not say."""
    said: list[bytes] = []

    def ask() -> None:
        with contextlib.suppress(OSError):
            said.append((place / STATUS).read_bytes())

    # In a thread: a call into a mount whose process is stopped cannot be given up.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ANSWER_TIMEOUT)
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, IndexError):
        pid = int(json.loads(said[0])["pid"])
        # Where it runs in another pid namespace its number is somebody else's here.
        if b"exportfs" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return Process(pid, os.pidfd_open(pid))
    return None
