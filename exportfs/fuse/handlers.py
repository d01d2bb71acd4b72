"""Around each handler of the mount: bounded in time, noted while it runs, its errors told.

That is what keeps the mount alive: nothing but FUSEError leaves a handler, and none takes longer than the timeout. The
parts behind have shorter bounds of their own; this one is for what nobody foresaw.
"""

import errno
import functools
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

import pyfuse3
import trio
from pyfuse3 import FUSEError, RequestContext

from exportfs.errors import ExportfsError, NoAttribute, NotFound, TimedOut, Unsupported, Unwanted
from exportfs.fuse.errnos import errno_of
from exportfs.vfs.status import Activity, Operation
from exportfs.waits import CALL, Wait

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")
H = TypeVar("H", bound="Handlers")
Handler: TypeAlias = Callable[Concatenate[H, P], Coroutine[Any, Any, R]]

_EXPECTED = (NotFound, NoAttribute, Unsupported, Unwanted)
"""Answers that programs, or the kernel, ask for all day; not worth a line anywhere."""
_SUBMITS = frozenset({"flush", "release"})
"""But for these, whose errors are of requests: what the server lacks then is something else."""

_ON_HANDLES = frozenset({"read", "write", "flush", "fsync", "release", "readdir", "releasedir", "fsyncdir"})

READ_TIMEOUT_FACTOR = 4
"""A read may take longer than the timeout as long as blocks come, and what waits for a listing as long as sessions do;
this many times it is still too long."""


def handler(function: Handler[H, P, R]) -> Handler[H, P, R]:
    """Bounds a handler in time, notes it while it runs, and turns every error into FUSEError."""
    name = function.__name__
    factor = READ_TIMEOUT_FACTOR if name == "read" else 1

    @functools.wraps(function)
    async def bounded(self: H, *args: P.args, **kwargs: P.kwargs) -> R:
        begun = trio.current_time()
        number = self.begun(name, args, begun)
        wait = Wait(self.bound * factor, self.bound * READ_TIMEOUT_FACTOR, begun)
        CALL.set(wait)
        try:
            with wait.scope:
                return await function(self, *args, **kwargs)
            raise trio.TooSlowError
        except FUSEError:
            raise
        except Exception as error:
            raise self.failed(name, error, begun) from None
        finally:
            del self.activity.operations[number]

    return bounded  # type: ignore[return-value] # only the name of the first parameter differs


def at_once(function: Callable[Concatenate[H, P], R]) -> Handler[H, P, R]:
    """Makes a handler of a function. Nothing in it can wait, so it needs no bound; otherwise as `handler`."""
    name = function.__name__

    @functools.wraps(function)
    async def answered(self: H, *args: P.args, **kwargs: P.kwargs) -> R:
        begun = trio.current_time()
        number = self.begun(name, args, begun)
        try:
            return function(self, *args, **kwargs)
        except FUSEError:
            raise
        except Exception as error:
            raise self.failed(name, error, begun) from None
        finally:
            del self.activity.operations[number]

    return answered  # type: ignore[return-value] # as above


class Handlers(pyfuse3.Operations):
    """What the handlers have in common."""

    def __init__(self, activity: Activity, bound: float) -> None:
        """bound: seconds for each."""
        super().__init__()
        self.activity = activity
        self.bound = bound
        self.number = 0
        self.opened: dict[int, tuple[int, int]] = {}
        """Of each handle, its inode and who opened it: calls on it do not say."""

    def begun(self, name: str, args: tuple[Any, ...], now: float) -> int:
        """Notes a call under way, until its number is taken out again."""
        number = self.number = self.number + 1
        self.activity.operations[number] = self.operation(name, args, now)
        return number

    def failed(self, name: str, error: Exception, begun: float) -> FUSEError:
        """Notes what a call that began then failed with; gives what the kernel is told."""
        if isinstance(error, ExportfsError):
            if name in _SUBMITS or not isinstance(error, _EXPECTED):
                log.info("%s: %s", name, error)
                self.activity.failed(name, str(error))
            return FUSEError(errno_of(error))
        if isinstance(error, trio.TooSlowError):
            taken = trio.current_time() - begun
            log.warning("%s took longer than %.0f s", name, taken)
            self.activity.failed(name, f"took longer than {taken:.0f} s")
            return FUSEError(errno_of(TimedOut()))
        log.error("%s failed", name, exc_info=error)
        self.activity.failed(name, f"{type(error).__name__}: {error}")
        return FUSEError(errno.EIO)

    def operation(self, name: str, args: tuple[Any, ...], now: float) -> Operation:
        """What a call with these arguments is, for people."""
        context = args[-1] if isinstance(args[-1], RequestContext) else None
        pid = context.pid if context is not None else 0
        ino = args[0] if isinstance(args[0], int) else 0
        offset = entry = None
        if name in _ON_HANDLES:
            ino, pid = self.opened.get(ino, (0, 0))
            offset = args[1] if name in ("read", "write") else None
        elif len(args) > 1 and isinstance(args[1], bytes) and "xattr" not in name:
            entry = args[1].decode("utf-8", "replace")
        return Operation(name, pid, ino, offset, now, entry)
