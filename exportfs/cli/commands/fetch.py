"""`fetch`: export, wait and copy in one command that can be repeated until it is through."""

import hashlib
from datetime import datetime
from functools import partial
from pathlib import Path

import click

from exportfs.cli.commands.copy import copy_all
from exportfs.cli.commands.export import say_interval
from exportfs.cli.completion import complete_cameras
from exportfs.cli.failures import complain
from exportfs.cli.footage_check import check_wish
from exportfs.cli.params.arguments import JSON
from exportfs.cli.params.formats import VIDEO_FORMAT
from exportfs.cli.params.hand_over import form_options
from exportfs.cli.params.mountpoint import chosen_mount
from exportfs.cli.params.quantities import DURATION, FILE
from exportfs.cli.params.times import TIME
from exportfs.cli.terminal.following import FOOTAGE_MISSING, follow, verdict
from exportfs.cli.terminal.output import echo_path
from exportfs.client.fetched import fetched_before, lacking, missing_footage, remember_fetched, started_before
from exportfs.client.hand_over import Form
from exportfs.client.request import Wish, default_name, request_text
from exportfs.client.sessions import read_session
from exportfs.client.signing import Signer
from exportfs.client.submit import interrupt_held_back, submit
from exportfs.errors import InvalidArgument
from exportfs.record import COMPLETED

DIGEST_LENGTH = 10
"""Characters of the hash in the request's name: the same request again has the same name, and starts nothing new."""


@click.command(short_help="Export a camera's footage and copy it, in one go.")
@click.argument("camera", shell_complete=complete_cameras)
@click.argument("dest", metavar="DEST", type=FILE)
@click.option(
    "--mount",
    "mountpoint",
    metavar="MOUNTPOINT",
    type=FILE,
    help="The mount to use, where there are several.",
)
@click.option(
    "--from",
    "start",
    type=TIME,
    metavar="TIME",
    help="Start: 2026-05-11T10:04:11+02:00, or local time, '2026-05-11 10:04' or 'yesterday 10:04'.",
)
@click.option("--to", "end", type=TIME, metavar="TIME", help="End.")
@click.option(
    "--duration", type=DURATION, metavar="DURATION", help="Length in place of --from or --to, as in 10m."
)
@click.option("--format", type=VIDEO_FORMAT, default="mp4", show_default=True, help="Kind of video.")
@click.option("--archive", metavar="ARCHIVE", help="Name or access point of the archive.")
@click.option("--agent", metavar="AGENT", help="Name or access point of the export agent.")
@click.option("--force", is_flag=True, help="Export even where the archive has no footage.")
@click.option("--yes", is_flag=True, help="Do not ask about times far in the past or in the future.")
@form_options
@JSON
def fetch(
    camera: str,
    dest: Path,
    mountpoint: Path | None,
    start: datetime | None,
    end: datetime | None,
    duration: float | None,
    format: str,
    archive: str | None,
    agent: str | None,
    force: bool,
    yes: bool,
    bagit: bool,
    sign: Signer | None,
    as_json: bool,
) -> int:
    """Export a camera's footage and copy it, in one go.

    CAMERA is a label, a name, an id or an access point. The results go to DEST/<name of the session>, verified, with
    SHA256SUMS, manifest.json and report.html. After Ctrl-C or a crash the same command goes on where it was: it starts
    no second export, and copies no more than is missing.
    """
    wish = Wish((camera,), format, archive, start, end, duration, agent=agent)
    if wish.live:
        raise click.UsageError("the interval is missing: give two of --from, --to and --duration")
    try:
        text = request_text(wish)
        wish.interval()
    except InvalidArgument as error:
        raise click.UsageError(str(error)) from error
    say_interval(wish, sure=yes)
    mount = chosen_mount(mountpoint, option="--mount")
    digest = hashlib.sha256(text.encode()).hexdigest()[:DIGEST_LENGTH]
    there = fetched_before(dest, digest)
    lacks = lacking(there, bag=bagit, signed=sign is not None) if there is not None else ""
    if there is not None and not lacks:
        complain(f"{there}: fetched already; remove this folder to fetch it again")
        echo_path(there)
        warnings = missing_footage(there)
        for line in warnings:
            complain(line)
        return FOOTAGE_MISSING if warnings else 0
    directory = started_before(mount, default_name(wish, digest))
    if there is not None and directory is None:
        complain(f"{there}: fetched already, but {lacks}; remove this folder to fetch it again")
        return 1
    if directory is None:
        if not force:
            check_wish(mount, wish)
        submitted = partial(submit, mount, default_name(wish, digest), text.encode(), again=True)
    else:
        submitted = partial(Path, directory)
    try:
        with interrupt_held_back():
            directory = submitted()
        (record,) = follow([directory])
    except KeyboardInterrupt:
        if directory is not None:
            complain("the export continues; repeat the command to resume")
        raise
    code = verdict([record])
    if not record.files or record.state != COMPLETED:
        return code
    copied = copy_all([read_session(directory)], dest, as_json, Form(bagit, sign))
    if copied != 1:
        remember_fetched(dest, digest, record)
    return copied or code
