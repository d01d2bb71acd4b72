"""Cameras of a mount and their footage, as `cameras/` tells of them."""

import fnmatch
import json
import os
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from exportfs.client.asking import ask
from exportfs.errors import InvalidArgument, NotFound, Unsupported
from exportfs.naming import legal_name, percent_encode
from exportfs.record import CAMERA, STATUS, CameraJson

EXACT_SLICE = timedelta(hours=1)
"""What a footage file tells exactly."""
MOST_EXACT = timedelta(hours=48)
"""The server tells exactly of an hour at a time: more than this would be too many questions."""


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera, as its `camera.json` describes it. What is missing there is empty here."""

    directory: Path
    label: str
    name: str
    id: str
    access_point: str
    node: str
    enabled: bool
    active: bool
    exportable: bool | None
    """Whether the mount's login may export its footage; None where the server does not say."""
    archives: tuple[str, ...]
    """Names, the preferred one first."""
    raw: Mapping[str, Any] = field(default_factory=dict)
    """The whole record."""


@dataclass(frozen=True, slots=True)
class Interval:
    """A stretch of footage; aware times."""

    begin: datetime
    end: datetime

    @property
    def length(self) -> timedelta:
        return self.end - self.begin


@dataclass(frozen=True, slots=True)
class Footage:
    """What the preferred archive of a camera holds."""

    archive: str
    """Name and access point."""
    exact: bool
    complete: bool
    """False where there is more after the last interval than was told."""
    intervals: tuple[Interval, ...]


def list_cameras(mountpoint: Path) -> list[Camera]:
    """All cameras of a mount, in the server's order.

    Raises Unsupported where the mount says why there are none; OSError where it does not answer.
    """
    return [read_camera(mountpoint / "cameras" / name) for name in _names(mountpoint)]


def find_cameras(mountpoint: Path, patterns: Iterable[str]) -> list[Camera]:
    """The cameras that names or shell patterns mean, each once; all where there are no patterns.

    A name is a label, a display name, an id, an access point or the name of a directory; case and Unicode normal form
    do not matter. Raises NotFound for a pattern that matches nothing, and what `list_cameras` raises.
    """
    wanted = list(patterns)
    if not wanted:
        return list_cameras(mountpoint)
    names = _names(mountpoint)
    found: dict[Path, Camera] = {}
    for pattern in wanted:
        cameras = [read_camera(path) for path in _candidates(mountpoint, names, pattern)]
        matched = [camera for camera in cameras if _matches(camera, _key(pattern))]
        if not matched:
            raise NotFound(
                f"no camera matches {pattern!r}; `axxon-exportfs cameras` lists those that there are"
            )
        found.update((camera.directory, camera) for camera in matched)
    return list(found.values())


def find_camera(mountpoint: Path, name: str) -> Camera:
    """The one camera that a name means. Raises InvalidArgument where several do, NotFound where none does."""
    cameras = [read_camera(path) for path in _candidates(mountpoint, _names(mountpoint), name)]
    matched = [camera for camera in cameras if _key(name) in _words(camera)]
    if len(matched) > 1:
        candidates = ", ".join(f"{one.label} ({one.directory.name})" for one in matched[:5])
        raise InvalidArgument(f"camera {name!r} is ambiguous: it may be {candidates}")
    if not matched:
        raise NotFound(f"there is no camera {name!r}; `axxon-exportfs cameras` lists those that there are")
    return matched[0]


def _candidates(mountpoint: Path, names: Iterable[str], pattern: str) -> list[Path]:
    """Directories of the cameras that may be meant. Their names hold label, name and id, so that only these few have
    to be read; those of access points are found by asking for them."""
    folder = mountpoint / "cameras"
    if pattern.startswith("hosts/") and not any(char in pattern for char in "*?["):
        link = folder / percent_encode(pattern)
        return ask(link, lambda: [folder / os.readlink(link)] if link.is_symlink() else [])
    if pattern.startswith("hosts/"):
        return [folder / name for name in names]
    wanted = _key(legal_name(pattern)) if not any(char in pattern for char in "*?[") else _key(pattern)
    within = f"*{wanted}*" if any(char in pattern for char in "*?[") else None
    keys = ((name, _key(name)) for name in names)
    return [
        folder / name for name, key in keys if (fnmatch.fnmatchcase(key, within) if within else wanted in key)
    ]


@dataclass(frozen=True, slots=True)
class Check:
    """What there is of an interval that somebody wants, as the preferred archive says now."""

    camera: Camera
    archive: str
    covered: float
    """0 to 1."""
    gaps: tuple[Interval, ...]
    before: Interval | None
    """The nearest footage before the interval; looked for only where there is none in it."""
    after: Interval | None


def check_footage(mountpoint: Path, name: str, begin: datetime, end: datetime) -> Check | None:
    """Looks whether there is footage between two aware times.

    None where that cannot be told: the server decides. Raises what `find_camera` raises for a name.
    """
    camera = find_camera(mountpoint, name)
    try:
        told = read_footage(camera, begin, end)
        gaps = _gaps(told.intervals, begin, end)
        missing = sum((gap.length for gap in gaps), timedelta())
        covered = max(0.0, 1 - missing / (end - begin))
        before = after = None
        if not told.intervals:
            everything = read_footage(camera).intervals
            before = next((one for one in reversed(everything) if one.end <= begin), None)
            after = next((one for one in everything if one.begin >= end), None)
    except (OSError, InvalidArgument):
        return None
    return Check(camera, told.archive, covered, tuple(gaps), before, after)


def _gaps(intervals: Iterable[Interval], begin: datetime, end: datetime) -> list[Interval]:
    gaps, position = [], begin
    for one in intervals:
        if one.begin > position:
            gaps.append(Interval(position, min(one.begin, end)))
        position = max(position, one.end)
    if position < end:
        gaps.append(Interval(position, end))
    return gaps


def read_camera(directory: Path) -> Camera:
    """What `camera.json` says now. Raises InvalidArgument where it is not a record; OSError."""
    path = directory / CAMERA
    try:
        raw: CameraJson = json.loads(ask(path, path.read_bytes))
    except ValueError as error:
        raise InvalidArgument(f"{path}: invalid JSON: {error}") from error
    if not isinstance(raw, dict):
        raise InvalidArgument(f"{path}: not a camera's record")
    archives = raw.get("archives")
    return Camera(
        directory=directory,
        label=_text(raw.get("label")) or directory.name,
        name=_text(raw.get("name")),
        id=_text(raw.get("id")),
        access_point=_text(raw.get("access_point")),
        node=_text(raw.get("node")),
        enabled=raw.get("enabled") is True,
        active=raw.get("active") is True,
        exportable=raw["exportable"] if isinstance(raw.get("exportable"), bool) else None,
        archives=tuple(_text(one.get("name")) for one in archives if isinstance(one, dict))
        if isinstance(archives, list)
        else (),
        raw=raw,
    )


def read_footage(camera: Camera, begin: datetime | None = None, end: datetime | None = None) -> Footage:
    """The footage between two aware times; without both of them all of it, coarsely.

    Raises OSError where the archive cannot be asked (EACCES without the right), InvalidArgument for an answer that
    cannot be read.
    """
    return _read(camera.directory / _file_name(begin, end))


def read_footage_exactly(camera: Camera, begin: datetime, end: datetime) -> Footage:
    """The footage between two aware times, asked for an hour at a time. Raises InvalidArgument for more than 48 hours,
    and what `read_footage` raises."""
    if end - begin > MOST_EXACT:
        raise InvalidArgument(
            f"exact footage is told for at most {MOST_EXACT // timedelta(hours=1)} hours; name an interval"
        )
    parts: list[Footage] = []
    position = begin
    while position < end:
        stop = min(position + EXACT_SLICE, end)
        parts.append(read_footage(camera, position, stop))
        position = stop
    return Footage(
        parts[-1].archive,
        all(part.exact for part in parts),
        all(part.complete for part in parts),
        tuple(_joined([interval for part in parts for interval in part.intervals])),
    )


def _file_name(begin: datetime | None, end: datetime | None) -> str:
    if begin is None and end is None:
        return "footage"
    begin = begin or datetime(1970, 1, 1, tzinfo=UTC)
    end = end or datetime.now(UTC) + timedelta(hours=1)
    return f"footage@{_stamp(begin)}--{_stamp(end)}"


def _stamp(moment: datetime) -> str:
    utc = moment.astimezone(UTC).replace(tzinfo=None)
    return utc.isoformat(timespec="milliseconds" if utc.microsecond else "seconds") + "Z"


def _read(path: Path) -> Footage:
    text = ask(path, lambda: path.read_text(encoding="utf-8", errors="replace"))
    head, *lines = text.splitlines() or [""]
    try:
        archive, kind, whole = head.removeprefix("# ").rsplit("; ", 2)
        intervals = [
            Interval(*(datetime.fromisoformat(word) for word in line.split(" ")[:2])) for line in lines
        ]
    except (ValueError, TypeError) as error:
        raise InvalidArgument(f"{path}: not a footage file: {error}") from error
    return Footage(archive, kind == "exact", whole == "complete", tuple(intervals))


def _joined(intervals: list[Interval]) -> list[Interval]:
    """An interval that goes on in the next slice is one."""
    result: list[Interval] = []
    for one in intervals:
        if result and one.begin <= result[-1].end:
            result[-1] = Interval(result[-1].begin, max(result[-1].end, one.end))
        else:
            result.append(one)
    return result


def _names(mountpoint: Path) -> list[str]:
    names = ask(mountpoint, lambda: os.listdir(mountpoint / "cameras"))
    if not names:
        status = json.loads(ask(mountpoint, (mountpoint / STATUS).read_bytes))
        reason = status.get("cameras", {}).get("error")
        if reason:
            raise Unsupported(f"{mountpoint}: {reason}")
    return names


def _matches(camera: Camera, pattern: str) -> bool:
    return any(word == pattern or fnmatch.fnmatchcase(word, pattern) for word in _words(camera))


def _words(camera: Camera) -> set[str]:
    words = (camera.directory.name, camera.label, camera.name, camera.id, camera.access_point)
    return {_key(word) for word in words if word}


def _key(word: str) -> str:
    return unicodedata.normalize("NFC", word.strip()).casefold()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
