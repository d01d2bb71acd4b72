"""Mount points: the one reader of the kernel's mount table, and whether something can be mounted at a place.

Knows the system, not the bindings. What is mounted is learnt from /proc/self/mountinfo and never by looking at the
place, which would ask a process that may be gone, stopped, or ourselves.
"""

import errno
import os
import re
import select
import shutil
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from exportfs.bounded import answer
from exportfs.errors import ExportfsError, TimedOut
from exportfs.program import PROGRAM, quoted

FS_TYPE = PROGRAM
"""Shown as fuse.axxon-exportfs."""
FILESYSTEM_TYPE = f"fuse.{FS_TYPE}"
MOUNTINFO = Path("/proc/self/mountinfo")
PROBE_TIMEOUT = 3.0
"""Seconds that a mount has to answer `statfs`, which ours does from memory."""

_OCTAL = re.compile(rb"\\([0-3][0-7]{2})")


@dataclass(frozen=True, slots=True)
class MountEntry:
    """A line of mountinfo; see proc(5)."""

    id: int
    parent: int
    device: str
    """`major:minor`: of one mount and of its copies, here and in other namespaces. Given to another when all of them
    are gone, as `id` is."""
    root: str
    """What of the filesystem is shown there; `/` unless it is a bind mount of a part."""
    place: Path
    fs_type: str
    source: str
    super_options: tuple[str, ...]

    @property
    def ours(self) -> bool:
        return self.fs_type == FILESYSTEM_TYPE

    @property
    def user_id(self) -> int | None:
        """Who mounted it, where it is a mount of FUSE."""
        for option in self.super_options:
            name, _, value = option.partition("=")
            if name == "user_id" and value.isdigit():
                return int(value)
        return None

    @property
    def private(self) -> bool:
        """Whether the kernel keeps everybody but its user from looking in, root too."""
        return self.ours and "allow_other" not in self.super_options and self.user_id != os.geteuid()


def mount_table(mountinfo: Path = MOUNTINFO) -> list[MountEntry]:
    """All mounts of the namespace, the oldest first. Raises ExportfsError where the table cannot be read."""
    try:
        text = mountinfo.read_bytes()
    except OSError as error:
        raise ExportfsError(f"{mountinfo} cannot be read ({error.strerror}): is /proc mounted?") from None
    return list(_entries(text))


def _entries(text: bytes) -> Iterator[MountEntry]:
    # Not splitlines: the kernel leaves a carriage return in a name as it is.
    for line in text.split(b"\n"):
        fields, _, rest = line.partition(b" - ")
        words, more = fields.split(b" "), rest.split(b" ")
        if len(words) < 6 or len(more) < 3:
            continue
        yield MountEntry(
            id=int(words[0]),
            parent=int(words[1]),
            device=words[2].decode(),
            root=_unescaped(words[3]),
            place=Path(_unescaped(words[4])),
            fs_type=_unescaped(more[0]),
            source=_unescaped(more[1]),
            super_options=tuple(_unescaped(b" ".join(more[2:])).split(",")),
        )


def _unescaped(word: bytes) -> str:
    """The kernel writes blanks, tabs, line breaks, backslashes and `#` as \\ooo."""
    return os.fsdecode(_OCTAL.sub(lambda match: bytes([int(match[1], 8)]), word))


def top(place: Path, table: Iterable[MountEntry]) -> MountEntry | None:
    """What is mounted last at a place, as `place_of` gives it; None where nothing is."""
    here = [entry for entry in table if entry.place == place]
    covered = {entry.parent for entry in here}
    return next((entry for entry in reversed(here) if entry.id not in covered), None)


def place_of(path: Path) -> Path:
    """The path as the kernel's table has it: absolute and without symbolic links.

    What is mounted there is not looked at. Raises OSError where the working directory is gone, TimedOut where a
    filesystem on the way hangs.
    """
    whole = os.path.join(os.getcwd(), path) if not path.is_absolute() else os.fspath(path)
    try:
        return answer(lambda: _place_of(whole), PROBE_TIMEOUT)
    except TimeoutError:
        raise TimedOut(f"{whole}: does not answer: its file system hangs") from None


def _place_of(whole: str) -> Path:
    folder, name = os.path.split(whole.rstrip("/") or "/")
    if name in ("", ".", ".."):
        return Path(os.path.realpath(whole))
    place = Path(os.path.realpath(folder), name)
    with_mounts = {entry.place for entry in mount_table()}
    return place if place in with_mounts else Path(os.path.realpath(place))


class TableChanges:
    """Tells cheaply whether the namespace's mount table has changed; see proc(5), poll of mountinfo."""

    def __init__(self) -> None:
        self._table = open(MOUNTINFO, "rb")  # noqa: SIM115 # until it is collected
        self._poll = select.poll()
        self._poll.register(self._table, select.POLLPRI)

    def any(self) -> bool:
        """Since the last call, or since it was made."""
        return bool(self._poll.poll(0))


def mountpoints(mountinfo: Path = MOUNTINFO) -> list[Path]:
    """Where filesystems of our type are mounted, in the order they were."""
    return list(dict.fromkeys(entry.place for entry in mount_table(mountinfo) if entry.ours))


def probe(place: Path, timeout: float = PROBE_TIMEOUT) -> int:
    """The errno with which what is mounted there answers `statfs`: 0 where all is well, ETIMEDOUT where it does not."""
    try:
        # Not stat: the kernel remembers for a while what a crashed mount said of its root.
        answer(lambda: os.statvfs(place), timeout)
    except OSError as error:
        return errno.ETIMEDOUT if isinstance(error, TimeoutError) else error.errno or errno.EIO
    return 0


def is_dead(entry: MountEntry) -> bool:
    """Whether it is of our type and its process is gone."""
    return entry.ours and probe(entry.place) in (errno.ENOTCONN, errno.ECONNABORTED)


def check_device() -> None:
    """Raises ExportfsError with what to do, where FUSE cannot be used."""
    if not Path("/dev/fuse").exists():
        raise ExportfsError(
            "/dev/fuse is missing: load the kernel's module with `modprobe fuse`, or install fuse3"
        )
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        raise ExportfsError(
            "no permission to open /dev/fuse: ask an administrator for access to it (chmod 666 /dev/fuse)"
        )
    if shutil.which("fusermount3") is None and os.geteuid() != 0:
        raise ExportfsError("fusermount3 is missing: install the package fuse3")


def check_mountpoint(mountpoint: Path) -> None:
    """Raises ExportfsError with what to do, where nothing can be mounted there. One that crashed may be there."""
    check_device()
    place = place_of(mountpoint)
    there = top(place, mount_table())
    if there is not None and there.fs_type != "autofs":
        if not is_dead(there):
            what = "something" if there.ours else f"a filesystem of type {there.fs_type}"
            with_what = "axxon-exportfs umount" if there.ours else "umount"
            raise ExportfsError(
                f"{what} is mounted at {mountpoint} already: unmount it with `{with_what} {quoted(mountpoint)}`"
            )
        return
    check_directory(mountpoint)


def check_directory(mountpoint: Path) -> None:
    """Raises ExportfsError with what to do, where it is not an empty directory."""
    try:
        status = mountpoint.stat()
    except FileNotFoundError:
        raise ExportfsError(
            f"the mount point {mountpoint} does not exist: create it with `mkdir -p {quoted(mountpoint)}`"
        ) from None
    except PermissionError:
        raise ExportfsError(
            f"no permission to access the mount point {mountpoint}: choose another one"
        ) from None
    except OSError as error:
        raise ExportfsError(f"the mount point {mountpoint} cannot be used: {error.strerror}") from None
    if not stat.S_ISDIR(status.st_mode):
        raise ExportfsError(f"the mount point {mountpoint} is not a directory: choose another one")
    try:
        if any(mountpoint.iterdir()):
            raise ExportfsError(f"the mount point {mountpoint} is not empty: choose an empty directory")
    except PermissionError:
        raise ExportfsError(
            f"no permission to read the mount point {mountpoint}: choose a directory of your own"
        ) from None
