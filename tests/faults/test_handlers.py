"""An exception that nobody foresaw, in each handler: an input/output error, a traceback, a line in the status."""

import errno
import inspect
import logging
import time
from typing import Any

import pyfuse3
import pytest
import trio
import trio.testing

from exportfs.errors import (
    AccessDenied,
    Busy,
    ExportfsError,
    Gone,
    NoAttribute,
    NotFound,
    TimedOut,
    Unreachable,
    Unsupported,
)
from exportfs.fuse.operations import ExportOperations
from exportfs.vfs.node import Owner
from exportfs.vfs.status import Activity
from exportfs.waits import CALL

SILENT = {"forget"}
"""Nobody waits for an answer of these."""
WORKLESS = {"fsync", "fsyncdir"}
"""These do nothing."""
HANDLERS = [
    name
    for name in vars(ExportOperations)
    if inspect.iscoroutinefunction(getattr(pyfuse3.Operations, name, None)) and name not in SILENT | WORKLESS
]


class Raising:
    """A filesystem in which everything goes wrong."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __getattr__(self, name: str) -> Any:
        def method(*_: object, **__: object) -> Any:
            raise self._error

        return method


class Hanging:
    """A filesystem that never answers what it may wait for."""

    def may_be_ahead(self, offset: int, length: int) -> bool:
        return False

    def __getattr__(self, name: str) -> Any:
        async def method(*_: object, **__: object) -> Any:
            await trio.sleep_forever()

        return method


def operations(filesystem: Any) -> ExportOperations:
    activity = Activity(time.monotonic, time.time)
    return ExportOperations(filesystem, Owner(0, 0, 0o022), activity, timeout=5)


def arguments(operations: ExportOperations, name: str) -> list[Any]:
    """Something of the kind that each parameter takes."""
    made: dict[str, Any] = {
        "ctx": pyfuse3.RequestContext.__new__(pyfuse3.RequestContext),
        "attr": pyfuse3.EntryAttributes(),
        "fields": pyfuse3.SetattrFields.__new__(pyfuse3.SetattrFields),
    }
    parameters = inspect.signature(getattr(operations, name)).parameters
    return [
        made.get(parameter, b"name" if "name" in parameter or parameter in ("target", "value", "buf") else 0)
        for parameter in parameters
    ]


def test_all_handlers_are_there() -> None:
    assert len(HANDLERS) >= 24
    for name in HANDLERS:
        assert hasattr(getattr(ExportOperations, name), "__wrapped__"), (
            f"{name} is no @handler, and not @at_once"
        )


@pytest.mark.promise("E5")
@pytest.mark.parametrize("name", HANDLERS)
async def test_unexpected(name: str, caplog: pytest.LogCaptureFixture) -> None:
    ops = operations(Raising(ZeroDivisionError("injected")))
    with caplog.at_level(logging.DEBUG), pytest.raises(pyfuse3.FUSEError) as caught:
        await getattr(ops, name)(*arguments(ops, name))
    assert caught.value.errno == errno.EIO
    (record,) = [record for record in caplog.records if record.exc_info]
    assert f"{name} failed" in record.getMessage()
    (noted,) = ops.activity.status(lambda ino: None)["recent_errors"]
    assert (noted["operation"], noted["message"]) == (name, "ZeroDivisionError: injected")
    assert not ops.activity.operations


@pytest.mark.promise("E1", "E2")
@pytest.mark.parametrize(
    ("error", "number"),
    [
        (Unreachable(""), errno.ENOTCONN),
        (TimedOut(""), errno.ETIMEDOUT),
        (Busy(""), errno.EBUSY),
        (AccessDenied(""), errno.EACCES),
        (Gone(""), errno.ESTALE),
        (ExportfsError(""), errno.EIO),
    ],
)
@pytest.mark.parametrize("name", ["lookup", "read", "flush"])
async def test_foreseen(name: str, error: ExportfsError, number: int) -> None:
    ops = operations(Raising(error))
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await getattr(ops, name)(*arguments(ops, name))
    assert caught.value.errno == number
    (noted,) = ops.activity.status(lambda ino: None)["recent_errors"]
    assert (noted["operation"], noted["message"]) == (name, str(error))


@pytest.mark.promise("T13")
@pytest.mark.parametrize("error", [NotFound("no such"), NoAttribute("no such"), Unsupported("no such")])
@pytest.mark.parametrize("name", ["lookup", "read", "flush", "release"])
async def test_what_programs_ask_for_all_day(
    name: str, error: ExportfsError, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody wants to read of it, but where it is of a request."""
    ops = operations(Raising(error))
    with caplog.at_level(logging.INFO), pytest.raises(pyfuse3.FUSEError):
        await getattr(ops, name)(*arguments(ops, name))
    news = name in ("flush", "release")
    assert len(ops.activity.status(lambda ino: None)["recent_errors"]) == len(caplog.records) == news


@pytest.mark.parametrize("name", ["lookup", "readdir", "open", "read", "flush", "release", "rmdir", "rename"])
async def test_a_part_that_hangs(name: str, autojump_clock: trio.testing.MockClock) -> None:
    ops = operations(Hanging())
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await getattr(ops, name)(*arguments(ops, name))
    assert caught.value.errno == errno.ETIMEDOUT
    assert trio.current_time() == pytest.approx(5 * (4 if name == "read" else 1))
    (noted,) = ops.activity.status(lambda ino: None)["recent_errors"]
    assert noted["message"] == f"took longer than {trio.current_time():.0f} s"
    assert not ops.activity.operations


@pytest.mark.promise("E3")
async def test_a_part_that_moves_and_does_not_end(autojump_clock: trio.testing.MockClock) -> None:
    class Moving:
        async def read_directory(self, *_: Any) -> None:
            call = CALL.get()
            assert call is not None
            while True:
                await trio.sleep(4)
                call.moved()

    ops = operations(Moving())
    with pytest.raises(pyfuse3.FUSEError) as caught:
        await ops.readdir(*arguments(ops, "readdir"))
    assert caught.value.errno == errno.ETIMEDOUT
    assert trio.current_time() == pytest.approx(5 * 4)
