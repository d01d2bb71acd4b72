"""Every way in which the kernel ends a session is an end; nothing else is."""

import errno
from pathlib import Path
from typing import Any, cast

import pyfuse3
import pytest
import trio

from exportfs.errors import ExportfsError
from exportfs.fuse import session as module
from exportfs.fuse.operations import ExportOperations


def serve(monkeypatch: pytest.MonkeyPatch, *errors: BaseException) -> None:
    """With pyfuse3's loop in tasks that fail, two nurseries deep, as it has them."""

    async def fail(error: BaseException) -> None:
        with trio.CancelScope(shield=True):  # whoever fails first, all of them do
            await trio.lowlevel.checkpoint()
        raise error

    async def main(**_: Any) -> None:
        async with trio.open_nursery() as outer, trio.open_nursery() as inner:
            for error in errors:
                inner.start_soon(fail, error)
                outer.start_soon(trio.sleep_forever)

    monkeypatch.setattr(pyfuse3, "main", main)
    trio.run(module.FuseSession(cast(ExportOperations, None), Path("/nowhere")).serve)


@pytest.mark.parametrize("number", sorted(module.ENDS), ids=errno.errorcode.get)
def test_the_kernel_ends_it(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    serve(monkeypatch, OSError(number, "x"), OSError(errno.ECONNABORTED, "x"))


async def fail_alone() -> None:
    raise OSError(errno.ENODEV, "x")


def test_an_error_that_comes_in_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pyfuse3, "main", lambda **_: fail_alone())
    trio.run(module.FuseSession(cast(ExportOperations, None), Path("/nowhere")).serve)


def test_the_kernel_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ExportfsError, match="out of disks"):
        serve(monkeypatch, OSError(errno.EIO, "out of disks"))


def test_a_bug_is_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        serve(monkeypatch, ZeroDivisionError(), OSError(errno.ENODEV, "x"))
