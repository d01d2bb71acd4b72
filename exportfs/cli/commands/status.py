"""`status`: sessions, and what the mounts are doing."""

import contextlib
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

import click

from exportfs.cli.failures import complain
from exportfs.cli.params.arguments import JSON
from exportfs.cli.params.quantities import FILE
from exportfs.cli.terminal.following import FOOTAGE_MISSING
from exportfs.client.mounts import MountStatus, read_mount
from exportfs.fuse.mountpoint import mountpoints
from exportfs.record import COMPLETED

if TYPE_CHECKING:
    from rich.console import Console

REDRAW_SECONDS = 1.0


@click.command(short_help="Show sessions and what the mounts are doing.")
@click.argument("mountpoint", metavar="[MOUNTPOINT]", required=False, type=FILE)
@JSON
@click.option("--watch", is_flag=True, help="Refresh every second until Ctrl-C, running sessions first.")
def status(mountpoint: Path | None, as_json: bool, watch: bool) -> int:
    """Show sessions and what the mounts are doing.

    Without MOUNTPOINT: all mounts of this machine. With --watch and --json: one line of JSON every second.
    Private mounts of other users are listed without their sessions. The exit code is 1 where a mount does not answer
    or a completed session has no result at all, and 3 where results hold less than was asked for.
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
    from exportfs.cli.terminal.status_view import table, terminal, view

    now = datetime.now(UTC)
    if sys.stdout.isatty():
        console = terminal()
        # Not cropped: the terminal wraps a name that is longer, so that it is copied whole.
        console.print(view(alive, now, console), crop=False)
    else:
        click.echo(table(alive, now))


def _watch(mountpoint: Path | None) -> None:
    """Until Ctrl-C, on a screen of its own: afterwards the terminal shows what it did before."""
    from rich.live import Live

    from exportfs.cli.terminal.status_view import terminal, view

    console = terminal()
    with _screen_left_on_signals(console), Live(console=console, auto_refresh=False, screen=True) as live:
        while True:
            mounts = _read(mountpoint)
            live.update(view(mounts, datetime.now(UTC), console, console.height), refresh=True)
            time.sleep(REDRAW_SECONDS)


@contextlib.contextmanager
def _screen_left_on_signals(console: "Console") -> Iterator[None]:
    """SIGTERM and SIGHUP leave the screen, as Ctrl-C does, and Ctrl-Z leaves it until `fg`."""

    def end(number: int, frame: FrameType | None) -> None:
        sys.exit(128 + number)

    def pause(number: int, frame: FrameType | None) -> None:
        console.set_alt_screen(False)
        console.show_cursor(True)
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTSTP)
        # Here again after `fg`.
        signal.signal(signal.SIGTSTP, pause)
        console.set_alt_screen(True)
        console.show_cursor(False)

    handlers = {signal.SIGTERM: end, signal.SIGHUP: end, signal.SIGTSTP: pause}
    before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _watch_json(mountpoint: Path | None) -> None:
    """Until Ctrl-C, or until nobody reads any more."""
    while True:
        click.echo(json.dumps(_document(_read(mountpoint))))
        sys.stdout.flush()
        time.sleep(REDRAW_SECONDS)
