"""Session directories of a mount, through ordinary file calls, and what their `.session.json` says."""

import contextlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exportfs import record
from exportfs.client.asking import ask
from exportfs.errors import InvalidArgument, NotFound
from exportfs.record import COMPLETED, REMOVED, RUNNING, STOPPED

RECORD = record.SESSION


@dataclass(frozen=True, slots=True)
class FileRecord:
    """A result, as `.session.json` describes it. What is missing there is empty here."""

    name: str
    size: int
    """Bytes."""
    file_id: str = ""
    mime_type: str = ""
    min_timestamp: str = ""
    max_timestamp: str = ""
    downloadable: bool = True


@dataclass(frozen=True, slots=True)
class SessionRecord:
    """A session, as `.session.json` describes it."""

    directory: Path
    state: str
    id: str = ""
    progress: float | None = None
    """0 to 1; None where unknown."""
    expires_at: str = ""
    error: str = ""
    files: tuple[FileRecord, ...] = ()
    missing: tuple[str, ...] = ()
    """Sentences: the footage that was asked for and is not there (`coverage.warnings`)."""
    unsure: str = ""
    """Why it cannot be told whether all is there (`coverage.note`)."""
    cameras: tuple[str, ...] = ()
    """Labels."""
    raw: Mapping[str, Any] = field(default_factory=dict)
    """The whole record, for `--json` and manifests."""

    @property
    def name(self) -> str:
        return self.directory.name

    @property
    def empty(self) -> bool:
        """Whether it completed and has no result at all."""
        return self.state == COMPLETED and not self.files

    @property
    def partial(self) -> bool:
        """Whether it ended with results, and footage that was asked for is not in them."""
        return self.state in (COMPLETED, STOPPED) and bool(self.files) and bool(self.missing)

    @property
    def size(self) -> int:
        """Bytes of all results."""
        return sum(file.size for file in self.files)


def locate(path: Path) -> Path:
    """The session directory that a path names: itself, or a link in `new/` or `sessions/`, or a request file.

    NotFound where there is no session; OSError, and MountSilent where the mount does not answer.
    """
    return ask(path, lambda: _locate(path))


def _locate(path: Path) -> Path:
    link = path.with_suffix("") if path.suffix == ".json" else path
    start = link if link.is_symlink() else path
    directory = start.resolve()
    try:
        (directory / RECORD).stat()
    except FileNotFoundError:
        if start.is_symlink():
            raise NotFound(f"{path}: this session is no longer on the server") from None
        if not directory.exists():
            raise NotFound(f"{path}: there is no such session; see `axxon-exportfs status`") from None
        raise NotFound(
            f"{path}: not a session directory; give one of those in sessions/ of a mount"
        ) from None
    except NotADirectoryError:
        raise NotFound(f"{path}: not a session directory, but a file; give the directory") from None
    return directory


def read_session(directory: Path) -> SessionRecord:
    """What `.session.json` says now. InvalidArgument where it is not a record; OSError, MountSilent."""
    return ask(directory, lambda: _read_session(directory))


def _read_session(directory: Path) -> SessionRecord:
    path = directory / RECORD
    try:
        raw: record.SessionJson = json.loads(path.read_bytes())
    except ValueError as error:
        raise InvalidArgument(f"{path}: invalid JSON: {error}") from error
    if not isinstance(raw, dict):
        raise InvalidArgument(f"{path}: not a session's record")
    if raw.get("kept_alive") is None:
        raw.update(_keeping(directory))
    progress = raw.get("progress")
    files = raw.get("files")
    told = raw.get("coverage")
    coverage: record.CoverageJson = told if isinstance(told, dict) else {}
    warnings = coverage.get("warnings")
    cameras = raw.get("cameras")
    return SessionRecord(
        directory=directory,
        state=_text(raw.get("state")) or RUNNING,
        id=_text(raw.get("id")),
        progress=min(1.0, max(0.0, float(progress))) if isinstance(progress, int | float) else None,
        expires_at=_text(raw.get("expires_at")),
        error=_text(raw.get("error")),
        files=tuple(_file(item) for item in files if isinstance(item, dict))
        if isinstance(files, list)
        else (),
        missing=tuple(filter(None, map(_text, warnings))) if isinstance(warnings, list) else (),
        unsure=_text(coverage.get("note")),
        cameras=tuple(filter(None, map(_text, cameras))) if isinstance(cameras, list) else (),
        raw=dict(raw),
    )


def _keeping(directory: Path) -> record.SessionJson:
    """`kept_alive` and `expires_at` of a completed session: its record stands still, its attributes tell them."""
    found: record.SessionJson = {}
    with contextlib.suppress(OSError):
        found["kept_alive"] = os.getxattr(directory, "user.exportfs.kept_alive") == b"true"
        found["expires_at"] = os.getxattr(directory, "user.exportfs.expires").decode("ascii", "replace")
    return found


def removed(directory: Path) -> SessionRecord:
    """Stands for a session that is gone from the server."""
    return SessionRecord(directory, REMOVED, raw={"name": directory.name, "state": REMOVED})


def _file(item: record.FileJson) -> FileRecord:
    size = item.get("size")
    return FileRecord(
        name=_text(item.get("name")),
        size=size if isinstance(size, int) else 0,
        file_id=_text(item.get("file_id")),
        mime_type=_text(item.get("mime_type")),
        min_timestamp=_text(item.get("min_timestamp")),
        max_timestamp=_text(item.get("max_timestamp")),
        downloadable=item.get("downloadable") is not False,
    )


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
