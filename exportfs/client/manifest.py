"""What a folder of copied results says of itself: `manifest.json`, `report.html` and `SHA256SUMS`."""

import contextlib
import hashlib
import json
import os
import re
import socket
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from exportfs import __version__
from exportfs.client.copy_file import DestinationTrouble, sync_directory
from exportfs.client.mounts import members
from exportfs.client.regular import read_regular
from exportfs.client.sessions import FileRecord, SessionRecord
from exportfs.directories import user_name
from exportfs.errors import InvalidArgument
from exportfs.os_errors import sentence
from exportfs.program import PROGRAM

MANIFEST = "manifest.json"
SUMS = "SHA256SUMS"
REPORT = "report.html"
SSH_SIGNATURE, GPG_SIGNATURE = SIGNATURES = (f"{SUMS}.sig", f"{SUMS}.asc")
RESERVED = frozenset(name.casefold() for name in (MANIFEST, SUMS, REPORT, *SIGNATURES, "-"))
"""Names that no result may have in the folder. `-` is standard input for sha256sum."""
VERSION = 1
_TELLING = ("size", "file_id", "min_timestamp", "max_timestamp")
"""What makes a result this one."""
_LONGEST_NAME = 255
_STATE_SUFFIX = ".state"


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC, in whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def who() -> dict[str, str]:
    """User and machine, from the system and not from the environment, which anyone can set."""
    uid = os.getuid()
    return {"user": user_name(uid) or str(uid), "host": socket.gethostname()}


def local_names(names: Iterable[str], *, bag: bool = False) -> list[str]:
    """What to call each result in the folder: itself, except where the folder's own files are called so, or
    where a disk that takes `A` and `a` for one name (or two normal forms of `ü`) would lose one of two.

    In a bag, what its manifest would have to encode becomes `_`: bagit-python 1.9 reads `%25` otherwise than RFC 8493.
    """
    taken = set(RESERVED)
    result = []
    for name in names:
        name = re.sub(r"[%\r\n]", "_", name) if bag else name
        stem, dot, extension = name.rpartition(".")
        stem, extension = (stem, dot + extension) if stem else (name, "")
        candidate, number = name, 1
        while _alike(candidate) in taken:
            number += 1
            candidate = f"{stem}~{number}{extension}"
        taken.add(_alike(candidate))
        result.append(candidate)
    return result


def _alike(name: str) -> str:
    """The same for names that are one on some disk."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def side_name(name: str, names: Iterable[str], suffix: str) -> str:
    """`NAME.part` and the like, or a hash where that would be too long or is the name of a result."""
    taken = {_alike(other) for other in names}
    side = f"{name}.{suffix}"
    too_long = len(os.fsencode(side)) + len(_STATE_SUFFIX) > _LONGEST_NAME
    if too_long or {_alike(side), _alike(f"{side}{_STATE_SUFFIX}")} & taken:
        return f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:32]}.{suffix}"
    return side


def set_aside(path: Path) -> Path:
    """Renames what bears a name of ours and is something else, and says to what. Raises OSError."""
    number = 1
    while os.path.lexists(aside := path.with_name(side_name(path.name, (), f"other{number}"))):
        number += 1
    return path.rename(aside)


def is_plain(name: str) -> bool:
    """Whether a name stays in its directory, in sight."""
    return bool(name) and not name.startswith(".") and "/" not in name and "\0" not in name


def sums_line(sha256: str, name: str) -> bytes:
    """A line as `sha256sum` writes and reads it, with its escapes."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    mark = "\\" if escaped != name else ""
    return f"{mark}{sha256}  ".encode() + os.fsencode(escaped) + b"\n"


@dataclass(slots=True)
class Manifest:
    """The manifest of one session's folder, and how it gets onto the disk."""

    folder: Path
    head: dict[str, Any] = field(default_factory=dict)
    files: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By the name in the folder."""
    not_copied: list[dict[str, Any]] = field(default_factory=list)
    _texts: dict[str, tuple[dict[str, Any], str]] = field(default_factory=dict, repr=False)
    """Entries of `files` as they were saved last, and their text: all are saved again with every file that comes."""

    @classmethod
    def load(cls, folder: Path, record: SessionRecord) -> "Manifest":
        """The one that is there, or a new one. InvalidArgument where it is damaged or another session's."""
        path = folder / MANIFEST
        try:
            document = json.loads(read_regular(path))
        except FileNotFoundError:
            return cls(folder)
        except OSError as error:
            raise InvalidArgument(
                f"{path}: cannot be read ({error.strerror}): move it away and copy again"
            ) from error
        except ValueError as error:
            raise InvalidArgument(f"{path}: damaged ({error}): move it away and copy again") from error
        session = document.get("session") if isinstance(document, dict) else None
        if not isinstance(session, dict) or session.get("id") != record.id:
            raise InvalidArgument(f"{folder}: belongs to another session: choose another DEST")
        # Of what was written otherwise nothing is known. A version that made no report gave results its name.
        files = {
            name: dict(item)
            for item in members(document.get("files"))
            if isinstance(name := item.get("name"), str)
            and isinstance(item.get("sha256"), str)
            and is_plain(name)
            and name.casefold() not in RESERVED
        }
        return cls(folder, {"created_at": document.get("created_at")}, files)

    def describe(self, record: SessionRecord, server: str, now: datetime) -> None:
        """Who the session is, of what server, and when it was looked at."""
        created = self.head.get("created_at") or timestamp(now)
        raw = record.raw
        self.head = {
            "format": f"{PROGRAM} manifest",
            "version": VERSION,
            "tool": f"{PROGRAM} {__version__}",
            "server": server or None,
            "session": {
                "id": record.id,
                "name": record.name,
                "state": record.state,
                "error": record.error or None,
                "options": raw.get("options"),
                "cameras": raw.get("cameras"),
                "footage": raw.get("footage"),
                "coverage": raw.get("coverage"),
            },
            "created_at": created,
            "verified_at": timestamp(now),
        }

    def add(self, name: str, file: FileRecord, sha256: str, now: datetime) -> None:
        """A result that was copied and verified."""
        self.files[name] = {
            "name": name,
            "size": file.size,
            "sha256": sha256,
            "file_id": file.file_id,
            "mime_type": file.mime_type,
            "min_timestamp": file.min_timestamp,
            "max_timestamp": file.max_timestamp,
            "copied_at": timestamp(now),
            "copied_by": who(),
        }

    def knows(self, name: str, file: FileRecord) -> str | None:
        """The SHA-256 of a result that was copied before, if it is this very one: a server may give ids again, and then
        the footage's times tell."""
        entry = self.files.get(name, {})
        same = all(entry.get(each) == getattr(file, each) for each in _TELLING)
        sha256 = entry.get("sha256")
        return sha256 if same and isinstance(sha256, str) else None

    @property
    def report(self) -> Path:
        """Where the report is."""
        return self.folder / REPORT

    def document(self) -> dict[str, Any]:
        """What is in the file."""
        return {**self.head, "files": list(self.files.values()), "not_copied": self.not_copied}

    def _text(self) -> str:
        """The document, two spaces deeper at each level."""
        parts = []
        for key, value in self.document().items():
            text = self._files_text() if key == "files" else json.dumps(value, indent=2).replace("\n", "\n  ")
            parts.append(f"  {json.dumps(key)}: {text}")
        return "{\n" + ",\n".join(parts) + "\n}\n"

    def _files_text(self) -> str:
        texts = []
        for name, entry in self.files.items():
            known, text = self._texts.get(name, (None, ""))
            if known is not entry:
                text = "    " + json.dumps(entry, indent=2).replace("\n", "\n    ")
                self._texts[name] = entry, text
            texts.append(text)
        return "[\n" + ",\n".join(texts) + "\n  ]" if texts else "[]"

    def save(self, report: bytes | None = None) -> None:
        """Manifest and report, then the sums, which cover them too; each replaced as a whole. DestinationTrouble.

        Before all is copied there is no report; one of an earlier copy is then no longer covered.
        """
        content = self._text().encode()
        lines = [sums_line(entry["sha256"], name) for name, entry in self.files.items()]
        lines.append(sums_line(hashlib.sha256(content).hexdigest(), MANIFEST))
        if report is None:
            with _trouble(self.report):
                self.report.unlink(missing_ok=True)
        replace_file(self.folder / MANIFEST, content)
        if report is not None:
            lines.append(sums_line(hashlib.sha256(report).hexdigest(), REPORT))
            replace_file(self.report, report)
        replace_file(self.folder / SUMS, b"".join(lines))


def replace_file(path: Path, content: bytes) -> None:
    """Puts this in a file's place, on the disk and as a whole. DestinationTrouble."""
    temporary = path.with_name(f".{path.name}.tmp")
    with _trouble(path):
        # Not written over: it may be a file that has another name as well.
        temporary.unlink(missing_ok=True)
        descriptor = os.open(
            temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644
        )
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_directory(path.parent)


@contextlib.contextmanager
def _trouble(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        error.filename = os.fspath(path)
        raise DestinationTrouble(f"{sentence(error)}; repeat the command to resume from there") from error
