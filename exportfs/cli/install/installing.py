"""Installing files and removing exactly those: a record says what was put where, and with which content."""

import contextlib
import hashlib
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from exportfs.errors import ExportfsError


class Trouble(ExportfsError):
    """One thing could not be installed; the others can."""


class Say(Protocol):
    def __call__(self, what: str, trouble: bool = False) -> None: ...


@dataclass(frozen=True, slots=True)
class Thing:
    """A file to install."""

    title: str
    path: Path
    content: str
    mode: int = 0o644


@dataclass(frozen=True, slots=True)
class Places:
    """Where things go."""

    system: bool
    root: Path
    record: Path
    helper: Path | None
    units: tuple[tuple[bool, Path], ...]
    """Directories of units; whether they are the system's."""
    bash: Path
    zsh: Path
    fish: Path
    man: Path
    updatedb: Path | None


@dataclass(slots=True)
class Record:
    """What was installed: files with the SHA-256 of their content, directories made, words added to files."""

    path: Path
    files: dict[str, str] = field(default_factory=dict)
    directories: list[str] = field(default_factory=list)
    edits: dict[str, str] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> "Record":
        """An empty one where there is none. Raises ExportfsError where it is damaged."""
        try:
            known = json.loads(path.read_text())
            return cls(path, dict(known["files"]), list(known["directories"]), dict(known["edits"]))
        except FileNotFoundError:
            return cls(path)
        except (ValueError, KeyError, TypeError):
            raise ExportfsError(f"{path}: damaged record of what was installed: move it away") from None

    def save(self) -> None:
        if not self.files and not self.edits:
            self.path.unlink(missing_ok=True)
            self._drop_directories()
            return
        self.make_directory(self.path.parent)
        known = {"files": self.files, "directories": self.directories, "edits": self.edits}
        write(self.path, json.dumps(known, indent=2) + "\n", 0o644)

    def make_directory(self, directory: Path) -> None:
        """Also its parents; those that were not there are noted."""
        missing = [place for place in (directory, *directory.parents) if not place.exists()]
        directory.mkdir(parents=True, exist_ok=True)
        self.directories += [os.fspath(place) for place in reversed(missing)]

    def _drop_directories(self) -> None:
        for directory in reversed(self.directories):
            with contextlib.suppress(OSError):
                os.rmdir(directory)
        self.directories.clear()


def digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def content_of(path: Path) -> str | None:
    """None where nothing is there."""
    try:
        return path.read_text(errors="surrogateescape")
    except FileNotFoundError:
        return None


def write(path: Path, content: str, mode: int) -> None:
    """All at once: who reads it meanwhile sees the old or the new."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "w", errors="surrogateescape") as file:
            file.write(content)
        os.chmod(name, mode)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise


def install(thing: Thing, record: Record, say: Say, *, dry_run: bool) -> None:
    """Raises Trouble where something else is there already, or it may not be written."""
    path = os.fspath(thing.path)
    there = content_of(thing.path)
    ours = (
        there is not None
        and record.files.get(path) == hashlib.sha256(there.encode(errors="surrogateescape")).hexdigest()
    )
    if there == thing.content and path in record.files:
        say(f"{path}: {thing.title} is up to date")
        return
    if there is not None and not ours:
        raise Trouble(
            f"{path}: exists and was not installed by setup: {thing.title} skipped; move it away first"
        )
    if dry_run:
        say(f"{path}: would install {thing.title}")
        return
    try:
        record.make_directory(thing.path.parent)
        write(thing.path, thing.content, thing.mode)
    except OSError as error:
        raise Trouble(f"{path}: {error.strerror}: {thing.title} left out") from None
    record.files[path] = digest(thing.content)
    record.save()
    say(f"{path}: installed {thing.title}")


def remove(record: Record, say: Say, *, dry_run: bool) -> None:
    """What was changed since stays."""
    for path, known in list(record.files.items()):
        there = content_of(Path(path))
        if there is not None and hashlib.sha256(there.encode(errors="surrogateescape")).hexdigest() != known:
            say(f"{path}: was changed since it was installed: kept")
        elif dry_run:
            say(f"{path}: would be removed")
            continue
        elif not _unlink(path, say):
            continue
        if not dry_run:
            del record.files[path]
    for path, word in list(record.edits.items()):
        _take_out(Path(path), word, say, dry_run=dry_run)
        if not dry_run:
            del record.edits[path]
    if not dry_run:
        record.save()


def _unlink(path: str, say: Say) -> bool:
    try:
        Path(path).unlink(missing_ok=True)
    except OSError as error:
        say(f"{path}: {error.strerror}: not removed", trouble=True)
        return False
    say(f"{path}: removed")
    return True


def edit(
    path: Path, word: str, change: Callable[[str], str | None], record: Record, say: Say, *, dry_run: bool
) -> None:
    """Puts a word into a file of the system; `change` gives its new text, None where there is no place for it."""
    text = content_of(path)
    if text is None:
        say(f"{path}: not there, so {word} need not be put into it")
        return
    if word in text.split() or f'"{word}' in text or f'{word}"' in text:
        say(f"{path}: {word} is already in it")
        return
    changed = change(text)
    if changed is None:
        say(f"{path}: has no place for {word}; left as it is")
        return
    if dry_run:
        say(f"{path}: would put {word} into it")
        return
    write(path, changed, path.stat().st_mode & 0o777)
    record.edits[os.fspath(path)] = word
    record.save()
    say(f"{path}: put {word} into it")


def _take_out(path: Path, word: str, say: Say, *, dry_run: bool) -> None:
    text = content_of(path)
    if text is None or word not in text:
        return
    if dry_run:
        say(f"{path}: would take {word} out of it")
        return
    write(path, text.replace(f" {word}", "").replace(f"{word} ", ""), path.stat().st_mode & 0o777)
    say(f"{path}: took {word} out of it")


def describe(where: Places, say: Say) -> None:
    """What to do next."""
    if where.root != Path("/"):
        return
    if where.system:
        say("next: `systemctl daemon-reload`; then see docs/fstab.md")
    else:
        say("next: `systemctl --user daemon-reload`; then see docs/fstab.md")
