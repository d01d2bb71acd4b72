"""What shells are offered for arguments that a mount knows. Never fails, and is quick or says nothing."""

import itertools
import os
import shlex
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from exportfs.cli.params.mountpoint import split_mount
from exportfs.client.cameras import find_camera
from exportfs.client.mounts import answering_mounts
from exportfs.errors import ExportfsError

ANSWER_TIMEOUT = 0.5
"""Seconds that a mount has to answer while somebody waits for a completion."""


def complete_cameras(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Labels of the mount's cameras: the names of their directories."""
    return [CompletionItem(name) for name in _names(ctx, "cameras") if _begins(name, incomplete)]


def complete_sessions(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of sessions; files where the word is not the beginning of one."""
    names = sorted(name for mount in _mounts() for name in _listed(mount / "sessions"))
    found = [CompletionItem(name) for name in names if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]


def complete_archives(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the archives of the cameras that were named before."""
    mountpoint = _mount(ctx)
    found: dict[str, None] = {}
    for name in _given_cameras(ctx)[:3]:
        if mountpoint is None:
            break
        try:
            found.update(dict.fromkeys(find_camera(mountpoint, name).archives))
        except (ExportfsError, OSError):
            continue
    return [CompletionItem(name) for name in found if _begins(name, incomplete)]


def _given_cameras(ctx: click.Context) -> list[str]:
    given = ctx.params.get("cameras") or ()
    try:
        words = shlex.split(os.environ.get("COMP_WORDS", ""))
    except ValueError:  # a quotation mark that is still open
        words = []
    typed = [word for option, word in itertools.pairwise(words) if option == "--camera"]
    return [*map(str, given), *typed]


def _names(ctx: click.Context, folder: str) -> list[str]:
    mountpoint = _mount(ctx)
    return [] if mountpoint is None else sorted(_listed(mountpoint / folder))


def _mount(ctx: click.Context) -> Path | None:
    """The mount of the words so far, or the only one.

    click stops at the option that lacks its value, which is the one to be completed: then it has not come to assign
    the arguments.
    """
    given = ctx.params.get("mountpoint") or split_mount(ctx.params.get("words") or ctx.args)[0]
    if given is not None:
        return Path(str(given))
    mounts = _mounts()
    return mounts[0] if len(mounts) == 1 else None


def _mounts() -> list[Path]:
    """Those that answer at once."""
    try:
        return answering_mounts(ANSWER_TIMEOUT)
    except ExportfsError:
        return []


def _listed(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _begins(name: str, incomplete: str) -> bool:
    """The name, or what follows its number: who types `gate` means `1.Gate north`."""
    wanted = incomplete.casefold()
    return name.casefold().startswith(wanted) or name.partition(".")[2].casefold().startswith(wanted)
