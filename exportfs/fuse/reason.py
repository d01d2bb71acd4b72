"""One sentence out of what the kernel, libfuse or fusermount3 said about a mount that failed."""

import re

_PREFIX = re.compile(r"^(fuse|fusermount3?|mount(\.\w+)?): *", re.IGNORECASE)

# What the words of the system mean here, and what to do; the first that fits.
_ADVICE = (
    (
        re.compile(r"could not determine username", re.I),
        "fusermount3 wants an entry for this user in the passwd database: add one (useradd), or mount as root",
    ),
    (
        re.compile(r"user has no write access to mountpoint", re.I),
        "the mount point must be writable for you: choose a directory of your own",
    ),
    (
        re.compile(r"too many FUSE filesystems mounted", re.I),
        "unmount some, or ask an administrator to raise mount_max in /etc/fuse.conf",
    ),
    (
        re.compile(r"only allowed if 'user_allow_other' is set", re.I),
        "ask an administrator to add the line user_allow_other to /etc/fuse.conf",
    ),
    (
        re.compile(r"failed to exec\b|fusermount3: (command )?not found", re.I),
        "install the package fuse3",
    ),
    (
        re.compile(r"fuse device|/dev/fuse", re.I),
        "load the kernel's module with `modprobe fuse`; in a container add --device /dev/fuse --cap-add SYS_ADMIN",
    ),
    (
        re.compile(r"operation not permitted|permission denied", re.I),
        "in a container add --device /dev/fuse --cap-add SYS_ADMIN; otherwise fusermount3 must be setuid root "
        "(`axxon-exportfs doctor` looks)",
    ),
)


def reason(written: str, otherwise: str) -> str:
    """What went wrong and what to do, as one line. `otherwise`: what is known where nothing was written."""
    lines = dict.fromkeys(_PREFIX.sub("", line.strip()).strip() for line in written.splitlines())
    said = "; ".join(line for line in lines if line) or otherwise
    advice = next((words for pattern, words in _ADVICE if pattern.search(written)), None)
    return f"{said}: {advice or 'see `axxon-exportfs doctor`'}"
