"""`footage`: what an archive holds of a camera."""

import json
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click

from exportfs.cli.completion import complete_cameras
from exportfs.cli.params.arguments import JSON
from exportfs.cli.params.mountpoint import chosen_mount, split_mount
from exportfs.cli.params.quantities import TEXT
from exportfs.cli.params.times import TIME
from exportfs.cli.terminal.output import printable
from exportfs.client.cameras import (
    Footage,
    Interval,
    find_camera,
    read_footage,
    read_footage_exactly,
)

BAR = 48
"""Characters of a bar: half an hour each for a day, 75 s for an hour."""
MOST_BARS = 62
FULL, PART, NONE = "█", "▒", "·"


@click.command(short_help="Show what footage there is of a camera.")
@click.argument("words", nargs=-1, metavar="[MOUNTPOINT] CAMERA", type=TEXT, shell_complete=complete_cameras)
@click.option("--from", "start", type=TIME, metavar="TIME", help="Not before this time.")
@click.option("--to", "end", type=TIME, metavar="TIME", help="Not after this time.")
@click.option("--exact", is_flag=True, help="To the millisecond, for at most 48 hours.")
@JSON
def footage(
    words: tuple[str, ...], start: datetime | None, end: datetime | None, exact: bool, as_json: bool
) -> None:
    """Show what footage there is of a camera.

    CAMERA is a label, a name, an id or an access point. Prints begin, end and length of each interval with footage; on
    a terminal also a bar for each day (or hour), dark where there is footage. MOUNTPOINT may be left out where there
    is one mount.
    """
    place, camera = _split(words)
    if exact and start is None:
        raise click.UsageError("--exact needs --from (and --to, unless that is now)")
    if start is not None and end is not None and end <= start:
        raise click.UsageError("--to must be after --from: correct one of them")
    mountpoint = chosen_mount(place)
    found = find_camera(mountpoint, camera)
    if exact:
        assert start is not None
        told = read_footage_exactly(found, start, end or datetime.now(UTC))
    else:
        told = read_footage(found, start, end)
    if as_json:
        click.echo(json.dumps(_document(found.label, told), indent=2, ensure_ascii=False))
        return
    if sys.stdout.isatty():
        for line in bars(told.intervals, start, end):
            click.echo(line)
    kind = "exact" if told.exact else "coarse"
    whole = "" if told.complete else "; there is more after the last line"
    click.echo(f"# {printable(found.label)}, {printable(told.archive)}; {kind}{whole}")
    for one in told.intervals:
        click.echo(f"{_time(one.begin)} {_time(one.end)} {one.length}")


def _split(words: tuple[str, ...]) -> tuple[Path | None, str]:
    """One word is the camera, of two the first is the mount point. UsageError for other numbers."""
    if len(words) == 2:
        return Path(words[0]), words[1]
    if len(words) > 2:
        raise click.UsageError(
            f"one CAMERA at a time: quote its name where it has spaces, as in '{' '.join(words)}'"
        )
    if not words or split_mount(words)[0] is not None:
        raise click.UsageError("CAMERA is missing: `axxon-exportfs cameras` lists those that there are")
    return None, words[0]


def _time(moment: datetime) -> str:
    return moment.astimezone().isoformat(timespec="milliseconds" if moment.microsecond else "seconds")


def _document(label: str, told: Footage) -> dict[str, object]:
    return {
        "camera": label,
        "archive": told.archive,
        "exact": told.exact,
        "complete": told.complete,
        "intervals": [
            {
                "begin": one.begin.isoformat(),
                "end": one.end.isoformat(),
                "seconds": one.length.total_seconds(),
            }
            for one in told.intervals
        ],
    }


def bars(intervals: tuple[Interval, ...], start: datetime | None, end: datetime | None) -> list[str]:
    """A line for each day with footage (local), or for each hour where the whole is a day at most; the latest ones."""
    if not intervals:
        return []
    first, last = start or intervals[0].begin, end or intervals[-1].end
    hourly = last - first <= timedelta(days=1)
    step = timedelta(hours=1) if hourly else timedelta(days=1)
    slots: list[datetime] = []
    position = _floor(first.astimezone(), hourly)
    while position < last:
        slots.append(position)
        # By the clock on the wall: a day may have 23 or 25 hours.
        position = (position + step) if hourly else _floor(position + step + timedelta(hours=2), hourly)
    shown = slots[-MOST_BARS:]
    lines = [] if len(shown) == len(slots) else [f"(the last {MOST_BARS} of {len(slots)} days)"]
    for index, slot in enumerate(shown):
        stop = shown[index + 1] if index + 1 < len(shown) else slot + step
        name = f"{slot:%Y-%m-%d %H:%M}" if hourly else f"{slot:%Y-%m-%d %a}"
        lines.append(f"{name} {_bar(intervals, slot, stop)}")
    return lines


def _floor(moment: datetime, hourly: bool) -> datetime:
    local = moment.replace(minute=0, second=0, microsecond=0)
    return local if hourly else local.replace(hour=0, tzinfo=None).astimezone()


def _bar(intervals: tuple[Interval, ...], begin: datetime, end: datetime) -> str:
    cell = (end - begin) / BAR
    return "".join(_cell(intervals, begin + cell * n, begin + cell * (n + 1)) for n in range(BAR))


def _cell(intervals: tuple[Interval, ...], begin: datetime, end: datetime) -> str:
    covered = sum(
        (max(timedelta(0), min(one.end, end) - max(one.begin, begin)) for one in intervals), timedelta(0)
    )
    if covered <= timedelta(0):
        return NONE
    return FULL if covered >= (end - begin) * 0.99 else PART
