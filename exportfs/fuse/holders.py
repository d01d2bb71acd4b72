"""Who else holds a mount: copies of it in other mount namespaces (`unshare -m`, containers, sandboxes)."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from exportfs.errors import ExportfsError
from exportfs.fuse.mountpoint import mount_table

PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Holder:
    """A process in whose mount namespace there is a copy."""

    pid: int
    name: str

    def __str__(self) -> str:
        return f"process {self.pid} ({self.name})"


def namespace_of(pid: int) -> str | None:
    """The mount namespace of a process; None where it is gone, or there is no permission to look."""
    with contextlib.suppress(OSError):
        return os.readlink(PROC / str(pid) / "ns/mnt")
    return None


def holders(device: str) -> list[Holder]:
    """One process for each other mount namespace with a copy of this mount, of those that we may look at: root all,
    everybody else their own."""
    seen = {namespace_of(os.getpid())}
    found = []
    for name in os.listdir(PROC):
        if not name.isdigit():
            continue
        namespace = namespace_of(int(name))
        if namespace is None or namespace in seen:
            continue
        seen.add(namespace)
        with contextlib.suppress(OSError, ExportfsError):
            if any(entry.device == device for entry in mount_table(PROC / name / "mountinfo")):
                found.append(Holder(int(name), (PROC / name / "comm").read_text().strip()))
    return found
