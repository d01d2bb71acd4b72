"""Mount points: whether something can be mounted there, what is, and unmounting. Knows the system, not the bindings."""

import errno
import logging
import os
import shutil
import stat
import subprocess
from pathlib import Path

from exportfs.errors import ExportfsError

log = logging.getLogger(__name__)

FS_TYPE = "axxon-exportfs"
"""Shown as fuse.axxon-exportfs."""


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
        # The kernel may know the attributes of a dead mount still; this it asks for.
        os.statvfs(mountpoint)
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


def is_ours(mountpoint: Path) -> bool:
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
