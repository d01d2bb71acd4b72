"""Bars of `copy`, `wait` and `fetch`: what they count, and what is left of them in a narrow window."""

import io
import re
from typing import Any

import pytest
from rich.console import Console

from exportfs.cli.terminal import following, progress
from exportfs.cli.terminal.progress import Counted, amount, shortened, transfers
from exportfs.client.sessions import read_session

NAME = "20260511T080411Z_Server.DeviceIpint.1_mp4_k3v9x2ma"
GIB = 1 << 30


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Gives a console of a width, which the bars are drawn on."""

    def of(width: int) -> Console:
        console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=True)
        monkeypatch.setattr(progress, "visible", lambda: True)
        monkeypatch.setattr(progress, "_console", lambda: console)
        return console

    return of


def lines(bars: Any) -> list[str]:
    """What is drawn now."""
    console = bars.progress.console
    segments = console.render_lines(bars.progress.get_renderable())
    return ["".join(segment.text for segment in line).rstrip() for line in segments]


def test_amount() -> None:
    assert amount(1.2 * GIB, 8 * GIB) == "1.2 of 8.0 GiB"
    assert amount(0, 8 * GIB) == "0.0 of 8.0 GiB"
    assert amount(512 << 20, 8 * GIB) == "0.5 of 8.0 GiB"
    assert amount(5, 10) == "5 of 10 B"
    assert amount(0, 0) == "0 of 0 B"
    assert amount(2048, None) == "2.0 KiB"


def test_long_labels_lose_their_middle() -> None:
    assert shortened("short", 5) == "short"
    assert shortened(NAME, 20) == "20260511T0…_k3v9x2ma"
    assert len(shortened(NAME, 21)) == 21


@pytest.mark.parametrize("width", [50, 64, 80, 160])
def test_copying_several(screen: Any, width: int) -> None:
    screen(width)
    with transfers() as bars:
        counted = Counted(bars, 7, 8 * GIB)
        for _ in range(3):
            bar = counted.bar("a", 0.25 * GIB)
            bar.update(0.25 * GIB, note="copying")
            bar.update(0, note="verifying")
            bar.done()
        bar = counted.bar(f"{NAME}.mp4", 2.0 * GIB)
        bar.update(0.45 * GIB, note="copying")
        total, one = lines(bars)
        assert total.startswith("3 of 7 ")
        assert "1.2 of 8.0 GiB" in total
        assert one.startswith("20260")
        assert "0.5 of 2.0 GiB" in one
        assert ".mp4 " in one
        assert max(map(len, (total, one))) <= width
        assert ("copying" in one) is (width >= 80)
        bar.update(2.0 * GIB, note="copying")
        bar.update(0.1 * GIB, note="verifying")
        assert "2.8 of 8.0 GiB" in lines(bars)[0]
        bar.done()
        assert lines(bars)[0].startswith("4 of 7 ")


def test_copying_one_is_not_counted(screen: Any) -> None:
    screen(80)
    with transfers() as bars:
        Counted(bars, 1, GIB).bar("a.mp4", float(GIB)).update(0.5 * GIB)
        (line,) = lines(bars)
        assert "0.5 of 1.0 GiB" in line


@pytest.mark.parametrize("width", [50, 80, 160])
def test_waiting_for_several(screen: Any, mount: Any, time: Any, width: int) -> None:
    screen(width)
    sessions = [mount.session(f"{NAME}{number}", "running", progress=0.5) for number in range(3)]
    with progress.shares() as bars:
        display = following._Display(bars, time.clock(), 3)
        for session in sessions:
            display.show(read_session(session))
        total, *others = lines(bars)
        assert re.match(r"0 of 3 .* 50%", total)
        assert len(others) == 3
        assert all(re.match(r"2026.*x2ma\d .* 50% +running", line) for line in others)
        mount.change(sessions[0], state="completed", files=[{"name": "a.mp4", "size": 3 << 29}])
        display.show(read_session(sessions[0]))
        total, *others = lines(bars)
        assert re.match(r"1 of 3 .* 67% 1\.5 GiB", total)
        assert len(others) == 2
        assert max(map(len, (total, *others))) <= width


def test_brackets_are_no_markup(screen: Any) -> None:
    screen(80)
    with transfers() as bars:
        bars.bar("[red]a[/red].mp4", 1.0).update(0, note="[bold]x")
        (line,) = lines(bars)
        assert line.startswith("[red]a[/red].mp4 ")
        assert "[bold]x" in line
