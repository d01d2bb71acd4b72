"""Signals that end a mount, at whatever moment they come."""

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import trio

from exportfs.app import Mount
from exportfs.config import MountConfig, ServerConfig

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Those of the tests come back."""
    before = [signal.getsignal(number) for number in ENDING]
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    for number, handler in zip(ENDING, before, strict=True):
        signal.signal(number, handler)


@pytest.fixture(params=["before", "within", "after"])
def sent(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[signal.Signals]:
    """Signals that come just before or after trio has its own handlers, or when it has half of them."""
    numbers: list[signal.Signals] = []
    receive, install = trio.open_signal_receiver, signal.signal

    @contextlib.contextmanager
    def amid(*wanted: signal.Signals) -> Iterator[Any]:
        def installed(number: int, handler: Any) -> Any:
            before = install(number, handler)
            if request.param == "within":
                raised()
            return before

        def raised() -> None:
            while numbers:
                signal.raise_signal(numbers.pop(0))

        if request.param == "before":
            raised()
        monkeypatch.setattr(signal, "signal", installed)
        with receive(*wanted) as signals:
            monkeypatch.setattr(signal, "signal", install)
            raised()
            yield signals

    monkeypatch.setattr(trio, "open_signal_receiver", amid)
    return numbers


def mount_of(tmp_path: Path, **options: Any) -> Mount:
    return Mount(MountConfig(ServerConfig("127.0.0.1", 1, insecure=True), tmp_path), **options)


async def end(mount: Mount) -> None:
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            await nursery.start(mount._end_on_signal, nursery.cancel_scope)
            await trio.sleep_forever()


@pytest.mark.parametrize("number", ENDING)
async def test_whenever_it_comes(sent: list[signal.Signals], number: signal.Signals, tmp_path: Path) -> None:
    """`systemctl stop` soon after a start sends its SIGTERM but once."""
    sent.append(number)
    await end(mount_of(tmp_path))


async def test_one_that_opens_the_log_anew_comes_before(sent: list[signal.Signals], tmp_path: Path) -> None:
    opened: list[bool] = []
    sent += [signal.SIGHUP, signal.SIGTERM]

    def open_anew() -> bool:
        opened.append(True)
        return True

    await end(mount_of(tmp_path, hang_up=open_anew))
    assert opened == [True]
