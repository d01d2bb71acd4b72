"""`cameras`: which there are, and what footage."""

import json
from concurrent.futures import ThreadPoolExecutor

import click

from exportfs.cli.completion import complete_cameras
from exportfs.cli.failures import complain
from exportfs.cli.params.arguments import JSON
from exportfs.cli.params.mountpoint import chosen_mount, split_mount
from exportfs.cli.params.quantities import TEXT
from exportfs.cli.terminal.output import columns, printable
from exportfs.client.cameras import Camera, Footage, Interval, find_cameras, read_footage

ASKED_AT_ONCE = 4
MOST_ASKED = 100
"""Cameras whose footage is asked for: each is a question to its archive."""


@click.command(short_help="List cameras and their footage.")
@click.argument(
    "words", nargs=-1, metavar="[MOUNTPOINT] [NAME]...", type=TEXT, shell_complete=complete_cameras
)
@JSON
def cameras(words: tuple[str, ...], as_json: bool) -> None:
    """List cameras and their footage.

    NAME is a label, a name, an id, an access point, or a pattern such as 'gate*'. Shows node, archive, first and last
    footage, and the camera's state.

    MOUNTPOINT may be left out where there is one mount. The first word is a MOUNTPOINT where it is written as a path
    (/mnt/vms, ./vms) or a mount is there.
    """
    place, names = split_mount(words)
    mountpoint = chosen_mount(place)
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
        complain(f"footage is shown for the first {MOST_ASKED} cameras only; name the cameras to see theirs")


def _footage(camera: Camera) -> Footage | None:
    """None where it is not known: no right, no archive, or none that answers."""
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
