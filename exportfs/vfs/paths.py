"""The path of a node within the mount, for people who look at what the mount is doing. From memory alone."""

from exportfs import record
from exportfs.vfs.cameras.directory import CameraDirectory
from exportfs.vfs.cameras.files import CameraFile
from exportfs.vfs.context import Context
from exportfs.vfs.inodes import CAMERAS, INDEX, METRICS, NEW, PAGES, README, ROOT, SESSIONS, STATUS, TEMPLATE
from exportfs.vfs.new.file import RequestFile
from exportfs.vfs.pages.directory import DayPage
from exportfs.vfs.sessions.directory import (
    RemoteLink,
    Result,
    SessionDirectory,
)
from exportfs.vfs.sessions.files import Control, InSession, RequestRecord, SessionRecord

_FIXED = {
    ROOT: "",
    README: "README.txt",
    STATUS: record.STATUS,
    METRICS: record.METRICS,
    NEW: "new",
    SESSIONS: "sessions",
    CAMERAS: "cameras",
    INDEX: "index.html",
    PAGES: ".pages",
    TEMPLATE: "new/.template.json",
}
_RECORDS = ((SessionRecord, record.SESSION), (RequestRecord, record.REQUEST), (Control, record.CONTROL))


def path_of(context: Context, ino: int) -> str | None:
    """Relative to the mount; None where it is not known, or no longer there."""
    if ino in _FIXED:
        return _FIXED[ino]
    node = context.inodes.find(ino)
    if isinstance(node, RequestFile):
        name = context.ledger.name(ino)
        return f"new/{name}" if name is not None else None
    if isinstance(node, DayPage):
        return f".pages/{node.name}"
    if isinstance(node, CameraDirectory | CameraFile):
        return _in_cameras(context, node)
    if not isinstance(node, InSession):
        return None
    entry = context.catalogue.get(node.session_id)
    if entry is None:
        return None
    directory = f"sessions/{entry.name}"
    if isinstance(node, SessionDirectory):
        return directory
    if isinstance(node, Result | RemoteLink):
        for name, file in zip(entry.names, entry.session.state.files, strict=False):
            if file.path == node.file.path:
                return f"{directory}/{name}"
    return next((f"{directory}/{name}" for kind, name in _RECORDS if isinstance(node, kind)), None)


def _in_cameras(context: Context, node: CameraDirectory | CameraFile) -> str | None:
    camera = context.cameras.get(node.access_point)
    if camera is None:
        return None
    directory = f"cameras/{context.cameras.directory(camera)}"
    return directory if isinstance(node, CameraDirectory) else f"{directory}/{node.name}"
