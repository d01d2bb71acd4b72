"""What is known of a program that calls into the mount, where that makes a difference."""

import contextlib
import os
from pathlib import Path

from exportfs.fuse.holders import PROC

ACLS = frozenset({b"system.posix_acl_access", b"system.posix_acl_default"})
"""Extended attributes in which the kernel shows ACLs (acl(5))."""
_TAKES_NONE_FOR_A_FAILURE = "ganesha.nfsd"
BLOCK_DEVICES = Path("/sys/block")
_LOOKED_AT = 200
"""Open files of a process: looking at each takes 20 microseconds."""


def expects_acls(pid: int) -> bool:
    """Whether a program can do nothing with a filesystem that has no ACLs: nfs-ganesha 6 (Debian 13) refuses each
    directory of one with NFS4ERR_NOTSUPP, and is content with hearing that there are none on this one.

    Everybody else is told the truth: `ls -l`, which asks for each file otherwise, then asks once. False where we may
    not look, or the process is in another PID namespace.
    """
    with contextlib.suppress(OSError):
        return os.path.basename(os.readlink(PROC / str(pid) / "exe")) == _TAKES_NONE_FOR_A_FAILURE
    return False


def reads_directly(pid: int, ino: int) -> bool | None:
    """Whether a program may read a file past the kernel's cache that a process, or one of its threads, has opened.

    False only where that process shows the file among what it has open, by its inode number, and nowhere with O_DIRECT,
    which can be set later (fcntl(2)); and no loop device reads so, which shows nowhere else. None where the file is not
    among them: it was closed, or given away. True for all else: a thread that has ended, one whose files we may not
    look at, in another PID namespace, or with so many open that looking takes long.
    """
    if _loops_read_directly():
        return True
    shown = None
    try:
        names = os.listdir(PROC / str(pid) / "fdinfo")
        if len(names) > _LOOKED_AT:
            return True
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                lines = (PROC / str(pid) / "fdinfo" / name).read_text().splitlines()
                fields = dict(line.split(":", 1) for line in lines[:4])
                if int(fields["ino"]) != ino:
                    continue
                if int(fields["flags"], 8) & os.O_DIRECT:
                    return True
                shown = False
    except (OSError, ValueError, KeyError):
        return True
    return shown


def _loops_read_directly() -> bool:
    """Whether any loop device reads past the cache: whoever set it up may have kept the file open."""
    for place in BLOCK_DEVICES.glob("loop*/loop/dio"):
        with contextlib.suppress(FileNotFoundError):  # it has no file any more
            if place.read_text().strip() != "0":
                return True
    return False
