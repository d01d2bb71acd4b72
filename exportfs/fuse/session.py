"""The mount itself: mounting, serving, unmounting."""

import contextlib
import errno
import logging
import os
import threading
from functools import partial
from pathlib import Path

import pyfuse3
import trio

from exportfs.errors import ExportfsError
from exportfs.fuse.holders import holders, namespace_of
from exportfs.fuse.mount import Mounted, mount, unmount_ours
from exportfs.fuse.mountpoint import TableChanges, mount_table
from exportfs.fuse.operations import ExportOperations
from exportfs.fuse.pages import drop_attributes, drop_pages

log = logging.getLogger(__name__)

MOST_TASKS = 4096
"""Requests served at a time: each waits in a task of its own, so that slow reads never keep a getattr waiting.
pyfuse3's default of 99 would."""
TASKS_KEPT = 16
"""Tasks that stay when there is nothing to do. Each has a buffer of 1 MiB, which stays untouched in memory of its own
where it is not allocated over and over (exportfs/memory.py). The kernel has 12 reads under way at most."""
READ_AHEAD_LOOKS = (0.02, 0.08, 0.4, 2.0, 10.0)
"""Seconds between two looks whether the kernel's read-ahead is as it should be."""
TABLE_SECONDS = 0.5
"""Between two looks whether the mount table has changed: a system call of a microsecond."""
LINGER = 30.0
"""Seconds that a mount which was unmounted lazily is served after its last file was closed: for who stands in it."""
ENDS = frozenset((errno.ENODEV, errno.ECONNABORTED, errno.ENOTCONN, errno.EBADF, errno.EINTR))
"""How /dev/fuse says that the mount is gone: unmounted, aborted (`umount -f`, /sys/fs/fuse/connections), or closed."""
CLOSE_TIMEOUT = 3.0
"""Seconds for unmounting at the end, before /dev/fuse is closed and all calls into the mount fail."""


class FuseSession:
    """One mount. `open` and `close` in pairs; `serve` in between."""

    def __init__(self, operations: ExportOperations, mountpoint: Path) -> None:
        self._operations = operations
        self._mountpoint = mountpoint
        self._mounted: Mounted | None = None
        self._read_ahead = 0

    def open(self, *, source: str, read_only: bool, allow_other: bool) -> None:
        """Mounts. Raises ExportfsError with what to do."""
        self._mounted = mount(self._mountpoint, source=source, read_only=read_only, allow_other=allow_other)
        try:
            # libfuse takes a descriptor that is mounted already.
            pyfuse3.init(self._operations, f"/dev/fd/{self._mounted.descriptor}", {"default_permissions"})
        except BaseException as error:
            unmount_ours(self._mounted)
            if isinstance(error, RuntimeError):
                raise ExportfsError(f"cannot mount at {self._mountpoint}: {error}") from None
            raise
        self._operations.leftovers.drop = partial(drop_pages, self._mounted.descriptor)

    async def serve(self) -> None:
        """Answers the kernel until the mount is gone or `stop` is called."""
        try:
            await pyfuse3.main(min_tasks=TASKS_KEPT, max_tasks=MOST_TASKS)
        # Not `except*`: whether what is raised there comes in a group depends on Python's version.
        except (OSError, BaseExceptionGroup) as error:
            group = error if isinstance(error, BaseExceptionGroup) else ExceptionGroup("", [error])
            failures, others = group.split(OSError)
            if others is not None:
                raise others from None
            assert failures is not None
            unknown = [leaf for leaf in _leaves(failures) if leaf.errno not in ENDS]
            if unknown:
                raise ExportfsError(f"/dev/fuse failed: {unknown[0]}") from None
            log.info("the kernel has ended the mount")

    async def end_when_unmounted(self) -> None:
        """Stops a mount that is in no mount table of ours any more and would live on in a copy that another mount
        namespace has. One that was unmounted lazily goes on until nobody here uses it."""
        assert self._mounted is not None
        device = self._mounted.device
        await self._unmounted(device)
        # As a rule the kernel ends the session by itself, at once.
        await trio.sleep(TABLE_SECONDS)
        others = await trio.to_thread.run_sync(holders, device, abandon_on_cancel=True)
        patience = 0.0 if others else LINGER
        idle_since = trio.current_time()
        while (used := self._used(only_here=bool(others))) or trio.current_time() - idle_since < patience:
            if used:
                idle_since = trio.current_time()
            await trio.sleep(TABLE_SECONDS)
        by = (
            f"; a copy in the mount namespace of {', '.join(map(str, others))} ends with it" if others else ""
        )
        log.warning("%s was unmounted%s", self._mounted.place, by)
        self.stop()

    async def _unmounted(self, device: str) -> None:
        changes = TableChanges()
        while any(entry.device == device for entry in mount_table()):
            await trio.sleep(TABLE_SECONDS)
            while not changes.any():  # noqa: ASYNC110 # nobody but the kernel knows
                await trio.sleep(TABLE_SECONDS)

    def _used(self, *, only_here: bool) -> bool:
        """Whether a file is open; `only_here`: by a process of our own mount namespace."""
        openers = self._operations.openers()
        if not only_here:
            return bool(openers)
        ours = namespace_of(os.getpid())
        return any(namespace_of(pid) == ours for pid in openers)

    def read_ahead(self, amount: int) -> None:
        """Sets the bytes that the kernel reads ahead in files that are opened from now on, at once. Root may; everyone
        else lives with 128 KiB."""
        if self._mounted is None or amount == self._read_ahead:
            return
        self._read_ahead = amount
        with contextlib.suppress(OSError):
            Path(f"/sys/class/bdi/{self._mounted.device}/read_ahead_kb").write_text(f"{amount // 1024}\n")

    async def keep_read_ahead(self) -> None:
        """The kernel sets it back with its first call, which is under way now. Awaited by looking again and not by a
        call of our own into the mount: that would make it busy for whoever unmounts it at once."""
        for pause in READ_AHEAD_LOOKS:
            await trio.sleep(pause)
            amount, self._read_ahead = self._read_ahead, 0
            self.read_ahead(amount)

    def session_gone(self, session_id: str) -> None:
        """Lets the kernel no longer believe in the name of a session, as it would for a while: it is to ask for the
        attributes of the directory, and hears that it has to look for the name."""
        ino = self._operations.session_gone(session_id)
        if ino is not None and self._mounted is not None:
            drop_attributes(self._mounted.descriptor, ino)

    def stop(self) -> None:
        """Makes `serve` return. From trio's thread."""
        with contextlib.suppress(RuntimeError):
            pyfuse3.terminate()

    def close(self) -> None:
        """Unmounts our own mount and no other, also where something still uses it."""
        # In a thread: what waits for an answer of ours gets it from the closing below.
        thread = threading.Thread(target=self._unmount, name="unmount", daemon=True)
        thread.start()
        thread.join(CLOSE_TIMEOUT)
        pyfuse3.close(unmount=False)
        thread.join(CLOSE_TIMEOUT)

    def _unmount(self) -> None:
        assert self._mounted is not None
        with contextlib.suppress(ExportfsError):
            unmount_ours(self._mounted)


def _leaves(group: BaseExceptionGroup[OSError]) -> list[OSError]:
    found: list[OSError] = []
    for error in group.exceptions:
        found += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return found
