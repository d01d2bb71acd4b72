"""The report of one session that was copied, and the index over several: what a recipient opens without our program.

Made of the manifest (`manifest.json`), so that the two cannot tell different things. Nothing in it is believed to have
the shape that it should have: options, cameras and times are whatever a server sent.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from exportfs.pages.rendering import render
from exportfs.pages.safe import kind_of, link
from exportfs.pages.times import Interval, Moment, maybe, moment, zone
from exportfs.timestamps import parse_server
from exportfs.units import human_duration


@dataclass(frozen=True, slots=True)
class FileView:
    """A file of the report."""

    name: str
    size: int
    """Bytes."""
    sha256: str
    mime_type: str
    begin: Moment | None
    end: Moment | None
    duration: str | None
    copied_at: Moment | None
    copied_by: str
    location: None = None

    @property
    def kind(self) -> str:
        return kind_of(self.name)


@dataclass(frozen=True, slots=True)
class SignatureView:
    """How to verify the signature of the sums."""

    kind: str
    """`ssh` or `gpg`."""
    file: str
    fingerprint: str
    signer: str
    """Who signed: the identity for ssh-keygen, the key's id for gpg."""
    public_key: str | None = None
    """A line of an ssh key: type and base64."""


@dataclass(frozen=True, slots=True)
class CopiedSession:
    """A session's folder, for the index over several."""

    folder: str
    report: tuple[str, ...]
    """Names from the folder of the index to the report."""
    manifest: Mapping[str, Any]
    sums_sha256: str


def report_page(
    manifest: Mapping[str, Any],
    options_json: str,
    *,
    signature: SignatureView | None = None,
    bag: bool = False,
) -> bytes:
    """The page of one session. options_json: its options, to be shown as they are."""
    session = _mapping(manifest.get("session"))
    here = zone()
    coverage = _mapping(session.get("coverage"))
    return render(
        "report.html",
        session={key: _text(session.get(key)) for key in ("id", "name", "state", "error")},
        server=_text(manifest.get("server")),
        server_version=_text(manifest.get("server_version")),
        tool=_text(manifest.get("tool")),
        created=_when(manifest.get("created_at"), here),
        verified=_when(manifest.get("verified_at"), here),
        cameras=cameras_of(session),
        agent=_agent(session.get("options")),
        coverage=coverage,
        share=_percent(coverage.get("share")),
        asked=_interval(coverage.get("asked"), here),
        footage=_interval(coverage.get("results"), here),
        gaps=[_interval(gap, here) for gap in _list(coverage.get("gaps"))],
        warnings=[text for text in map(_text, _list(coverage.get("warnings"))) if text],
        note=_text(coverage.get("note")),
        files=[_file(_mapping(entry), here) for entry in _list(manifest.get("files"))],
        missing=[
            {
                "name": _text(entry.get("name")),
                "size": _size(entry.get("size")),
                "location": _text(entry.get("location")),
                "reason": _text(entry.get("reason")),
            }
            for entry in map(_mapping, _list(manifest.get("not_copied")))
        ],
        options=list(in_words(session.get("options"))),
        options_json=options_json,
        signature=signature,
        bag=bag,
        link=link,
        human_duration=human_duration,
    )


def several_page(sessions: Sequence[CopiedSession]) -> bytes:
    """The index over several folders."""
    here = zone()
    views = []
    for one in sessions:
        session = _mapping(one.manifest.get("session"))
        coverage = _mapping(session.get("coverage"))
        files = [_mapping(entry) for entry in _list(one.manifest.get("files"))]
        views.append(
            {
                "folder": one.folder,
                "href": link(*one.report),
                "cameras": [camera.label for camera in cameras_of(session)],
                "state": _text(session.get("state")),
                "asked": _interval(coverage.get("asked"), here),
                "files": len(files),
                "size": sum(_size(entry.get("size")) for entry in files),
                "not_copied": len(_list(one.manifest.get("not_copied"))),
                "warnings": [text for text in map(_text, _list(coverage.get("warnings"))) if text],
                "note": _text(coverage.get("note")),
                "sums": one.sums_sha256,
                "server": _text(one.manifest.get("server")),
            }
        )
    return render("several.html", sessions=views)


@dataclass(frozen=True, slots=True)
class Camera:
    """A camera of a session."""

    label: str
    access_point: str | None


def cameras_of(session: Mapping[str, Any]) -> list[Camera]:
    """Labels and access points: the record has the labels in the order of the options' sources."""
    labels = [text for text in map(_text, _list(session.get("cameras"))) if text]
    points = list(dict.fromkeys(_origins(session.get("options"))))
    if len(labels) == len(points):
        return [Camera(label, point) for label, point in zip(labels, points, strict=True)]
    return [Camera(label, None) for label in labels] or [Camera(point, point) for point in points]


def in_words(options: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Options as lines: what it is, and its value in words."""
    if isinstance(options, Mapping):
        for key, value in options.items():
            yield from in_words(value, (*path, _spelt(str(key))))
        if not options and path:
            yield ": ".join(path), "yes"  # a message without fields is there all the same
    elif isinstance(options, list):
        for number, value in enumerate(options, 1):
            last = f"{path[-1]} {number}" if path and len(options) > 1 else path[-1] if path else ""
            yield from in_words(value, (*path[:-1], last))
    else:
        yield ": ".join(path), _value(options)


_WORDS = {
    "archive": "from the archive",
    "live": "live",
    "sources": "camera",
    "origin": "access point",
    "storages": "archives",
    "startTimestamp": "from",
    "endTimestamp": "to",
    "stream": "video",
    "snapshot": "picture",
    "exportAgentAccessPoint": "export agent",
}


def _spelt(key: str) -> str:
    """`maxFileSize` is `max file size`."""
    if key in _WORDS:
        return _WORDS[key]
    return "".join(f" {char.lower()}" if char.isupper() else char for char in key).replace("_", " ").strip()


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "not given"
    if isinstance(value, str):
        when = _moment(value)
        if when is not None:
            shown = moment(when, zone())
            return shown.utc if shown.local == shown.utc else f"{shown.local} ({shown.utc})"
        return value or "empty"
    return str(value)


def _file(entry: Mapping[str, Any], here: Any) -> FileView:
    begin, end = (_moment(entry.get(key)) for key in ("min_timestamp", "max_timestamp"))
    duration = None
    if begin is not None and end is not None and end > begin:
        seconds = (end - begin).total_seconds()
        duration = (
            human_duration(seconds) if seconds >= 60 else f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
        )
    by = _mapping(entry.get("copied_by"))
    return FileView(
        name=_text(entry.get("name")),
        size=_size(entry.get("size")),
        sha256=_text(entry.get("sha256")),
        mime_type=_text(entry.get("mime_type")),
        begin=maybe(begin, here),
        end=maybe(end, here),
        duration=duration,
        copied_at=_when(entry.get("copied_at"), here),
        copied_by=f"{_text(by.get('user'))} on {_text(by.get('host'))}",
    )


def _origins(options: object) -> Iterator[str]:
    for mode in ("archive", "live"):
        for source in _list(_mapping(_mapping(options).get(mode)).get("sources")):
            origin = _text(_mapping(source).get("origin"))
            if origin:
                yield origin


def _agent(options: object) -> str:
    found = _mapping(options)
    return _text(found.get("exportAgentAccessPoint") or found.get("export_agent_access_point"))


def _percent(share: object) -> str | None:
    """Rounded down: what is not all is not 100 %."""
    if isinstance(share, bool) or not isinstance(share, int | float) or math.isnan(share):
        return None
    return f"{int(min(max(share, 0.0), 1.0) * 100)} %"


def _interval(value: object, here: Any) -> Interval | None:
    found = _mapping(value)
    begin, end = _when(found.get("begin"), here), _when(found.get("end"), here)
    return None if begin is None and end is None else Interval(begin, end)


def _when(value: object, here: Any) -> Moment | None:
    return maybe(_moment(value), here)


def _moment(value: object) -> datetime | None:
    return parse_server(value) if isinstance(value, str) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _size(value: object) -> int:
    return value if isinstance(value, int) else 0
