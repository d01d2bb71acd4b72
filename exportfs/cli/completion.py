"""What shells are offered for arguments that a mount knows. Never fails, and is quick or says nothing."""

import itertools
import os
import shlex
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from exportfs.client.cameras import find_camera
from exportfs.errors import ExportfsError


def complete_cameras(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Labels of the mount's cameras: the names of their directories."""
    return [CompletionItem(name) for name in _names(ctx, "cameras") if _begins(name, incomplete)]


def complete_archives(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of the archives of the cameras that were named before."""
    mountpoint = _mountpoint(ctx)
    found: dict[str, None] = {}
    for name in _given_cameras(ctx)[:3]:
        if mountpoint is None:
            break
        try:
            found.update(dict.fromkeys(find_camera(mountpoint, name).archives))
        except (ExportfsError, OSError):
            continue
    return [CompletionItem(name) for name in found if _begins(name, incomplete)]


def _mountpoint(ctx: click.Context) -> Path | None:
    """click stops at the option that lacks its value, which is the one to be completed: then it has not come to assign
    the arguments."""
    given = ctx.params.get("mountpoint") or next(iter(ctx.args), None)
    return Path(str(given)) if given else None


def _given_cameras(ctx: click.Context) -> list[str]:
    given = ctx.params.get("cameras") or ()
    try:
        words = shlex.split(os.environ.get("COMP_WORDS", ""))
    except ValueError:  # a quotation mark that is still open
        words = []
    typed = [word for option, word in itertools.pairwise(words) if option == "--camera"]
    return [*map(str, given), *typed]


def _names(ctx: click.Context, folder: str) -> list[str]:
    mountpoint = _mountpoint(ctx)
    if mountpoint is None:
        return []
    try:
        return sorted(path.name for path in (mountpoint / folder).iterdir())
    except OSError:
        return []


def _begins(name: str, incomplete: str) -> bool:
    """The name, or what follows its number: who types `gate` means `1.Gate north`."""
    wanted = incomplete.casefold()
    return name.casefold().startswith(wanted) or name.partition(".")[2].casefold().startswith(wanted)
