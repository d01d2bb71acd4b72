"""`status`: sessions, and what the mounts are doing."""

import json
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import click

from exportfs.cli.failures import complain
from exportfs.cli.following import FOOTAGE_MISSING
from exportfs.cli.mounts import MountStatus, read_mount
from exportfs.cli.options import JSON
from exportfs.cli.sessions import COMPLETED
from exportfs.cli.values import FILE
from exportfs.fuse.mountpoint import mountpoints

REDRAW_SECONDS = 1.0


@click.command(short_help="Show sessions and what the mounts are doing.")
@click.argument("mountpoint", metavar="[MOUNTPOINT]", required=False, type=FILE)
@JSON
@click.option("--watch", is_flag=True, help="Show it again every second until Ctrl-C.")
def status(mountpoint: Path | None, as_json: bool, watch: bool) -> int:
    """Show sessions and what the mounts are doing.

    Without MOUNTPOINT: all mounts of this machine. With --watch and --json: one line of JSON every second.
    A private mount of another user is listed as that. The exit code is 1 where a mount does not answer or a
    completed session has no result at all, and 3 where results hold less than was asked for.
    """
    if watch and not as_json and not sys.stdout.isatty():
        raise click.UsageError("--watch needs a terminal, or --json")
    if watch and as_json:
        _watch_json(mountpoint)
    elif watch:
        _watch(mountpoint)
    mounts = _read(mountpoint)
    if as_json:
        click.echo(json.dumps(_document(mounts), indent=2))
    else:
        _show(mounts)
    sessions = [session for mount in mounts for session in mount.sessions]
    if any(mount.error for mount in mounts) or any(session.empty for session in sessions):
        return 1
    # What somebody stopped is known to be less.
    short = any(session.partial and session.state == COMPLETED for session in sessions)
    return FOOTAGE_MISSING if short else 0


def _read(mountpoint: Path | None) -> list[MountStatus]:
    return [read_mount(path) for path in ([mountpoint] if mountpoint is not None else mountpoints())]


def _document(mounts: list[MountStatus]) -> dict[str, object]:
    return {"mounts": [mount.as_json() for mount in mounts]}


def _show(mounts: list[MountStatus]) -> None:
    if not mounts:
        click.echo("nothing is mounted; `axxon-exportfs mount SERVER MOUNTPOINT` mounts")
        return
    dead = [mount for mount in mounts if mount.error and not mount.status]
    for mount in dead:
        complain(mount.error)
    alive = [mount for mount in mounts if mount.status or mount.private_to]
    if not alive:
        return
    from exportfs.cli.status_view import plain, terminal, view

    now = datetime.now(UTC)
    if sys.stdout.isatty():
        terminal().print(view(alive, now, bars=True))
    else:
        click.echo(plain(view(alive, now, bars=False)))


def _watch(mountpoint: Path | None) -> None:
    """Until Ctrl-C."""
    from rich.live import Live

    from exportfs.cli.status_view import terminal, view

    with Live(console=terminal(), auto_refresh=False, screen=True) as live:
        while True:
            live.update(view(_read(mountpoint), datetime.now(UTC), bars=True), refresh=True)
            time.sleep(REDRAW_SECONDS)


def _watch_json(mountpoint: Path | None) -> None:
    """Until Ctrl-C, or until nobody reads any more."""
    while True:
        click.echo(json.dumps(_document(_read(mountpoint))))
        sys.stdout.flush()
        time.sleep(REDRAW_SECONDS)
