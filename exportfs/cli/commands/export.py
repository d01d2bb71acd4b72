"""`export`: build a request, drop it into `new/`, and follow the session."""

import json
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from exportfs.cli.completion import complete_archives, complete_cameras
from exportfs.cli.failures import Failure, complain
from exportfs.cli.footage_check import check_wish
from exportfs.cli.params.arguments import JSON, MOUNTPOINT
from exportfs.cli.params.formats import EXPORT_FORMAT, QUALITY
from exportfs.cli.params.mountpoint import chosen_mount
from exportfs.cli.params.quantities import DURATION, SIZE
from exportfs.cli.params.times import TIME, doubts, understood
from exportfs.cli.terminal.following import follow, verdict
from exportfs.cli.terminal.output import echo_path, on_terminal
from exportfs.client.request import Wish, check_name, default_name, request_text
from exportfs.client.sessions import SessionRecord
from exportfs.client.submit import interrupt_held_back, submit
from exportfs.errors import InvalidArgument
from exportfs.program import quoted


@click.command(short_help="Start an export through a mount.")
@MOUNTPOINT
@click.option(
    "--camera",
    "cameras",
    metavar="CAMERA",
    multiple=True,
    required=True,
    shell_complete=complete_cameras,
    help="A camera's label, name or id, as in cameras/, or the access point of its video. May be repeated.",
)
@click.option(
    "--archive",
    metavar="ARCHIVE",
    shell_complete=complete_archives,
    help="Name or access point of the archive to take the footage from.",
)
@click.option(
    "--from",
    "start",
    type=TIME,
    metavar="TIME",
    help="Start in the archive: 2026-05-11T10:04:11+02:00, or local time, '2026-05-11 10:04' or 'yesterday 10:04'. "
    "Without --from and --to the export is live.",
)
@click.option("--to", "end", type=TIME, metavar="TIME", help="End in the archive.")
@click.option(
    "--duration",
    type=DURATION,
    metavar="DURATION",
    help="Length in place of --from or --to; of a live video, when to stop it. As in 90, 10m, 1h30m, 0:10:00.",
)
@click.option(
    "--format",
    type=EXPORT_FORMAT,
    required=True,
    help="video and image leave the format to the export agent.",
)
@click.option("--quality", type=QUALITY, help="Quality of the video.")
@click.option("--comment", metavar="TEXT", help="Text to burn into the picture.")
@click.option("--mask/--no-mask", default=None, help="Whether privacy masks are applied.")
@click.option("--split", type=SIZE, metavar="SIZE", help="Split the video into files of at most this size.")
@click.option(
    "--agent", metavar="AGENT", help="Name or access point of the export agent. Default: the mount's."
)
@click.option("--discrete", is_flag=True, help="One file per camera instead of one for all.")
@click.option("--name", metavar="NAME", help="Name of the request in new/. Default: camera, start, random.")
@click.option("--yes", is_flag=True, help="Do not ask about times far in the past or in the future.")
@click.option("--force", is_flag=True, help="Export even where the archive has no footage.")
@click.option("--dry-run", is_flag=True, help="Print the request without starting the export.")
@click.option(
    "--wait", "waiting", is_flag=True, help="Wait until it has ended, and print the paths of the results."
)
@JSON
def export(
    mountpoint: Path | None,
    name: str | None,
    yes: bool,
    force: bool,
    dry_run: bool,
    waiting: bool,
    as_json: bool,
    **wishes: Any,
) -> int:
    """Start an export through a mount.

    Prints the path of the session's directory; with --wait, the paths of the results once they are there.
    The interval as it was understood is printed on standard error. Ctrl-C ends the waiting, not the export.
    MOUNTPOINT may be left out where there is one mount.
    """
    # The other options are called as the fields of a wish are.
    wish = Wish(**wishes)
    try:
        text = request_text(wish)
        stem = check_name(name) if name is not None else default_name(wish, secrets.token_hex(4))
    except InvalidArgument as error:
        raise click.UsageError(str(error)) from error
    if not wish.live:
        say_interval(wish, sure=yes or dry_run)
    if dry_run:
        click.echo(text, nl=False)
        return 0
    mountpoint = chosen_mount(mountpoint)
    if not force:
        check_wish(mountpoint, wish)
    directory = record = None
    try:
        with interrupt_held_back():
            directory = submit(mountpoint, stem, text.encode())
        if waiting:
            (record,) = follow([directory])
    except KeyboardInterrupt:
        if directory is not None:
            complain(f"the export continues; wait for it with `axxon-exportfs wait {quoted(directory)}`")
        raise
    answer: dict[str, Any] = {
        "request": str(mountpoint.absolute() / "new" / f"{stem}.json"),
        "session": str(directory),
    }
    if record is None:
        _print(answer, [directory], as_json)
        return 0
    results = _results(record)
    more = {
        "state": record.state,
        "error": record.error or None,
        "coverage": record.raw.get("coverage"),
        "results": [str(path) for path in results],
    }
    _print({**answer, **more}, results, as_json)
    return verdict([record])


def say_interval(wish: Wish, *, sure: bool) -> None:
    """What was understood, and a question where it may be a mistake. UsageError where nobody can be asked."""
    start, end = wish.interval()
    complain(understood(start, end))
    found = [] if sure else doubts(start, end, datetime.now(UTC))
    if not found:
        return
    for doubt in found:
        if on_terminal():
            complain(doubt)
    if not on_terminal():
        raise click.UsageError(f"{'; '.join(found)}: correct it, or give --yes if it is intended")
    if not click.confirm("Export it all the same?", err=True):
        raise Failure("nothing was exported")


def _results(record: SessionRecord) -> list[Path]:
    return [record.directory / file.name for file in record.files if file.name]


def _print(answer: Mapping[str, Any], paths: list[Path], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    for path in paths:
        echo_path(path)
