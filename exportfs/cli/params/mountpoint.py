"""Which mount is meant where the command line does not say: the only one of this machine."""

import os
from collections.abc import Sequence
from pathlib import Path

from exportfs.cli.failures import Failure
from exportfs.client.mounts import usable_mounts
from exportfs.fuse.mountpoint import mountpoints, place_of
from exportfs.program import PROGRAM


def chosen_mount(mountpoint: Path | None, *, option: str = "MOUNTPOINT", own: bool = False) -> Path:
    """The mount that was named, or the only one. Raises Failure where there is none, or several.

    `option`: how the command line names one. `own`: whether one of another user must be named.
    """
    if mountpoint is not None:
        return mountpoint
    found = usable_mounts(own=own)
    if len(found) == 1:
        return found[0]
    if not found:
        if own:
            raise Failure(f"you have mounted nothing: see `{PROGRAM} status`")
        raise Failure(f"nothing is mounted: first `{PROGRAM} mount SERVER MOUNTPOINT`")
    raise Failure(f"there are {len(found)} mounts; give {option}, one of: {', '.join(map(str, found))}")


def split_mount(words: Sequence[str]) -> tuple[Path | None, tuple[str, ...]]:
    """MOUNTPOINT and the other words of `[MOUNTPOINT] [NAME]...`.

    The first word is the mount point where it is written as a path (`/...`, `./...`, `../...`, `.`), or where a mount
    is there. An access point, `hosts/...`, is none.
    """
    if words and _is_place(words[0]):
        return Path(words[0]), tuple(words[1:])
    return None, tuple(words)


def _is_place(word: str) -> bool:
    if word.startswith(("/", "./", "../")) or word in (".", ".."):
        return True
    try:
        return place_of(Path(word)) in mountpoints()
    except (OSError, ValueError):
        return os.path.isabs(word)
