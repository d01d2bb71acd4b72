"""The mount itself: checks of the mount point, mounting, serving, unmounting."""

import contextlib
import errno
import logging
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pyfuse3

from exportfs.errors import ExportfsError
from exportfs.fuse.operations import ExportOperations

log = logging.getLogger(__name__)

FS_TYPE = "axxon-exportfs"
"""Shown as fuse.axxon-exportfs."""
MOST_TASKS = 4096
"""Requests served at a time: each waits in a task of its own, so that slow reads never keep a getattr waiting.
pyfuse3's default of 99 would."""
READ_AHEAD_KIB = 1024
"""Of the kernel; FUSE gets 128 KiB and no option for more, but root may write the device's setting. Larger requests
halve the CPU of sequential reading."""


def check_mountpoint(mountpoint: Path) -> None:
    """Raises ExportfsError with what to do, where nothing can be mounted there. Replaces a mount that crashed."""
    if not Path("/dev/fuse").exists():
        raise ExportfsError(
            "/dev/fuse is missing: load the kernel's module with `modprobe fuse`, or install fuse3"
        )
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise ExportfsError(
            "/dev/fuse may not be opened: ask an administrator for access to it (chmod 666 /dev/fuse)"
        )
    if shutil.which("fusermount3") is None and os.geteuid() != 0:
        raise ExportfsError("fusermount3 is missing: install the package fuse3")
    try:
        status = mountpoint.stat()
    except FileNotFoundError:
        raise ExportfsError(
            f"the mount point {mountpoint} does not exist: create it with `mkdir -p {mountpoint}`"
        ) from None
    except PermissionError:
        raise ExportfsError(
            f"the mount point {mountpoint} may not be looked at: choose another one"
        ) from None
    except OSError as error:
        if error.errno not in (errno.ENOTCONN, errno.ECONNABORTED):
            raise ExportfsError(f"the mount point {mountpoint} cannot be used: {error.strerror}") from None
        log.warning("replacing a mount at %s that was left behind", mountpoint)
        unmount(mountpoint, lazy=True)
        status = mountpoint.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise ExportfsError(f"the mount point {mountpoint} is not a directory: choose another one")
    if os.path.ismount(mountpoint):
        raise ExportfsError(
            f"something is mounted at {mountpoint} already: unmount it with `axxon-exportfs umount {mountpoint}`"
        )
    try:
        if any(mountpoint.iterdir()):
            raise ExportfsError(f"the mount point {mountpoint} is not empty: choose an empty directory")
    except PermissionError:
        raise ExportfsError(
            f"the mount point {mountpoint} may not be read: choose a directory of your own"
        ) from None


def unmount(mountpoint: Path, *, lazy: bool = False) -> None:
    """Unmounts. Raises ExportfsError with what to do where that fails."""
    program = shutil.which("fusermount3")
    command = [program, "-u"] if program else ["umount"]
    if lazy:
        command.append("-z" if program else "-l")
    result = subprocess.run(
        [*command, "--", os.fspath(mountpoint)], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        words = " ".join(result.stderr.split()) or f"{command[0]} failed"
        hint = "; close what still uses it, or add --lazy" if "busy" in words.lower() else ""
        raise ExportfsError(f"cannot unmount {mountpoint}: {words}{hint}")


class FuseSession:
    """One mount. `open` and `close` in pairs; `serve` in between."""

    def __init__(self, operations: ExportOperations, mountpoint: Path) -> None:
        self._operations = operations
        self._mountpoint = mountpoint

    def open(self, *, source: str, read_only: bool, allow_other: bool) -> None:
        """Mounts. Raises ExportfsError with what to do."""
        options = {
            "default_permissions",
            f"fsname={_escaped(source)}",
            f"subtype={FS_TYPE}",
            "nosuid",
            "nodev",
        }
        if read_only:
            options.add("ro")
        if allow_other:
            options.add("allow_other")
        try:
            pyfuse3.init(self._operations, os.fspath(self._mountpoint), options)
        except RuntimeError as error:
            raise ExportfsError(
                f"cannot mount at {self._mountpoint}: {error}; see `axxon-exportfs doctor`"
            ) from None

    async def serve(self) -> None:
        """Answers the kernel until the mount is gone or `stop` is called."""
        await pyfuse3.main(min_tasks=2, max_tasks=MOST_TASKS)

    def raise_read_ahead(self) -> None:
        """Root may; everyone else lives with 128 KiB. Not from the task that serves: it asks the mount itself."""
        with contextlib.suppress(OSError):
            device = os.stat(self._mountpoint).st_dev
            setting = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
            setting.write_text(f"{READ_AHEAD_KIB}\n")

    def stop(self) -> None:
        """Makes `serve` return. From trio's thread."""
        with contextlib.suppress(RuntimeError):
            pyfuse3.terminate()

    def close(self) -> None:
        """Unmounts, also where something still uses the mount."""
        # pyfuse3 would unmount too, but not where it is busy: then only the lazy way leaves nothing behind.
        with contextlib.suppress(ExportfsError):
            if _is_ours(self._mountpoint):
                unmount(self._mountpoint, lazy=True)
        pyfuse3.close(unmount=False)


def _is_ours(mountpoint: Path) -> bool:
    """Whether something of our type is mounted there; asks the kernel's table, not the mount."""
    path = os.path.abspath(mountpoint)
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            fields = line.split()
            if _unescaped(fields[4]) == path and f"fuse.{FS_TYPE}" in fields:
                return True
    return False


def _unescaped(path: str) -> str:
    for code, char in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        path = path.replace(code, char)
    return path


def _escaped(option: str) -> str:
    return option.replace("\\", "\\\\").replace(",", "\\,")
