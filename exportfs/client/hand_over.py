"""What makes a folder of copied results fit to be handed over: its report, a signature, the form of a bag, and an index
over several folders."""

import errno
import hashlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exportfs import __version__
from exportfs.client.copy_file import DestinationTrouble, hash_file
from exportfs.client.manifest import MANIFEST, SIGNATURES, SUMS, Manifest, replace_file, set_aside
from exportfs.client.regular import read_regular
from exportfs.client.signing import Signer
from exportfs.errors import ExportfsError, InvalidArgument
from exportfs.os_errors import sentence
from exportfs.pages.rendering import GENERATOR
from exportfs.pages.report import CopiedSession, report_page, several_page
from exportfs.program import PROGRAM

Note = Callable[[str], None]
"""Takes a sentence about something that was found and left, or put aside."""
INDEX = "index.html"
BAG, PAYLOAD = "bagit.txt", "data"
_HEAD = 4096
"""Bytes at the start of a page that tell whose it is."""


@dataclass(frozen=True, slots=True)
class Form:
    """How a copy is to be laid out."""

    bag: bool = False
    signer: Signer | None = None

    def payload(self, folder: Path) -> Path:
        """Where in a session's folder the results go."""
        return folder / PAYLOAD if self.bag else folder

    def check(self, folder: Path) -> None:
        """InvalidArgument where what is there has the other form."""
        is_bag = (folder / BAG).exists() or (folder / PAYLOAD / MANIFEST).exists()
        if is_bag and not self.bag:
            raise InvalidArgument(f"{folder}: holds a bag: repeat with --bagit, or choose another DEST")
        if self.bag and not is_bag and (folder / MANIFEST).exists():
            raise InvalidArgument(f"{folder}: holds a copy that is not a bag: choose another DEST")


def hand_over(folder: Path, manifest: Manifest, form: Form, note: Note) -> str | None:
    """Writes the report, the sums, the signature and the bag's own files of a session's folder.

    Gives a sentence where it could not be signed; all else is written then. Raises DestinationTrouble.
    """
    failure: str | None = None
    signer = form.signer
    manifest.save(_report(manifest, form, signer))
    if signer is not None:
        try:
            signature = signer.sign((manifest.folder / SUMS).read_bytes())
        except ExportfsError as error:
            failure, signer = f"{folder}: {error}", None
            manifest.save(_report(manifest, form, None))
        else:
            replace_file(manifest.folder / signer.file, signature)
    for name in SIGNATURES:
        stale = manifest.folder / name
        if os.path.lexists(stale) and (signer is None or name != signer.file):
            note(f"{stale}: signs what the folder held before; it is {set_aside(stale).name} now")
    if form.bag:
        _write_bag(folder, manifest)
    return failure


def _report(manifest: Manifest, form: Form, signer: Signer | None) -> bytes:
    document = manifest.document()
    options = json.dumps(document["session"]["options"], indent=2, ensure_ascii=False)
    view = signer.view() if signer is not None else None
    return report_page(document, options, signature=view, bag=form.bag)


def is_ours(page: Path) -> bool:
    """Whether a page was made by this program."""
    try:
        head = read_regular(page, _HEAD)
    except OSError:
        return False
    return f'<meta name="generator" content="{GENERATOR}">'.encode() in head


def set_aside_foreign(page: Path, note: Note) -> None:
    """What bears the report's name and is somebody else's: kept, but not under that name."""
    if os.path.lexists(page) and not is_ours(page):
        note(f"{page}: is not from {PROGRAM}; it is {set_aside(page).name} now")


# Bags.


def _write_bag(folder: Path, manifest: Manifest) -> None:
    """The files of a bag (RFC 8493, section 2) around its payload; the ones that make it valid come last."""
    known = {name: str(entry["sha256"]) for name, entry in manifest.files.items()}
    try:
        payload = sorted(path for path in manifest.folder.rglob("*") if path.is_file())
        lines, total = [], 0
        for path in payload:
            name = path.relative_to(manifest.folder).as_posix()
            total += path.stat().st_size
            sha256 = known.get(name) or hash_file(path, lambda _: None)
            lines.append(f"{sha256}  {PAYLOAD}/{name}\n")
    except OSError as error:
        raise DestinationTrouble(sentence(error)) from error
    session = manifest.head["session"]
    info = {
        "Bag-Software-Agent": f"{PROGRAM} {__version__}",
        "Bagging-Date": datetime.now(UTC).date().isoformat(),
        "External-Identifier": session["id"],
        "External-Description": f"Export {session['name']} of {manifest.head['server'] or 'an unknown server'}",
        "Payload-Oxum": f"{total}.{len(payload)}",
    }
    tags = {
        BAG: "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n",
        "bag-info.txt": "".join(f"{label}: {_line(value)}\n" for label, value in info.items()),
        "manifest-sha256.txt": "".join(lines),
    }
    contents = {name: text.encode("utf-8", "surrogateescape") for name, text in tags.items()}
    sums = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in contents.items()]
    for name, content in {**contents, "tagmanifest-sha256.txt": "".join(sums).encode()}.items():
        replace_file(folder / name, content)


def _line(text: str) -> str:
    """One line, as a value in bag-info.txt has to be."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


# Several sessions.


def write_index(dest: Path, note: Note) -> None:
    """`index.html` over the folders in `dest`, where there are several; an index of somebody else's stays."""
    sessions = []
    try:
        folders = sorted(entry.name for entry in os.scandir(dest) if entry.is_dir(follow_symlinks=False))
        for name in folders:
            session = _copied(dest, name)
            if session is not None:
                sessions.append(session)
    except OSError as error:
        raise DestinationTrouble(sentence(error)) from error
    index = dest / INDEX
    if len(sessions) < 2:
        return
    if os.path.lexists(index) and not is_ours(index):
        note(f"{index}: is not from {PROGRAM} and stays: there is no index over these folders")
        return
    replace_file(index, several_page(sessions))


def _copied(dest: Path, name: str) -> CopiedSession | None:
    """A folder that `copy` made; None for any other."""
    for within in ((), (PAYLOAD,)):
        folder = dest.joinpath(name, *within)
        try:
            document: Mapping[str, Any] = json.loads(read_regular(folder / MANIFEST))
            sums = read_regular(folder / SUMS)
        except (FileNotFoundError, NotADirectoryError, ValueError):
            continue
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EINVAL, errno.EISDIR):
                continue  # a link, or no file at all: not ours
            raise
        if isinstance(document, dict) and str(document.get("format", "")).startswith(PROGRAM):
            report = (name, *within, Manifest(folder).report.name)
            return CopiedSession(name, report, document, hashlib.sha256(sums).hexdigest())
    return None
