"""What a script wants to do with a mount, through its ordinary files: no gRPC, no FUSE, no command line.

    (mount,) = usable_mounts()
    session = export(mount, Wish(("gate south",), "mp4", start=begin, duration=20.0))
    (record,) = wait_for([session], timeout=600)
    copy = copy_sessions([record], Path("/media/usb/case-4711"))
    print(record.state, record.missing, copy.problems)

What is wrong is an OSError with the errno of the mount (docs/semantics.md), or one of `exportfs.errors`, whose text is
a sentence that says what to do. docs/scripting.md is an example that can be run.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exportfs.client.cameras import Camera as Camera
    from exportfs.client.cameras import Footage as Footage
    from exportfs.client.cameras import Interval as Interval
    from exportfs.client.cameras import check_footage as check_footage
    from exportfs.client.cameras import find_camera as find_camera
    from exportfs.client.cameras import find_cameras as find_cameras
    from exportfs.client.cameras import read_footage as read_footage
    from exportfs.client.control import destroy as destroy
    from exportfs.client.control import stop as stop
    from exportfs.client.copy_session import Copy as Copy
    from exportfs.client.copy_session import Observer as Observer
    from exportfs.client.copy_session import Outcome as Outcome
    from exportfs.client.copy_session import copy_sessions as copy_sessions
    from exportfs.client.endings import ending as ending
    from exportfs.client.endings import footage_lines as footage_lines
    from exportfs.client.fetched import fetched_before as fetched_before
    from exportfs.client.fetched import remember_fetched as remember_fetched
    from exportfs.client.fetched import started_before as started_before
    from exportfs.client.find import find_session as find_session
    from exportfs.client.find import find_sessions as find_sessions
    from exportfs.client.hand_over import Form as Form
    from exportfs.client.mounts import MountStatus as MountStatus
    from exportfs.client.mounts import read_mount as read_mount
    from exportfs.client.mounts import usable_mounts as usable_mounts
    from exportfs.client.request import Wish as Wish
    from exportfs.client.request import build as build
    from exportfs.client.sessions import FileRecord as FileRecord
    from exportfs.client.sessions import SessionRecord as SessionRecord
    from exportfs.client.sessions import read_session as read_session
    from exportfs.client.signing import Signer as Signer
    from exportfs.client.signing import find_signer as find_signer
    from exportfs.client.submit import export as export
    from exportfs.client.wait import wait_for as wait_for

_WHERE = {
    "cameras": (
        *("Camera", "Footage", "Interval", "check_footage", "find_camera", "find_cameras", "read_footage"),
    ),
    "control": ("destroy", "stop"),
    "copy_session": ("Copy", "Observer", "Outcome", "copy_sessions"),
    "endings": ("ending", "footage_lines"),
    "fetched": ("fetched_before", "remember_fetched", "started_before"),
    "find": ("find_session", "find_sessions"),
    "hand_over": ("Form",),
    "mounts": ("MountStatus", "read_mount", "usable_mounts"),
    "request": ("Wish", "build"),
    "sessions": ("FileRecord", "SessionRecord", "read_session"),
    "signing": ("Signer", "find_signer"),
    "submit": ("export",),
    "wait": ("wait_for",),
}
_MODULES = {name: module for module, names in _WHERE.items() for name in names}
__all__ = sorted(_MODULES)  # the names are those of the table


def __getattr__(name: str) -> object:
    # Imported when it is wanted: completion in a shell must not wait for templates of reports.
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
