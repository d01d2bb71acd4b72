"""The mount itself: mounting, serving, unmounting."""

import contextlib
import logging
import os
from pathlib import Path

import pyfuse3
from pyfuse3 import FileNameT, InodeT

from exportfs.core.names import encode
from exportfs.errors import ExportfsError
from exportfs.fuse.captured import captured_stderr
from exportfs.fuse.mountpoint import FS_TYPE, is_ours, unmount
from exportfs.fuse.operations import ExportOperations
from exportfs.fuse.reason import reason
from exportfs.vfs import inodes

log = logging.getLogger(__name__)

MOST_TASKS = 4096
"""Requests served at a time: each waits in a task of its own, so that slow reads never keep a getattr waiting.
pyfuse3's default of 99 would."""
READ_AHEAD_KIB = 1024
"""Of the kernel; FUSE gets 128 KiB and no option for more, but root may write the device's setting. Larger requests
halve the CPU of sequential reading."""


class FuseSession:
    """One mount. `open` and `close` in pairs; `serve` in between."""

    def __init__(self, operations: ExportOperations, mountpoint: Path) -> None:
        self._operations = operations
        # The kernel's table has it without symbolic links, and later it cannot be resolved: that would ask ourselves.
        self._mountpoint = Path(os.path.realpath(mountpoint))

    def open(self, *, source: str, read_only: bool, allow_other: bool) -> None:
        """Mounts. Raises ExportfsError with what to do."""
        options = {
            "default_permissions",
            f"fsname={_escaped(source)}",
            f"subtype={FS_TYPE}",
            "nosuid",
            "nodev",
        }
        if read_only:
            options.add("ro")
        if allow_other:
            options.add("allow_other")
        failure = None
        with captured_stderr() as written:
            try:
                pyfuse3.init(self._operations, os.fspath(self._mountpoint), options)
            except RuntimeError as error:
                failure = str(error)
        if failure is not None:
            raise ExportfsError(f"cannot mount at {self._mountpoint}: {reason(written.text, failure)}")
        if written.text.strip():
            log.info("while mounting: %s", " ".join(written.text.split()))

    async def serve(self) -> None:
        """Answers the kernel until the mount is gone or `stop` is called."""
        await pyfuse3.main(min_tasks=2, max_tasks=MOST_TASKS)

    def raise_read_ahead(self) -> None:
        """Root may; everyone else lives with 128 KiB. Not from the task that serves: it asks the mount itself."""
        with contextlib.suppress(OSError):
            device = os.stat(self._mountpoint).st_dev
            setting = Path(f"/sys/class/bdi/{os.major(device)}:{os.minor(device)}/read_ahead_kb")
            setting.write_text(f"{READ_AHEAD_KIB}\n")

    def session_gone(self, name: str) -> None:
        """Lets the kernel drop the name of a session, which it would believe in for a while.

        The kernel may have to wait for a lookup of ours: so it is told by a thread of pyfuse3's, and nothing waits.
        """
        pyfuse3.invalidate_entry_async(InodeT(inodes.SESSIONS), FileNameT(encode(name)), ignore_enoent=True)

    def stop(self) -> None:
        """Makes `serve` return. From trio's thread."""
        with contextlib.suppress(RuntimeError):
            pyfuse3.terminate()

    def close(self) -> None:
        """Unmounts, also where something still uses the mount."""
        # pyfuse3 would unmount too, but not where it is busy: then only the lazy way leaves nothing behind.
        with contextlib.suppress(ExportfsError):
            if is_ours(self._mountpoint):
                unmount(self._mountpoint, lazy=True)
        pyfuse3.close(unmount=False)


def _escaped(option: str) -> str:
    return option.replace("\\", "\\\\").replace(",", "\\,")
