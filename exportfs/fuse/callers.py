"""What is known of a program that calls into the mount, where that makes a difference."""

import contextlib
import os

from exportfs.fuse.holders import PROC

ACLS = frozenset({b"system.posix_acl_access", b"system.posix_acl_default"})
"""Extended attributes in which the kernel shows ACLs (acl(5))."""
_TAKES_NONE_FOR_A_FAILURE = "ganesha.nfsd"


def expects_acls(pid: int) -> bool:
    """Whether a program can do nothing with a filesystem that has no ACLs: nfs-ganesha 6 (Debian 13) refuses each
    directory of one with NFS4ERR_NOTSUPP, and is content with hearing that there are none on this one.

    Everybody else is told the truth: `ls -l`, which asks for each file otherwise, then asks once. False where we may
    not look, or the process is in another PID namespace.
    """
    with contextlib.suppress(OSError):
        return os.path.basename(os.readlink(PROC / str(pid) / "exe")) == _TAKES_NONE_FOR_A_FAILURE
    return False
