"""The schema of the mount's records: `vfs` writes them, `client` reads them, and other programs may.

Each record is one JSON object. Times are RFC 3339 in UTC unless a field says otherwise, sizes bytes, shares 0 to 1. A
mount of another version may leave keys out or add some: who reads takes what it knows.
"""

from typing import Any, TypedDict

SESSION = ".session.json"
REQUEST = ".request.json"
"""The session's Options, in the form that new/ takes."""
CONTROL = ".control"
CAMERA = "camera.json"
STATUS = ".status.json"
METRICS = ".metrics"
"""Not a record: the mount's counters, in the OpenMetrics text format."""

RUNNING = "running"
COMPLETED = "completed"
FAILED = "failed"
STOPPED = "stopped"
REMOVED = "removed"
ENDED = frozenset({COMPLETED, FAILED, STOPPED, REMOVED})

NOTHING_SENT = "nothing was sent"
"""In a `.error`: the server was not asked for this export, whatever errno the close failed with."""
SENT_BEFORE = (
    "the same was sent before, and what became of it cannot be told at the moment; it was not sent again"
)
"""In its place: it was not asked now, and may have started this export all the same, whatever errno."""
PERHAPS_SENT_BEFORE = (
    "this was not sent now; whether it is the same as an earlier one, of which nobody has heard what became, cannot "
    "be told at the moment"
)
"""Likewise, of a request whose names could not be looked up."""


class IntervalJson(TypedDict, total=False):
    begin: str | None
    end: str | None


class CoverageJson(TypedDict, total=False):
    """How much of the footage that was asked for is in the results."""

    asked: IntervalJson
    results: IntervalJson | None
    share: float | None
    """None where it cannot be told; `note` says why."""
    gaps: list[IntervalJson]
    warnings: list[str]
    note: str | None


class FileJson(TypedDict, total=False):
    """A result."""

    name: str
    file_id: str
    """The server's name for it."""
    size: int
    mime_type: str
    min_timestamp: str
    """Of the footage, in the server's form, as all its timestamps are; empty where it gives none."""
    max_timestamp: str
    downloadable: bool


class SessionJson(TypedDict, total=False):
    """`.session.json`."""

    id: str
    name: str
    """Of its directory."""
    state: str
    progress: float | None
    started_here: bool
    """Whether this user started it, through a mount of this machine."""
    kept_alive: bool | None
    """None for a completed session, as for `expires_at`: its record stands still; its extended attributes tell."""
    expires_at: str | None
    """Our estimate of when the server stops or deletes it."""
    last_frame_timestamp: str | None
    cameras: list[str]
    """Labels."""
    footage: dict[str, Any] | None
    """What the archive had of the interval when the export was started here: `covered`, `gaps`."""
    coverage: CoverageJson | None
    """None for a live export."""
    files: list[FileJson]
    options: dict[str, Any]
    """As in `.request.json`."""
    error: str | None
    warnings: list[str]


class StreamJson(TypedDict, total=False):
    """Of a camera: of video, or of sound."""

    access_point: str
    name: str


class ArchiveJson(TypedDict, total=False):
    """Where a camera's footage is kept."""

    name: str
    access_point: str
    default: bool
    embedded: bool
    active: bool


class CameraJson(TypedDict, total=False):
    """`camera.json`."""

    label: str
    """What it is called; the name of its directory follows from it."""
    name: str
    id: str
    access_point: str
    node: str
    enabled: bool
    active: bool
    access: str | None
    """What this user may do, in words; None for a value that the documents do not know."""
    exportable: bool | None
    """None where the server does not say."""
    recorded: bool | None
    streams: list[StreamJson] | None
    """None, as are the next two, as long as nobody has looked into this camera."""
    microphones: list[StreamJson] | None
    archives: list[ArchiveJson] | None
    comment: str


class InUse(TypedDict, total=False):
    """A session that is kept alive, or that the server will end at a time that is known."""

    name: str
    id: str
    kept_alive: bool
    expires_at: str | None


class SessionsStatus(TypedDict, total=False):
    count: int
    refreshed_at: str | None
    refresh_seconds: float
    in_use: list[InUse]


class OperationJson(TypedDict, total=False):
    """A call into the mount that has not been answered yet."""

    op: str
    pid: int
    inode: int
    path: str | None
    offset: int | None
    age: float
    """Seconds."""


class StatusJson(TypedDict, total=False):
    """`.status.json`. It holds no secret."""

    version: str
    mountpoint: str
    pid: int
    started_at: str
    read_only: bool
    server: dict[str, Any]
    """`address`, `tls`, `last_contact` (seconds ago), `reachable`, `error`."""
    login: dict[str, Any]
    sessions: SessionsStatus
    cameras: dict[str, Any]
    cache: dict[str, Any]
    downloads: dict[str, Any]
    line: dict[str, Any]
    """What is known of the line to the server."""
    operations: list[OperationJson]
    recent_errors: list[dict[str, str]]
