"""File handles as NFS servers use them: name_to_handle_at(2), open_by_handle_at(2), which is for root alone."""

import ctypes
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_libc = ctypes.CDLL(None, use_errno=True)
_MOST = 128
"""Bytes of a handle (MAX_HANDLE_SZ)."""
MS_NOSUID, MS_NODEV, MS_REMOUNT = 2, 4, 32


class _Handle(ctypes.Structure):
    _fields_ = (("bytes", ctypes.c_uint), ("kind", ctypes.c_int), ("data", ctypes.c_ubyte * _MOST))


def handle_of(path: Path) -> tuple[int, bytes]:
    """Kind and bytes of the handle of a path; a symbolic link's is its own."""
    handle, mount = _Handle(_MOST), ctypes.c_int()
    _check(_libc.name_to_handle_at(-100, os.fsencode(path), ctypes.byref(handle), ctypes.byref(mount), 0))
    return handle.kind, bytes(handle.data[: handle.bytes])


@contextmanager
def opened_by_handle(mountpoint: Path, handle: tuple[int, bytes], flags: int = os.O_RDONLY) -> Iterator[int]:
    """A descriptor of what a handle leads to in a mount. Raises OSError (ESTALE)."""
    kind, data = handle
    given = _Handle(len(data), kind, (ctypes.c_ubyte * _MOST)(*data))
    root = os.open(mountpoint, os.O_RDONLY | os.O_DIRECTORY)
    try:
        descriptor = _check(_libc.open_by_handle_at(root, ctypes.byref(given), flags))
    finally:
        os.close(root)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def with_generation(handle: tuple[int, bytes], change: int) -> tuple[int, bytes]:
    """The handle of FUSE (number in two halves, generation) with another generation."""
    high, low, generation = struct.unpack("=III", handle[1])
    return handle[0], struct.pack("=III", high, low, generation ^ change)


def make_forget(mountpoint: Path) -> None:
    """Makes the kernel forget what it knows of one mount: remounting it drops all names that nobody has open."""
    flags = MS_REMOUNT | MS_NOSUID | MS_NODEV
    _check(_libc.mount(None, os.fsencode(mountpoint), None, ctypes.c_ulong(flags), None))


def _check(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
