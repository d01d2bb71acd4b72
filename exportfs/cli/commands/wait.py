"""`wait`: until export sessions have ended."""

import json
from pathlib import Path

import click

from exportfs.cli.params.arguments import JSON, SESSIONS
from exportfs.cli.params.quantities import DURATION
from exportfs.cli.terminal.following import follow, verdict
from exportfs.client.find import find_sessions


@click.command(short_help="Wait until export sessions have ended.")
@SESSIONS
@click.option(
    "--timeout", type=DURATION, metavar="DURATION", help="Give up after this time, with exit code 1."
)
@JSON
def wait(paths: tuple[Path, ...], timeout: float | None, as_json: bool) -> int:
    """Wait until export sessions have ended.

    SESSION is a session's name as `status` shows it, its directory, or its link in new/. The exit code is 0 if
    all of them completed, 1 if one failed, was stopped, is gone from the server or has no result at all, and 3 if
    results hold less than was asked for. On a terminal it shows progress; Ctrl-C ends the waiting, not the exports.
    """
    records = follow(find_sessions(paths), timeout=timeout)
    if as_json:
        click.echo(json.dumps([dict(record.raw) for record in records], indent=2))
    return verdict(records)
