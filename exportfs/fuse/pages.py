"""What the kernel is told to forget: pages of a file, of which pyfuse3 could only have it forget all; and attributes.

Nothing may be told that has the kernel wait for an answer of ours, in whatever thread. It would wait uninterruptibly: a
process that is killed meanwhile, or ends, does not end, so /dev/fuse stays open, so the answer never comes, and all who
use the mount hang for ever. So the kernel is told nothing of names (FUSE_NOTIFY_INVAL_ENTRY), which waits for whoever
lists their directory or looks for a name in it. What is told here never waits, and is written in trio's thread.
"""

import contextlib
import os
import struct

_MESSAGE = struct.Struct("=IiQQqq")
"""struct fuse_out_header and struct fuse_notify_inval_inode_out of linux/fuse.h."""
_INVAL_INODE = 2
_ATTRIBUTES_ALONE = -1
"""As offset."""


def drop_pages(descriptor: int, ino: int, offset: int, length: int) -> None:
    """Over a descriptor of /dev/fuse. Only for a file that is open nowhere: the kernel waits for pages that are being
    read."""
    _tell(descriptor, ino, offset, length)


def drop_attributes(descriptor: int, ino: int) -> None:
    """Has the kernel ask for the attributes of an inode before it uses them again."""
    _tell(descriptor, ino, _ATTRIBUTES_ALONE, 0)


def _tell(descriptor: int, ino: int, offset: int, length: int) -> None:
    # It knows nothing of the inode any more, or the mount is gone; else pages without bytes are asked for one by one.
    with contextlib.suppress(OSError):
        os.write(descriptor, _MESSAGE.pack(_MESSAGE.size, _INVAL_INODE, 0, ino, offset, length))
