"""Going into the background: the command returns once the mount can be used, or with the reason why not.

The fork comes first, before anything of gRPC exists: its threads and connections do not survive one. The terminal is
kept until the mount is ready, so that a second factor can be asked for. Nothing else of the caller is: no descriptor,
no blocked signal, and once it is ready neither its session nor its working directory.
"""

import contextlib
import gc
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable
from typing import NoReturn

from exportfs.errors import ExportfsError

_READY = b"ready\n"
_DESCRIPTOR = re.compile(r"(?:^|=)/(?:dev|proc/self)/fd/(\d+)$", re.ASCII)
"""How an argument names a descriptor: `--ca-file <(...)` of a shell."""

Start = Callable[[Callable[[], None]], None]
"""Runs the mount to its end; calls what it is given as soon as it can be used. Raises ExportfsError."""


def in_background(start: Start) -> None:
    """Runs `start` in a child process and returns once it is ready. Raises ExportfsError with what it failed with."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    # What is not needed any more must not be finalized in the child: its descriptors will be others.
    gc.freeze()
    child = os.fork()
    if child == 0:
        _child(start, writing)
    os.close(writing)
    try:
        with os.fdopen(reading, "rb") as pipe:
            said = pipe.read()
    except BaseException:
        # Whoever gives up waiting gives up the mount.
        with contextlib.suppress(OSError):
            os.kill(child, signal.SIGTERM)
        raise
    if said.startswith(_READY):
        return
    message = said.decode("utf-8", "replace").strip()
    raise ExportfsError(message or "the mount ended before it was ready; try --foreground to see why")


def _child(start: Start, writing: int) -> NoReturn:
    """Never returns: what stands behind in the parent's stack is not the child's business."""
    told = False

    def ready() -> None:
        nonlocal told
        os.setsid()
        os.chdir("/")
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nothing, descriptor)
        for descriptor in (nothing, *named):
            os.close(descriptor)
        os.write(writing, _READY)
        os.close(writing)
        told = True

    code = 1
    try:
        named = named_descriptors(sys.argv)
        close_inherited({0, 1, 2, writing, *named})
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        start(ready)
        code = 0
    except ExportfsError as error:
        if not told:
            os.write(writing, str(error).encode("utf-8", "replace"))
    except BaseException as error:
        if not told:
            os.write(writing, f"{type(error).__name__}: {error}".encode("utf-8", "replace"))
    finally:
        # Not sys.exit: handlers and buffers of the parent would run a second time.
        os._exit(code)


def named_descriptors(words: Iterable[str]) -> set[int]:
    """The inherited descriptors that the command line names as files: they are kept until the mount is ready."""
    found = {int(match[1]) for match in map(_DESCRIPTOR.search, words) if match}
    return {number for number in found if number > 2 and _is_open(number)}


def close_inherited(kept: set[int]) -> None:
    """Closes all descriptors but these, so that locks, pipes and files of the caller are not held for as long as the
    mount lives."""
    for descriptor in map(int, os.listdir("/proc/self/fd")):
        if descriptor not in kept:
            with contextlib.suppress(OSError):  # the one of the listing itself
                os.close(descriptor)


def _is_open(descriptor: int) -> bool:
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True
