"""Mounting and unmounting, with the kernel's own calls as root and with fusermount3 as anybody else.

Not by libfuse: its fusermount3 dies of a signal that was meant for us (systemd sends it to all processes of a unit) and
leaves a dead mount, as root it forks a mount(8), and what it says of a failure goes to nobody.
"""

import contextlib
import ctypes
import errno
import fcntl
import logging
import os
import select
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from exportfs.errors import ExportfsError
from exportfs.fuse.mountpoint import (
    FILESYSTEM_TYPE,
    FS_TYPE,
    MountEntry,
    check_directory,
    is_dead,
    mount_table,
    place_of,
    top,
)
from exportfs.fuse.reason import reason

log = logging.getLogger(__name__)

MS_RDONLY, MS_NOSUID, MS_NODEV = 1, 2, 4
"""Of mount(2)."""
MNT_DETACH, UMOUNT_NOFOLLOW = 2, 8
"""Of umount(2)."""
HELPER_TIMEOUT = 20.0
"""Seconds for one fusermount3, which takes milliseconds."""
UNMOUNT_TIMEOUT = 5.0
"""Seconds for the tries at unmounting; between two of them RETRY_SECONDS."""
RETRY_SECONDS = 0.1
BUSY_TIMEOUT = 0.5
"""Seconds after which a mount that is busy is believed to be so."""
LOCK_TIMEOUT = 5.0
"""Seconds to wait for somebody else who mounts at the same place. After that it is tried all the same."""


@dataclass(frozen=True, slots=True)
class Mounted:
    """A mount that we made."""

    place: Path
    device: str
    """By which it is known for as long as it is mounted anywhere. After that the kernel may give it to another."""
    descriptor: int
    """Of /dev/fuse."""

    def connected(self) -> bool:
        """Whether the kernel still has it: neither the last of it was unmounted nor was it aborted."""
        asked = select.poll()
        asked.register(self.descriptor, 0)
        return not any(events & select.POLLERR for _, events in asked.poll(0))


def mount(mountpoint: Path, *, source: str, read_only: bool, allow_other: bool) -> Mounted:
    """Mounts, also over one of ours that crashed. Raises ExportfsError with what to do."""
    place = place_of(mountpoint)
    _replace_dead(place)
    with _alone_at(place):
        there = top(place, mount_table())
        if there is not None and there.fs_type != "autofs":
            raise ExportfsError(f"something was mounted at {place} meanwhile")
        check_directory(place)
        descriptor = _mount(place, source, read_only=read_only, allow_other=allow_other)
        entry = top(place, mount_table())
        if entry is None or not entry.ours:
            os.close(descriptor)
            raise ExportfsError(f"what was mounted at {place} was unmounted at once: try again")
    return Mounted(place, entry.device, descriptor)


def _replace_dead(place: Path) -> None:
    """Takes away what crashed mounts of ours left there. Raises ExportfsError where that is not allowed."""
    while (there := top(place, mount_table())) is not None and is_dead(there):
        log.warning("replacing a mount at %s that was left behind", place)
        unmount(there, lazy=True)


@contextlib.contextmanager
def _alone_at(place: Path) -> Iterator[None]:
    """Two that mount at one place at a time would end up one over the other."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        check_directory(place)
        raise _failed(place, error.strerror or str(error)) from None
    try:
        end = time.monotonic() + LOCK_TIMEOUT
        while time.monotonic() < end:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(RETRY_SECONDS)
            except OSError:
                break  # no locks on that filesystem
        yield
    finally:
        os.close(descriptor)


def _mount(place: Path, source: str, *, read_only: bool, allow_other: bool) -> int:
    """The descriptor to serve. Raises ExportfsError."""
    if os.geteuid() != 0:
        return _mount_by_helper(place, source, read_only=read_only, allow_other=allow_other)
    try:
        return _mount_by_kernel(place, source, read_only=read_only, allow_other=allow_other)
    except PermissionError as error:
        # A root without the right to mount, in a container; fusermount3 may be allowed to.
        if shutil.which("fusermount3") is None:
            raise _failed(place, error.strerror or str(error)) from None
        return _mount_by_helper(place, source, read_only=read_only, allow_other=allow_other)
    except OSError as error:
        raise _failed(place, error.strerror or str(error)) from None


def _mount_by_kernel(place: Path, source: str, *, read_only: bool, allow_other: bool) -> int:
    descriptor = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        flags = MS_NOSUID | MS_NODEV | (MS_RDONLY if read_only else 0)
        options = [
            f"fd={descriptor}",
            "rootmode=40000",
            f"user_id={os.getuid()}",
            f"group_id={os.getgid()}",
            "default_permissions",
            *(["allow_other"] if allow_other else []),
        ]
        source_bytes, place_bytes = os.fsencode(source), os.fsencode(place)
        words = ",".join(options).encode()
        _call("mount", source_bytes, place_bytes, FILESYSTEM_TYPE.encode(), ctypes.c_ulong(flags), words)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _mount_by_helper(place: Path, source: str, *, read_only: bool, allow_other: bool) -> int:
    """As libfuse does it: fusermount3 sends the descriptor through a socket."""
    options = [f"fsname={_escaped(source)}", f"subtype={FS_TYPE}", "nosuid", "nodev", "default_permissions"]
    options += ["ro"] if read_only else []
    options += ["allow_other"] if allow_other else []
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            command = ["fusermount3", "-o", ",".join(options), "--", os.fspath(place)]
            _, said = _run_helper(command, {"_FUSE_COMMFD": str(theirs.fileno())}, theirs.fileno())
        ours.settimeout(HELPER_TIMEOUT)
        _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
    if not descriptors:
        raise _failed(place, said or "fusermount3 failed")
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]


def _escaped(option: str) -> str:
    return option.replace("\\", "\\\\").replace(",", "\\,")


def _failed(place: Path, why: str) -> ExportfsError:
    return ExportfsError(f"cannot mount at {place}: {reason(why, 'the system refused it')}")


def _run_helper(command: list[str], environment: dict[str, str], *descriptors: int) -> tuple[bool, str]:
    """Whether fusermount3 succeeds, and what it says on standard error. A signal to our whole group does not end it."""
    # Inherited through exec. Not preexec_fn: that forks, and gRPC's handlers break a fork.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT, signal.SIGHUP))
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=descriptors,
            start_new_session=True,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", **environment},
        )
    except OSError as error:
        return False, f"failed to exec {command[0]}: {error.strerror}"
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    try:
        said = process.communicate(timeout=HELPER_TIMEOUT)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        return False, f"{command[0]}: did not end within {HELPER_TIMEOUT:g} s"
    return process.returncode == 0, said.decode(errors="replace").strip()


def unmount(entry: MountEntry, *, lazy: bool = False, within: float = UNMOUNT_TIMEOUT) -> None:
    """Unmounts this very mount, and verifies it in the table; what may pass is tried again.

    Raises ExportfsError with what to do where that fails. One that is gone already is not a failure.
    """
    begun = time.monotonic()
    while not _gone(entry):
        there = top(entry.place, mount_table())
        if there is not None and there.id != entry.id:
            raise ExportfsError(f"cannot unmount {entry.place}: something else is mounted over it")
        why = _unmount_once(entry, lazy=lazy)
        # Not looked up where it succeeded: the next one there may have the very same numbers.
        if why is None or _gone(entry):
            return
        busy = "busy" in why.lower()
        # Also who has just closed its last file uses the mount for a moment.
        if time.monotonic() - begun > (min(BUSY_TIMEOUT, within) if busy else within):
            hint = "; close what still uses it, or add --lazy" if busy else ""
            raise ExportfsError(f"cannot unmount {entry.place}: {why or 'it stays mounted'}{hint}")
        time.sleep(RETRY_SECONDS)


def _gone(entry: MountEntry) -> bool:
    known = (entry.id, entry.device, entry.place)
    return all((other.id, other.device, other.place) != known for other in mount_table())


def _unmount_once(entry: MountEntry, *, lazy: bool) -> str | None:
    """Why not; None where it succeeded."""
    if os.geteuid() == 0:
        number = _unmount_by_kernel(entry, lazy=lazy)
        if number != errno.EPERM or shutil.which("fusermount3") is None:
            return os.strerror(number) if number else None
    command = ["fusermount3", "-u", *(["-z"] if lazy else []), "--", os.fspath(entry.place)]
    succeeded, said = _run_helper(command, {})
    said = " ".join(said.removeprefix("fusermount3: ").split())
    return None if succeeded else said.removeprefix(f"failed to unmount {entry.place}: ")


def _unmount_by_kernel(entry: MountEntry, *, lazy: bool) -> int:
    """With umount(2); its errno, 0 where it succeeded."""
    result: list[int] = []

    def call() -> None:
        try:
            (_detach if lazy else _umount2)(entry)
            result.append(0)
        except OSError as error:
            result.append(error.errno or errno.EIO)

    # In a thread: the last user of a filesystem waits for what its process still has to answer, and we are that.
    thread = threading.Thread(target=call, name="unmount", daemon=True)
    thread.start()
    thread.join(UNMOUNT_TIMEOUT)
    return result[0] if result else errno.ETIMEDOUT


def _detach(entry: MountEntry) -> None:
    """By a descriptor, which cannot mean another that was mounted there in between. Raises OSError."""
    held = os.open(entry.place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if _mount_id(held) != entry.id:
            raise OSError(errno.EINVAL, "something else is mounted over it")
        _call("umount2", f"/proc/self/fd/{held}".encode(), MNT_DETACH)
    finally:
        os.close(held)


def _umount2(entry: MountEntry) -> None:
    """Not by a descriptor: it would make the mount busy. Raises OSError."""
    _call("umount2", os.fsencode(entry.place), UMOUNT_NOFOLLOW)


def _call(name: str, *arguments: object) -> None:
    """A function of the C library. Raises OSError."""
    if getattr(ctypes.CDLL(None, use_errno=True), name)(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _mount_id(descriptor: int) -> int | None:
    for line in Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == "mnt_id":
            return int(value)
    return None


def unmount_ours(mounted: Mounted) -> None:
    """Lazily unmounts our mount and its bind mounts in this namespace, the newest first; says in the log what stays."""
    for entry in reversed(mount_table()):
        # Once the kernel has given it up, its device may be another's already: then only what is as dead as ours goes.
        if entry.ours and entry.device == mounted.device and (mounted.connected() or is_dead(entry)):
            try:
                unmount(entry, lazy=True)
            except ExportfsError as error:
                log.warning("%s", error)
