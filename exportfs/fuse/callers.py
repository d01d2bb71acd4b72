"""What is known of a program that calls into the mount, where that makes a difference."""

import contextlib
import os

from exportfs.fuse.holders import PROC

ACLS = frozenset({b"system.posix_acl_access", b"system.posix_acl_default"})
"""Extended attributes in which the kernel shows ACLs (acl(5))."""
_TAKES_NONE_FOR_A_FAILURE = "ganesha.nfsd"
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


def reads_directly(pid: int, ino: int) -> bool:
    """Whether a process, or one of its threads, has a file open past the kernel's cache, as far as may be looked at: by
    what it set after it had opened it (fcntl(2)). True as well where it has so many open that looking takes long."""
    with contextlib.suppress(OSError):
        names = os.listdir(PROC / str(pid) / "fdinfo")
        if len(names) > _LOOKED_AT:
            return True
        for name in names:
            with contextlib.suppress(OSError, ValueError):
                lines = (PROC / str(pid) / "fdinfo" / name).read_text().splitlines()
                fields = dict(line.split(":", 1) for line in lines[:4])
                if int(fields.get("ino", "0")) == ino and int(fields.get("flags", "0"), 8) & os.O_DIRECT:
                    return True
    return False
