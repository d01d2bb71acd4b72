"""Parts of files that the kernel is to drop from its page cache: pyfuse3 can only have it drop a whole file."""

import contextlib
import os
import struct
import threading

_MESSAGE = struct.Struct("=IiQQqq")
"""struct fuse_out_header and struct fuse_notify_inval_inode_out of linux/fuse.h."""
_INVAL_INODE = 2
_CLOSING = 0.2
"""Seconds after which a thread that is about to write has certainly begun to."""


class Pages:
    """The kernel's cache of one mount."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._closed = False

    def drop(self, ino: int, offset: int, length: int) -> None:
        """Returns at once. The kernel waits for pages that are being read, which an answer of ours ends: so another
        thread waits with it."""
        arguments = (ino, offset, length)
        threading.Thread(target=self._drop, args=arguments, name="pages", daemon=True).start()

    def _drop(self, ino: int, offset: int, length: int) -> None:
        message = _MESSAGE.pack(_MESSAGE.size, _INVAL_INODE, 0, ino, offset, length)
        # What fails costs a little time: pages without bytes are asked for one by one.
        with self._lock, contextlib.suppress(OSError):
            if not self._closed:
                os.write(self._descriptor, message)

    def close(self) -> None:
        """Nothing is written any more: the descriptor may soon be another file's."""
        self._closed = True
        if self._lock.acquire(timeout=_CLOSING):
            self._lock.release()
