"""`cameras`: which there are, and what footage."""

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from exportfs.cli.completion import complete_cameras
from exportfs.cli.failures import complain
from exportfs.cli.options import JSON, MOUNTPOINT
from exportfs.cli.text import columns, printable
from exportfs.client.cameras import Camera, Footage, Interval, find_cameras, read_footage

ASKED_AT_ONCE = 4
MOST_ASKED = 100
"""Cameras whose footage is asked for: each is a question to its archive."""


@click.command(short_help="List cameras and their footage.")
@MOUNTPOINT
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_cameras)
@JSON
def cameras(mountpoint: Path, names: tuple[str, ...], as_json: bool) -> None:
    """List cameras and their footage.

    NAME is a label, a name, an id, an access point, or a pattern such as 'gate*'. Shown are node, archive, the first
    and the last footage, and the camera's state.
    """
    found = find_cameras(mountpoint, names)
    with ThreadPoolExecutor(ASKED_AT_ONCE) as pool:
        footage = list(pool.map(_footage, found[:MOST_ASKED]))
    footage += [None] * (len(found) - len(footage))
    if as_json:
        click.echo(json.dumps([_record(*one) for one in zip(found, footage, strict=True)], indent=2))
        return
    if not found:
        click.echo("the server lists no cameras")
        return
    rows: list[tuple[str, ...]] = [("CAMERA", "NODE", "ARCHIVE", "FIRST FOOTAGE", "LAST FOOTAGE", "STATE")]
    rows += [_row(*one) for one in zip(found, footage, strict=True)]
    for line in columns(rows):
        click.echo(line)
    if len(found) > MOST_ASKED:
        complain(f"footage is shown of the first {MOST_ASKED} cameras; name the ones that you want to see")


def _footage(camera: Camera) -> Footage | None:
    """None where it cannot be had: no right, no archive, or none that answers."""
    if camera.exportable is False:
        return None
    try:
        return read_footage(camera)
    except OSError:
        return None


def _span(footage: Footage | None) -> Interval | None:
    if footage is None or not footage.intervals:
        return None
    return Interval(footage.intervals[0].begin, footage.intervals[-1].end)


def _row(camera: Camera, footage: Footage | None) -> tuple[str, ...]:
    span = _span(footage)
    times = [f"{moment:%Y-%m-%d %H:%M}" for moment in (span.begin, span.end)] if span else ["-", "-"]
    archive = camera.archives[0] if camera.archives else "-"
    return (
        *(printable(word) for word in (camera.label, camera.node, archive)),
        *times,
        _state(camera, footage),
    )


def _state(camera: Camera, footage: Footage | None) -> str:
    words = []
    if not camera.enabled:
        words.append("disabled")
    elif not camera.active:
        words.append("not running")
    if camera.exportable is False:
        words.append("no right to its footage")
    elif footage is None:
        words.append("footage unknown")
    elif not footage.intervals:
        words.append("no footage")
    return ", ".join(words) or "recorded"


def _record(camera: Camera, footage: Footage | None) -> dict[str, object]:
    span = _span(footage)
    return {
        **camera.raw,
        "directory": str(camera.directory),
        "first_footage": span.begin.isoformat() if span else None,
        "last_footage": span.end.isoformat() if span else None,
        "footage_known": footage is not None,
    }
