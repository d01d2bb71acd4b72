"""`copy`: results of sessions into a folder that can be handed over."""

import json
from pathlib import Path

import click

from exportfs.cli.failures import Failure, complain
from exportfs.cli.params.arguments import JSON, SESSIONS_AND_DEST, split_dest
from exportfs.cli.params.hand_over import form_options
from exportfs.cli.terminal.following import FOOTAGE_MISSING
from exportfs.cli.terminal.output import echo_path
from exportfs.cli.terminal.progress import Bar, Bars, Counted, transfers
from exportfs.client.copy_session import PLAIN, Observer, copy_sessions
from exportfs.client.endings import footage_lines
from exportfs.client.find import find_sessions
from exportfs.client.hand_over import Form
from exportfs.client.sessions import SessionRecord, read_session
from exportfs.client.signing import Signer


@click.command(short_help="Copy the results of sessions into a folder, with hashes.")
@SESSIONS_AND_DEST
@form_options
@JSON
def copy(words: tuple[Path, ...], bagit: bool, sign: Signer | None, as_json: bool) -> int:
    """Copy the results of sessions into a folder, with hashes.

    SESSION is a session's name as `status` shows it, its directory, or its link in new/. The results go to
    DEST/<name of the session>, with SHA256SUMS (for `sha256sum -c`), manifest.json, and report.html for people. Each
    is read back and compared before it gets its name. Repeating the command continues what was cut off, and verifies
    what is there. The exit code is 1 where something could not be copied, and 3 where all was copied and results hold
    less than was asked for.
    """
    sessions, dest = split_dest(words)
    records = [read_session(directory) for directory in find_sessions(sessions)]
    return copy_all(records, dest, as_json, Form(bagit, sign))


def copy_all(records: list[SessionRecord], dest: Path, as_json: bool, form: Form = PLAIN) -> int:
    """Copies sessions into folders of their own below `dest`, says what came of it, and gives the exit code."""
    files = [file for record in records for file in record.files if file.downloadable]
    with transfers() as bars:
        display = _Display(Counted(bars, len(files), sum(file.size for file in files)))
        done = copy_sessions(records, dest, form, display)
    if as_json:
        click.echo(json.dumps([outcome.as_json() for outcome in done.outcomes], indent=2))
    else:
        for outcome in done.outcomes:
            if outcome.written:
                echo_path(outcome.folder)
    for problem in done.problems:
        complain(problem)
    for outcome in done.outcomes:
        for line in footage_lines(outcome.record) if outcome.written else ():
            complain(line)
    if done.fatal is not None:
        raise Failure(str(done.fatal))
    if done.problems:
        return 1
    return FOOTAGE_MISSING if any(outcome.record.partial for outcome in done.outcomes) else 0


class _Display(Observer):
    """A bar for each result."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._now: Bar | None = None

    def began(self, name: str, size: int) -> None:
        self._now = self._bars.bar(name, float(size))

    def moved(self, name: str, phase: str, done: int) -> None:
        if self._now is not None:
            self._now.update(done, note=phase)

    def ended(self, name: str) -> None:
        if self._now is not None:
            self._now.done()

    def note(self, sentence: str) -> None:
        complain(sentence)
