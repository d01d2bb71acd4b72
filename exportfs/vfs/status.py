"""`.status.json`: what the mount is doing."""

import json
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import exportfs
from exportfs.naming import readable
from exportfs.record import InUse, StatusJson
from exportfs.timestamps import to_rfc3339
from exportfs.vfs.context import Context
from exportfs.vfs.paths import path_of
from exportfs.vfs.sessions import records

MOST_ERRORS = 50


@dataclass(slots=True)
class Operation:
    """A call into the mount that has not been answered yet."""

    name: str
    pid: int
    """Of the process that called; for what is open, of the one that opened it."""
    ino: int
    """The directory, where the call names something in it."""
    offset: int | None
    since: float
    """Monotonic seconds."""
    entry: str | None = None
    """The name in the directory."""


class Activity:
    """Operations under way, and the latest errors that nobody foresaw or that calls ended with."""

    def __init__(self, monotonic: Callable[[], float], wall: Callable[[], float]) -> None:
        self.monotonic = monotonic
        self._wall = wall
        self.operations: dict[int, Operation] = {}
        self.errors: dict[str, int] = {}
        """How many there were, by operation."""
        self._errors: deque[dict[str, str]] = deque(maxlen=MOST_ERRORS)

    def failed(self, operation: str, message: str) -> None:
        """Notes an error, for people."""
        self.errors[operation] = self.errors.get(operation, 0) + 1
        self._errors.append({"time": _time(self._wall()), "operation": operation, "message": message})

    def status(self, path_of: Callable[[int], str | None]) -> StatusJson:
        """`path_of` gives the path of an inode within the mount, where it is known."""
        now = self.monotonic()
        return {
            "operations": [
                {
                    "op": operation.name,
                    "pid": operation.pid,
                    "inode": operation.ino,
                    "path": _path(path_of(operation.ino), operation.entry),
                    "offset": operation.offset,
                    "age": round(now - operation.since, 3),
                }
                for operation in list(self.operations.values())
            ],
            "recent_errors": list(self._errors),
        }


@dataclass(frozen=True, slots=True)
class StatusMaker:
    """Makes the text; `server` and `login` come from whoever speaks with the server, and hold no secret."""

    context: Context
    activity: Activity
    server: Callable[[], dict[str, object]]
    login: Callable[[], dict[str, object]]

    def __call__(self) -> bytes:
        context, catalogue = self.context, self.context.catalogue
        error = catalogue.error
        status: StatusJson = {
            "version": exportfs.__version__,
            "mountpoint": os.fspath(context.mountpoint),
            "pid": os.getpid(),
            "started_at": _time(context.mounted_at),
            "read_only": context.read_only,
            "server": {
                **self.server(),
                "reachable": error is None,
                "error": str(error) if error else None,
            },
            "login": self.login(),
            "sessions": {
                "count": len(catalogue),
                "refreshed_at": _time(catalogue.refreshed_at) if catalogue.refreshed_at else None,
                "refresh_seconds": round(catalogue.period, 3),
                "in_use": self._in_use(),
            },
            "cameras": context.cameras.status(),
        }
        status.update(context.library.status())
        status.update(self.activity.status(partial(path_of, context)))
        return (json.dumps(status, indent=2) + "\n").encode()

    def _in_use(self) -> list[InUse]:
        """Sessions that are kept alive, or of which we know when the server will end them."""
        sessions: list[InUse] = []
        for entry in self.context.keeper.known():
            kept, expires = (
                self.context.keeper.kept(entry.id),
                records.expires_at(self.context, entry.id),
            )
            if kept or expires:
                sessions.append(
                    {
                        "name": entry.name,
                        "id": readable(entry.id),
                        "kept_alive": kept,
                        "expires_at": expires,
                    }
                )
        return sessions


def _path(folder: str | None, entry: str | None) -> str | None:
    if folder is None or entry is None:
        return folder
    return f"{folder}/{entry}" if folder else entry


def _time(moment: float) -> str:
    return to_rfc3339(datetime.fromtimestamp(int(moment), UTC))
