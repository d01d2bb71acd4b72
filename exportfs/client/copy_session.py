"""Copying sessions into folders that can be handed over."""

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import astuple, dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from exportfs.client.asking import MountSilent, ask, close_there, open_there
from exportfs.client.copy_file import (
    CHECK,
    DestinationTrouble,
    Job,
    SourceTrouble,
    TooLargeThere,
    copy_result,
    finished,
    forget,
    hash_file,
    identify,
)
from exportfs.client.endings import ending, footage_lines
from exportfs.client.hand_over import Form, hand_over, set_aside_foreign, write_index
from exportfs.client.manifest import Manifest, is_plain, local_names, set_aside, side_name
from exportfs.client.mounts import mount_with, server_address
from exportfs.client.regular import is_regular, may_be_written
from exportfs.client.sessions import FileRecord, SessionRecord
from exportfs.errors import Corrupt, ExportfsError, InvalidArgument
from exportfs.program import quoted
from exportfs.record import ENDED, FAILED, REMOVED

PLAIN = Form()


class Observer:
    """Told what a copy does; whoever wants to know overrides what it needs. Sizes in bytes."""

    def began(self, name: str, size: int) -> None:
        """A result of this name and size is next."""

    def moved(self, name: str, phase: str, done: int) -> None:
        """So much of it is done; `phase` in a word: copying, or checking what is there."""

    def ended(self, name: str) -> None:
        """It is through, or has failed."""

    def note(self, sentence: str) -> None:
        """Something was found and put aside."""


@dataclass(slots=True)
class Copy:
    """What became of several sessions."""

    outcomes: "list[Outcome]"
    fatal: DestinationTrouble | MountSilent | None = None
    """Why nothing more could be written, or read; the sessions after it were not begun."""

    @property
    def problems(self) -> list[str]:
        """What could not be copied, and what is wrong with what was; sentences."""
        return [problem for outcome in self.outcomes for problem in outcome.problems]


def copy_sessions(
    records: Iterable[SessionRecord], dest: Path, form: Form = PLAIN, observer: Observer | None = None
) -> Copy:
    """Copies the results of sessions into `dest/<name of the session>`, each verified, with SHA256SUMS, manifest.json
    and report.html. What is there already is verified and not copied again; what was cut off is continued.

    Never raises for one session or result: see the outcomes.
    """
    observer = Observer() if observer is None else observer
    copy, records = Copy([]), list(records)
    with contextlib.ExitStack() as stack:
        for record in records:
            stack.enter_context(_kept(record))
        for record in records:
            outcome = Outcome(record, dest / record.name, form)
            copy.outcomes.append(outcome)
            try:
                _copy_session(outcome, observer)
            except DestinationTrouble as error:
                copy.fatal = error
                break
            except MountSilent as error:
                copy.fatal = MountSilent(f"{error}; repeat the command to resume from there")
                break
            except ExportfsError as error:
                outcome.problems.append(str(error))
        if copy.fatal is None and any(outcome.written for outcome in copy.outcomes):
            try:
                write_index(dest, observer.note)
            except DestinationTrouble as error:
                copy.fatal = error
    return copy


@dataclass(slots=True)
class Outcome:
    """What became of one session."""

    record: SessionRecord
    folder: Path
    form: Form
    copied: list[str] = field(default_factory=list)
    verified: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    written: bool = False

    @property
    def payload(self) -> Path:
        """Where the results go."""
        return self.form.payload(self.folder)

    def as_json(self) -> dict[str, Any]:
        return {
            "session": str(self.record.directory),
            "folder": str(self.folder) if self.written else None,
            "copied": self.copied,
            "verified": self.verified,
            "problems": self.problems,
            "coverage": self.record.raw.get("coverage"),
        }


def _copy_session(outcome: Outcome, observer: Observer) -> None:
    """Copy what can be copied, and write down the rest. DestinationTrouble where nothing more can be written;
    InvalidArgument where the session or the folder is not fit for it."""
    record, folder = outcome.record, outcome.payload
    if record.state not in ENDED:
        raise InvalidArgument(
            f"{record.name}: still {record.state}: first `axxon-exportfs wait {quoted(record.name)}`"
        )
    if record.state == REMOVED or not record.files:
        lines = footage_lines(record) or [f"{record.name}: has no results"]
        raise InvalidArgument(ending(record) if record.state in (REMOVED, FAILED) else lines[0])
    if (mountpoint := mount_with(outcome.folder)) is not None:
        raise InvalidArgument(
            f"{outcome.folder}: is in the mount {mountpoint} itself, which keeps nothing: choose another DEST"
        )
    outcome.form.check(outcome.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DestinationTrouble(
            f"{folder}: cannot be created: {error.strerror}: choose another DEST"
        ) from error
    with _locked(folder):
        manifest = Manifest.load(folder, record)
        set_aside_foreign(manifest.report, observer.note)
        manifest.describe(record, server_address(record.directory), datetime.now(UTC))
        names = local_names((file.name for file in record.files), bag=outcome.form.bag)
        _earlier(outcome, manifest, names, observer)
        for file, name in zip(record.files, names, strict=True):
            _one(outcome, manifest, file, name, names, observer)
        unsigned = hand_over(outcome.folder, manifest, outcome.form, observer.note)
        outcome.written = True
        if unsigned is not None:
            outcome.problems.append(unsigned)
    if record.state == FAILED:
        outcome.problems.append(f"{ending(record)} (its results so far were copied)")


def _earlier(outcome: Outcome, manifest: Manifest, names: list[str], observer: Observer) -> None:
    """What was copied before and cannot be brought again, since the server has it no more or never had it to give away:
    found to be as it was copied, or no longer promised."""
    brought = {name for file, name in zip(outcome.record.files, names, strict=True) if file.downloadable}
    for name in [name for name in manifest.files if name not in brought]:
        target = outcome.payload / name
        try:
            if _holds(target, manifest.files[name]["sha256"], partial(observer.moved, name, CHECK)):
                outcome.verified.append(name)
                continue
            entry = manifest.files.pop(name)
            manifest.save()
            reason = "was copied before, and is no longer there"
            if os.path.lexists(target):
                aside = set_aside(target).name
                reason = f"differs from what was copied there; it is renamed to {aside}"
        except OSError as error:
            raise DestinationTrouble(f"{target}: {error.strerror}") from error
        if name in names:  # said when its turn comes
            observer.note(f"{target}: {reason}")
            continue
        reason += ", and the session has no such result any more"
        manifest.not_copied.append(
            {"name": name, "location": None, "size": entry.get("size"), "reason": reason}
        )
        outcome.problems.append(f"{target}: {reason}")


def _holds(target: Path, sha256: str | None, report: Callable[[int], None]) -> bool:
    """Whether it is a file with this hash, itself: what a link leads to does not go with the folder."""
    return sha256 is not None and is_regular(target) and hash_file(target, report) == sha256


def _one(
    outcome: Outcome, manifest: Manifest, file: FileRecord, name: str, names: list[str], observer: Observer
) -> None:
    """One result: copied, found to be there, or written down as missing."""
    source = outcome.record.directory / file.name
    if not is_plain(file.name):
        _missing(outcome, manifest, file, source, f"{file.name!r} is not a valid file name")
        return
    if not file.downloadable:
        if manifest.knows(name, file) is not None:
            return  # copied while the server had it, and verified
        where = _location(source, file)
        _missing(outcome, manifest, file, source, f"not on the server but at {where}: fetch it from there")
        return
    job = Job(
        source=source,
        size=file.size,
        target=outcome.payload / name,
        part=outcome.payload / side_name(name, names, "part"),
        identity=identify(outcome.record.id, *astuple(file)),
    )
    observer.began(name, file.size)
    try:
        _bring(outcome, manifest, job, file, observer)
    except (SourceTrouble, TooLargeThere, Corrupt) as error:
        _missing(outcome, manifest, file, source, str(error))
    except OSError as error:
        raise DestinationTrouble(f"{job.target}: {error.strerror}") from error
    finally:
        observer.ended(name)


def _bring(outcome: Outcome, manifest: Manifest, job: Job, file: FileRecord, observer: Observer) -> None:
    name = job.target.name

    def report(phase: str, done: int) -> None:
        observer.moved(name, phase, done)

    for path in (job.part, job.state):
        # What is written there must not get into somebody's file under another name.
        if not may_be_written(path):
            observer.note(f"{path}: is not what a copy left; it is {set_aside(path).name} now")
    if _holds(job.target, manifest.knows(name, file), partial(report, CHECK)):
        outcome.verified.append(name)
        forget(job)
        return
    # From here on the manifest must not promise what may not be there.
    if manifest.files.pop(name, None) is not None:
        manifest.save()
    sha256 = finished(job, report)
    if sha256 is None:
        if os.path.lexists(job.target):
            aside = set_aside(job.target).name
            observer.note(
                f"{job.target}: differs from what was copied there; it is renamed to {aside}, "
                "and the result is copied again"
            )
        sha256 = copy_result(job, report)
    manifest.add(name, file, sha256, datetime.now(UTC))
    manifest.save()
    forget(job)
    outcome.copied.append(name)


def _missing(outcome: Outcome, manifest: Manifest, file: FileRecord, source: Path, reason: str) -> None:
    manifest.not_copied.append(
        {
            "name": file.name,
            "location": None if file.downloadable else _location(source, file),
            "size": file.size,
            "reason": reason,
        }
    )
    label = str(source)
    outcome.problems.append(reason if reason.startswith(label) else f"{label}: {reason}")


def _location(source: Path, file: FileRecord) -> str:
    """Where a result is that the mount shows as a link to `remote:<location>`."""
    with contextlib.suppress(OSError):
        target = ask(source, lambda: os.readlink(source))
        if target.startswith("remote:"):
            return unquote(target.removeprefix("remote:"))
    return file.file_id


@contextlib.contextmanager
def _kept(record: SessionRecord) -> Iterator[None]:
    """Hold one result open, so that the mount keeps the session alive until its turn has come."""
    for file in record.files:
        if file.downloadable and is_plain(file.name):
            try:
                held = open_there(record.directory / file.name, os.O_RDONLY)
            except (OSError, MountSilent):
                # Said when its turn comes.
                break
            try:
                yield
            finally:
                close_there(record.directory, held)
            return
    yield


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Two copies into one folder would write into each other's parts."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InvalidArgument(
                f"{folder}: another copy is in progress there: wait until it has ended"
            ) from None
        except OSError:
            # A filesystem without locks.
            pass
        yield
    finally:
        os.close(descriptor)
