"""Going into the background: the command returns once the mount can be used, or with the reason why not.

The fork comes first, before anything of gRPC exists: its threads and connections do not survive one. The terminal is
kept until the mount is ready, so that a second factor can be asked for.
"""

import os
import sys
from collections.abc import Callable
from typing import NoReturn

from exportfs.errors import ExportfsError

_READY = b"ready\n"

Start = Callable[[Callable[[], None]], None]
"""Runs the mount to its end; calls what it is given as soon as it can be used. Raises ExportfsError."""


def in_background(start: Start) -> None:
    """Runs `start` in a child process and returns once it is ready. Raises ExportfsError with what it failed with."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    if os.fork() == 0:
        os.close(reading)
        _child(start, writing)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read()
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
        os.close(nothing)
        os.write(writing, _READY)
        os.close(writing)
        told = True

    code = 1
    try:
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
