"""What `doctor` looks at on this machine. Each check says what it found and how to mend it."""

import errno
import importlib
import os
import shutil
import stat
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from exportfs import directories
from exportfs.bounded import answer
from exportfs.client.mounts import private_to
from exportfs.directories import NoHomeDirectory, user_name
from exportfs.doctor.finding import Finding
from exportfs.doctor.packages import package_findings
from exportfs.errors import ExportfsError
from exportfs.fuse.mountpoint import MOUNTINFO, PROBE_TIMEOUT, mountpoints, probe
from exportfs.program import quoted

OLDEST_PYTHON = (3, 11)


@dataclass(frozen=True, slots=True)
class Machine:
    """Where things are; tests put them elsewhere."""

    fuse_device: Path = Path("/dev/fuse")
    fuse_conf: Path = Path("/etc/fuse.conf")
    mountinfo: Path = MOUNTINFO
    config_dir: Path | None = None
    """None: the user's, as for `state_dir`."""
    state_dir: Path | None = None
    which: Callable[[str], str | None] = shutil.which
    python: tuple[int, int, int] = sys.version_info[:3]

    def configuration_directory(self) -> Path:
        """Raises NoHomeDirectory."""
        return self.config_dir or directories.config_directory()

    def state_directory(self) -> Path:
        """Raises NoHomeDirectory."""
        return self.state_dir or directories.state_directory()


def machine_findings(machine: Machine) -> Iterator[Finding]:
    """All of them, in the order in which they matter."""
    yield from package_findings()
    yield _python(machine)
    yield _library()
    yield _device(machine)
    yield _fusermount(machine)
    yield _allow_other(machine)
    yield from _mounts(machine)
    yield _place("configuration directory", machine.configuration_directory, private=False)
    yield _place("state directory", machine.state_directory, private=True)


def _python(machine: Machine) -> Finding:
    version = ".".join(map(str, machine.python))
    if machine.python[:2] < OLDEST_PYTHON:
        oldest = ".".join(map(str, OLDEST_PYTHON))
        return Finding(False, "Python", f"this is {version}", f"use Python {oldest} or newer")
    return Finding(True, "Python", version)


def _library() -> Finding:
    try:
        module = importlib.import_module("pyfuse3")
    except ImportError as error:
        return Finding(
            False, "FUSE library", f"pyfuse3 does not load: {error}", "apt install libfuse3-3, and reinstall"
        )
    return Finding(True, "FUSE library", f"pyfuse3 {getattr(module, '__version__', '')}".strip())


def _device(machine: Machine) -> Finding:
    title = str(machine.fuse_device)
    try:
        os.close(os.open(machine.fuse_device, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
            fix = "load the module: modprobe fuse; in a container: --device /dev/fuse --cap-add SYS_ADMIN"
        elif error.errno in (errno.EACCES, errno.EPERM):
            fix = f"chmod 666 {machine.fuse_device}; in a container: --device /dev/fuse --cap-add SYS_ADMIN"
        else:
            fix = "check the kernel log"
        return Finding(False, title, f"cannot be opened: {error.strerror}", fix)
    return Finding(True, title, "there and usable")


def _fusermount(machine: Machine) -> Finding:
    title, fix = "fusermount3", "apt install fuse3"
    path = machine.which(title)
    root = os.geteuid() == 0
    if path is None:
        # Root mounts without it; libfuse falls back to it for everyone else.
        ok = None if root else False
        return Finding(ok, title, "not on the PATH; without it only root can mount", fix)
    if not root and not os.stat(path).st_mode & stat.S_ISUID:
        return Finding(
            False, title, f"{path} is not setuid root, so only root can mount", f"chmod u+s {quoted(path)}"
        )
    if not root and user_name(os.getuid()) is None:
        return Finding(
            False,
            title,
            f"refuses the user with the id {os.getuid()}, who has no entry in the passwd database",
            "add one (useradd), or mount as root",
        )
    return Finding(True, title, path)


def _allow_other(machine: Machine) -> Finding:
    title = "user_allow_other"
    try:
        lines = machine.fuse_conf.read_text(errors="replace").splitlines()
    except FileNotFoundError:
        lines = []
    except OSError as error:
        return Finding(None, title, f"{machine.fuse_conf} cannot be read: {error.strerror}")
    if any(line.split("#")[0].strip() == title for line in lines):
        return Finding(True, title, f"set in {machine.fuse_conf}: users may give --allow-other")
    return Finding(
        None,
        title,
        f"not set in {machine.fuse_conf}: only root may give --allow-other",
        f"to let other users access a mount: add the line {title} to {machine.fuse_conf}",
    )


def _mounts(machine: Machine) -> Iterator[Finding]:
    try:
        places = mountpoints(machine.mountinfo)
    except ExportfsError as error:
        yield Finding(None, "mounts", str(error))
        return
    for place in places:
        title = f"mount {place}"
        number = probe(place)
        if number == 0:
            yield Finding(True, title, "answers")
        elif number == errno.EACCES and (owner := private_to(place)):
            yield Finding(True, title, f"private mount of user {owner}")
        elif number == errno.ETIMEDOUT:
            detail = "does not answer; its process may be stopped"
            fix = f"let it go on (kill -CONT PID), or axxon-exportfs umount --lazy {quoted(place)}"
            yield Finding(False, title, detail, fix)
        else:
            detail = "left behind by a crash" if number == errno.ENOTCONN else os.strerror(number)
            at = quoted(place)
            yield Finding(False, title, detail, f"axxon-exportfs umount {at}, or fusermount3 -uz {at}")


def _place(title: str, find: Callable[[], Path], *, private: bool) -> Finding:
    """`private`: a mount needs it, and nobody else may read it."""
    try:
        path = find()
        return answer(lambda: _directory(title, path, private=private), PROBE_TIMEOUT)
    except TimeoutError:
        return Finding(False, title, f"{path} does not answer: its file system hangs", _elsewhere(path))
    except NoHomeDirectory as error:
        # A mount does without a configuration, but not without its journal.
        what, _, fix = str(error).partition(": ")
        return Finding(False if private else None, title, what, fix)


def _directory(title: str, path: Path, *, private: bool) -> Finding:
    try:
        status = path.stat()
    except FileNotFoundError:
        if private and (trouble := _cannot_be_made(path)):
            return Finding(False, title, f"{path} cannot be created: {trouble}", _elsewhere(path))
        return Finding(True, title, f"{path} does not exist yet; it is created when needed")
    except OSError as error:
        return Finding(False, title, f"{path}: {error.strerror}", _elsewhere(path))
    if not stat.S_ISDIR(status.st_mode):
        return Finding(False, title, f"{path} is not a directory", f"move {path} away")
    if status.st_uid != os.geteuid():
        return Finding(
            False, title, f"{path} belongs to another user", f"chown {os.geteuid()} {quoted(path)}"
        )
    forbidden = 0o077 if private else 0o022
    if status.st_mode & forbidden:
        what = "read" if private else "change"
        return Finding(
            False, title, f"others can {what} {path}", f"chmod {'700' if private else 'go-w'} {quoted(path)}"
        )
    if not os.access(path, os.R_OK | os.W_OK | os.X_OK):
        return Finding(
            False,
            title,
            f"{path} is not writable",
            _elsewhere(path) if private else f"chmod u+rwx {quoted(path)}",
        )
    return Finding(True, title, str(path))


def _cannot_be_made(path: Path) -> str:
    """Why not; empty where it can be made."""
    parent = next(parent for parent in path.parents if parent.exists())
    if not parent.is_dir():
        return f"{parent} is not a directory"
    if not os.access(parent, os.W_OK | os.X_OK):
        return f"{parent} is not writable by you"
    return ""


def _elsewhere(path: Path) -> str:
    return f"make {path} yours, or set XDG_STATE_HOME to a directory that you can write"
