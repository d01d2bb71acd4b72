"""What shells are offered for arguments that a mount knows. Never fails, and is quick or says nothing."""

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
    mountpoint = ctx.params.get("mountpoint")
    given = ctx.params.get("cameras") or ctx.params.get("camera") or ()
    names = [given] if isinstance(given, str) else list(given)
    found: dict[str, None] = {}
    for name in names[:3]:
        try:
            found.update(dict.fromkeys(find_camera(Path(str(mountpoint)), name).archives))
        except (ExportfsError, OSError):
            continue
    return [CompletionItem(name) for name in found if _begins(name, incomplete)]


def _names(ctx: click.Context, folder: str) -> list[str]:
    mountpoint = ctx.params.get("mountpoint")
    if mountpoint is None:
        return []
    try:
        return sorted(path.name for path in (Path(str(mountpoint)) / folder).iterdir())
    except OSError:
        return []


def _begins(name: str, incomplete: str) -> bool:
    """The name, or what follows its number: who types `gate` means `1.Gate north`."""
    wanted = incomplete.casefold()
    return name.casefold().startswith(wanted) or name.partition(".")[2].casefold().startswith(wanted)
