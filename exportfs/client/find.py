"""Sessions by the names that `status` shows, beside their paths."""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

from exportfs.client.asking import MountSilent, ask
from exportfs.client.mounts import asked_mounts
from exportfs.client.sessions import locate
from exportfs.errors import ExportfsError, InvalidArgument, NotFound, TimedOut
from exportfs.program import PROGRAM
from exportfs.record import CONTROL


def find_session(path: Path) -> Path:
    """The session directory that a path or a name means: `locate`, and then the sessions of all mounts.

    Raises NotFound with the nearest names, InvalidArgument for a name that several mounts show, TimedOut where one of
    them does not say whether it shows it, or the mount of a path does not answer; OSError.
    """
    try:
        return locate(path)
    except NotFound:
        name = str(path)
        if os.sep in name or not name:
            raise
        mounts, silent = asked_mounts()
        found = {found: mount for mount in mounts for found in _named(mount, name)}
        if len(found) > 1:
            raise InvalidArgument(
                f"{name} is in several mounts; give the path: {', '.join(map(str, found))}"
            ) from None
        if silent:
            where = next(iter(found), "")
            raise TimedOut(
                f"{name}: the mount at {silent[0]} does not answer, and may have it: "
                + (f"give the path: {where}" if where else "try again, or give the path of the session")
            ) from None
        if found:
            return next(iter(found))
        if os.path.lexists(path):
            raise
        raise NotFound(f"{name}: there is no such session; {_advice(mounts, name)}") from None


def find_sessions(paths: Iterable[Path]) -> list[Path]:
    """Each session once, in the order given."""
    return list(dict.fromkeys(find_session(path) for path in paths))


def is_session(path: Path) -> bool:
    """Whether a path or name means a session of a mount: never raises. A copy of one is none, it has no `.control`."""
    try:
        found = find_session(path)
        return ask(found, (found / CONTROL).exists)
    except (ExportfsError, OSError):
        return False


def _named(mount: Path, name: str) -> list[Path]:
    """The session of that name, or that a request of that name has started."""
    for folder in ("sessions", "new"):
        try:
            return [locate(mount / folder / name)]
        except (NotFound, OSError, MountSilent):
            continue
    return []


def _advice(mounts: Iterable[Path], name: str) -> str:
    names = [found for mount in mounts for found in _names(mount)]
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.7)
    if near:
        return f"the nearest is {near[0]}"
    return f"see `{PROGRAM} status`"


def _names(mount: Path) -> list[str]:
    try:
        return ask(mount, lambda: os.listdir(mount / "sessions"))
    except (OSError, MountSilent):
        return []
