"""Whether others than root could change this program: then root must not run it from a unit or a mount helper."""

import grp
import os
import pwd
import stat
import sys
import sysconfig
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import exportfs
from exportfs.directories import user_name

MOST_LINKS = 40
"""In one path, as the kernel has it."""
Look = Callable[[Path], os.stat_result]


def parts_of_this_program(command: list[str]) -> Iterator[Path]:
    """What is run when it is called: command, interpreter, its library, packages."""
    yield from (Path(command[0]), Path(sys.executable), Path(os.__file__).parent)
    for folder in {
        Path(exportfs.__file__).parent,
        *(Path(sysconfig.get_path(name)) for name in ("purelib", "platlib")),
        *(Path(place) for place in sys.path if place and Path(place).is_dir()),
    }:
        yield folder
        # The standard library has its own folder for what is installed, and is the system's.
        if folder.name in ("site-packages", "dist-packages", "exportfs"):
            yield from (path for path in folder.rglob("*") if path.suffix in (".py", ".so", ".pth", ""))


def changeable_by_others(paths: Iterable[Path], look: Look = os.lstat) -> str | None:
    """The first component of these paths, links and what they lead to, that others than root can write or replace, and
    who; None where there is none."""
    seen: set[Path] = set()
    for path in paths:
        for place in _walked(path):
            if place in seen:
                continue
            seen.add(place)
            try:
                why = _writers(look(place))
            except FileNotFoundError:
                continue
            if why:
                return f"{place} {why}"
    return None


def _walked(path: Path) -> Iterator[Path]:
    """What the kernel looks at on its way to the path: each component, and each of what links lead to."""
    place, links = Path("/"), 0
    yield place
    ahead = list(reversed(Path(os.path.abspath(path)).parts[1:]))
    while ahead:
        name = ahead.pop()
        if name == "..":
            place = place.parent
            continue
        yield place / name
        if not (place / name).is_symlink() or links == MOST_LINKS:
            place /= name
            continue
        links += 1
        target = Path(os.readlink(place / name))
        if target.is_absolute():
            place = Path("/")
        ahead += reversed([part for part in target.parts if part != "/"])


def _writers(status: os.stat_result) -> str:
    """Who but root may write it; empty where nobody may."""
    if status.st_uid != 0:
        return f"belongs to {_user(status.st_uid)}"
    if stat.S_ISLNK(status.st_mode):
        return ""
    if status.st_mode & stat.S_IWOTH:
        return "is writable by everybody"
    if status.st_mode & stat.S_IWGRP and status.st_gid != 0:
        members = _members(status.st_gid)
        if members:
            return f"is writable by {', '.join(sorted(members))}"
    return ""


def _user(uid: int) -> str:
    return user_name(uid) or f"user {uid}"


def _members(gid: int) -> set[str]:
    """Debian's /usr/local is writable for a group that nobody is in: those are no others."""
    try:
        named = set(grp.getgrgid(gid).gr_mem)
    except KeyError:
        return {f"group {gid}"}
    return (named | {user.pw_name for user in pwd.getpwall() if user.pw_gid == gid}) - {"root"}
