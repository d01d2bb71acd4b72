"""`status`: what the mounts say, complete or not."""

import contextlib
import errno
import io
import json
import os
import pty
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from exportfs.cli.commands import status as command
from exportfs.cli.terminal.status_view import table, view
from exportfs.client.mounts import read_mount, server_address
from exportfs.fuse.mountpoint import mountpoints

NOW = datetime(2026, 5, 11, 8, 0, 0, tzinfo=UTC)

FULL: dict[str, Any] = {
    "version": "0.1.0",
    "mountpoint": "/mnt/vms",
    "pid": 4711,
    "started_at": "2026-05-11T06:55:00Z",
    "read_only": True,
    "server": {
        "address": "vms:20109",
        "tls": False,
        "reachable": False,
        "error": "connection \x1b[31mrefused",
        "last_contact": "2026-05-11T07:59:00Z",
    },
    "login": {"user": "analyst", "state": "ok", "expires_at": None, "error": None},
    "sessions": {"count": 2, "refreshed_at": "2026-05-11T07:59:00Z", "refresh_seconds": 5},
    "cache": {"size": 256 << 20, "used": 64 << 20, "blocks": 64, "hits": 90, "misses": 10},
    "downloads": {"running": 1, "waiting": 2, "limit": 4, "started": 9, "bytes": 3 << 30, "retries": 1},
    "operations": [{"op": "read", "pid": 99, "path": "sessions/a/[b].mp4", "offset": 0, "age": 1.25}],
    "recent_errors": [{"time": "2026-05-11T07:58:00Z", "operation": "read", "message": "lost\nblock"}],
}


def shown(mount: Any) -> str:
    """In a pipe."""
    return table([read_mount(mount.root)], NOW)


def drawn(mount: Any, width: int, height: int | None = None) -> list[str]:
    """On a terminal."""
    console = Console(file=io.StringIO(), width=width, color_system=None, force_terminal=True)
    console.print(view([read_mount(mount.root)], NOW, console, height), crop=False)
    assert isinstance(console.file, io.StringIO)
    return [line.rstrip() for line in console.file.getvalue().splitlines()]


def test_everything(mount: Any) -> None:
    mount.status = FULL
    mount.save_status()
    mount.session(
        "s_" + "long" * 50, "running", progress=0.42, expires_at="2026-05-11T08:10:00Z", kept_alive=True
    )
    mount.session("s2", files={"a.mp4": b"x" * 2048, "b.mp4": b""}, expires_at="2026-05-11T07:00:00Z")
    mount.session("s3", "failed", error="agent lost")
    text = shown(mount)
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert f"mount {mount.root} (read-only)" in lines
    assert "server vms:20109, without TLS, NOT REACHABLE: connection \\x1b[31mrefused" in lines
    assert "login analyst ok" in lines
    assert "cache 64.0 MiB of 256.0 MiB, 90% hits" in lines
    assert "downloads 1 of 4 running, 2 waiting, 3.0 GiB in all, 1 retries" in lines
    assert "running for 1h 05m, process 4711" in lines
    assert f"running 42% 0 - in 10m 00s kept s_{'long' * 50}" in lines
    assert "completed - 2 2.0 KiB due s2" in lines
    assert "failed - 0 - - s3: agent lost" in lines
    assert "read, for 1.2s, by process 99, at offset 0, sessions/a/[b].mp4" in lines
    assert "2026-05-11T07:58:00Z read lost block" in lines
    assert text == "\n".join(line.rstrip() for line in text.splitlines())


LONG = "20260511T090411Z_Server.DeviceIpint.12+3_mkv_abcdefgh"
SHORT = "20260511T080411Z_Server.DeviceIpint.1_mp4_k3v9x2ma"


@pytest.mark.parametrize("width", [20, 40, 50, 64, 80, 160])
def test_on_a_terminal_nothing_is_lost_however_narrow(mount: Any, width: int) -> None:
    labels = ["12.Parking lot, level 2", "13.\u30ab\u30e1\u30e9"]
    mount.session(LONG, "running", progress=0.42, cameras=labels, expires_at="2026-05-11T08:10:00Z")
    mount.session(SHORT, files={"a.mp4": b"x" * 2048}, coverage={"warnings": ["7 min of 30 min"]})
    mount.session("s3", "failed", error="agent lost")
    mount.session("s4", "running")
    lines = drawn(mount, width)
    for name in (LONG, SHORT, "s3", "s4"):
        assert name in lines, "a name stands whole on a line of its own"
    assert all(cell_len(line) <= width for line in lines if line != LONG and line != SHORT)
    text = " ".join(line.strip() for line in lines)
    for words in (
        "━━━━────── 42%",
        "expires in 10m 00s",
        *labels,
        "1 file, 2.0 KiB",
        "7 min of 30 min",
        "agent lost",
    ):
        assert words.replace(" ", "") in text.replace(" ", ""), words


def many(mount: Any) -> None:
    for number in range(20):
        mount.session(
            f"{number:03d}_{'x' * 40}", "running" if number % 10 == 9 else "completed", files={"a": b""}
        )


@pytest.mark.parametrize(("width", "height"), [(50, 24), (80, 24), (160, 50), (30, 12), (80, 10)])
def test_watching_shows_running_sessions_first_and_counts_the_rest(
    mount: Any, width: int, height: int
) -> None:
    many(mount)
    lines = drawn(mount, width, height)
    assert len(lines) <= height
    names = [line[:3] for line in lines if line[3:4] == "_"]
    assert names[:2] == ["009", "019"][: len(names)]
    assert (
        names[2:] == [f"{number:03d}" for number in range(20) if number % 10 != 9][: max(0, len(names) - 2)]
    )
    hidden = 20 - len(names)
    told = any(line.startswith(f"{hidden} ") and "not shown" in line for line in lines)
    assert told is bool(hidden)
    assert (f"{2 - len(names)} of them running" in " ".join(lines)) is (len(names) < 2)


def test_watching_what_fits_hides_nothing(mount: Any) -> None:
    many(mount)
    lines = drawn(mount, 80, 200)
    assert not any("not shown" in line for line in lines)
    assert sum(line[3:4] == "_" for line in lines) == 20


def test_watching_without_and_with_one_session(mount: Any) -> None:
    assert "no sessions" in drawn(mount, 80, 24)
    mount.session("one")
    assert "one" in drawn(mount, 80, 24)


def test_cameras_in_a_pipe(mount: Any) -> None:
    mount.session("a", cameras=["1.Gate north", "2.Door"], files={"x": b""})
    mount.session("b", files={"x": b""})
    lines = [" ".join(line.split()) for line in shown(mount).splitlines()]
    assert "STATE PROGRESS FILES SIZE EXPIRES CAMERAS SESSION" in lines
    assert "completed - 1 0 B - 1.Gate north, 2.Door a" in lines
    assert "completed - 1 0 B - - b" in lines


@pytest.mark.parametrize(
    "status",
    [
        {},
        {
            "server": None,
            "login": [],
            "cache": {"hits": "x"},
            "downloads": {},
            "operations": {},
            "recent_errors": 1,
        },
        {"operations": [None, {}], "recent_errors": [{}, "x"], "login": {}, "cache": {}, "started_at": 5},
        {
            "downloads": {"running": 1},
            "cache": {"used": 1},
            "started_at": "never",
            "operations": [{"age": "x"}],
        },
    ],
)
def test_lenient(run: Any, mount: Any, status: dict[str, Any]) -> None:
    mount.status = status
    mount.save_status()
    directory = mount.session("a")
    mount.record(directory, {"files": [None, {"size": "big"}], "progress": "half", "expires_at": "soon"})
    result = run("status", mount.root)
    assert result.exit_code == 0, result.stderr
    if status:
        assert "unknown" in result.stdout


def test_json(run: Any, mount: Any) -> None:
    mount.status = FULL
    mount.save_status()
    session = mount.session("a", "running", progress=0.5)
    result = run("status", "--json", mount.root)
    assert result.exit_code == 0
    (told,) = json.loads(result.stdout)["mounts"]
    assert told["mountpoint"] == str(mount.root)
    assert told["status"] == FULL
    assert told["error"] is None
    assert told["sessions"][0]["path"] == str(session)
    assert told["sessions"][0]["progress"] == 0.5


def test_no_mount_there(run: Any, tmp_path: Path) -> None:
    result = run("status", tmp_path)
    assert (result.exit_code, result.stdout) == (1, "")
    advice = "see `axxon-exportfs status` for what is mounted"
    assert result.stderr == f"axxon-exportfs: {tmp_path}: no exportfs is mounted there; {advice}\n"
    told = run("status", "--json", tmp_path)
    assert told.exit_code == 1
    assert json.loads(told.stdout)["mounts"][0]["status"] is None


def test_nothing_mounted(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "mountpoints", list)
    result = run("status")
    assert result.exit_code == 0
    assert "nothing is mounted" in result.stdout
    assert json.loads(run("status", "--json").stdout) == {"mounts": []}


def test_all_mounts_and_one_is_dead(
    run: Any, mount: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = tmp_path / "dead"
    monkeypatch.setattr(command, "mountpoints", lambda: [mount.root, dead])
    real = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if dead in path.parents:
            raise OSError(errno.ENOTCONN, "Transport endpoint is not connected", str(path))
        return real(path)

    monkeypatch.setattr(Path, "read_bytes", read_bytes)
    result = run("status")
    assert result.exit_code == 1
    assert "no sessions" in result.stdout
    assert "the mount is dead" in result.stderr


def test_broken_status_and_broken_record(run: Any, mount: Any) -> None:
    directory = mount.session("a")
    mount.session("b")
    (directory / ".session.json").write_text("{")
    result = run("status", mount.root)
    assert result.exit_code == 1
    assert " b: completed without any result\n" in result.stdout
    assert "invalid JSON" in result.stdout
    (mount.root / ".status.json").write_text("[]")
    assert "invalid JSON" in run("status", mount.root).stderr


def test_session_that_goes_away_while_we_look(mount: Any) -> None:
    directory = mount.session("a")
    (directory / ".session.json").unlink()
    told = read_mount(mount.root)
    assert (told.sessions, told.error) == ((), "")


def test_watch_needs_a_terminal(run: Any, mount: Any) -> None:
    assert run("status", "--watch", mount.root).exit_code == 2


class Enough(Exception):
    """The watching has been watched long enough."""


def test_watch_json_is_a_line_each(mount: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    naps: list[float] = []

    def nap(seconds: float) -> None:
        naps.append(seconds)
        if len(naps) == 3:
            raise Enough

    monkeypatch.setattr("exportfs.cli.commands.status.time.sleep", nap)
    with pytest.raises(Enough):
        command._watch_json(mount.root)
    lines = capsys.readouterr().out.splitlines()
    assert [len(json.loads(line)["mounts"]) for line in lines] == [1, 1, 1]


def test_watch_draws(mount: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def nap(seconds: float) -> None:
        raise Enough

    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=200)
    mount.session("watched")
    monkeypatch.setattr("exportfs.cli.terminal.status_view.terminal", lambda: console)
    monkeypatch.setattr("exportfs.cli.commands.status.time.sleep", nap)
    with pytest.raises(Enough):
        command._watch(mount.root)
    assert "watched" in drawn.getvalue()


ALTERNATE_SCREEN, SCREEN_BEFORE, CURSOR = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_watching_leaves_the_screen_as_it_was(mount: Any, number: int, code: int) -> None:
    mount.session("watched", "running")
    master, slave = pty.openpty()
    words = [sys.executable, "-m", "exportfs", "status", "--watch", str(mount.root)]
    environment = {**os.environ, "TERM": "xterm"}
    with subprocess.Popen(words, stdin=slave, stdout=slave, stderr=slave, env=environment) as process:
        os.close(slave)
        shown = b""
        while b"watched" not in shown:
            shown += os.read(master, 65536)
        assert ALTERNATE_SCREEN in shown
        process.send_signal(number)
        with contextlib.suppress(OSError):
            # EIO once nobody has the other end open.
            while more := os.read(master, 65536):
                shown += more
        assert process.wait(30) == code
    os.close(master)
    assert shown.rindex(SCREEN_BEFORE) > shown.rindex(ALTERNATE_SCREEN)
    assert CURSOR in shown[shown.rindex(ALTERNATE_SCREEN) :]


def test_mountinfo(tmp_path: Path) -> None:
    table = tmp_path / "mountinfo"
    table.write_bytes(
        b"22 1 0:21 / /proc rw,nosuid - proc proc rw\n"
        b"95 1 0:50 / /mnt/a\\040b\\134c rw shared:1 master:2 - fuse.axxon-exportfs vms rw,user_id=0\n"
        b"96 1 0:51 / /mnt/other rw - fuse.sshfs x rw\n"
        b"97 1 0:52 / /mnt/\xff rw - fuse.axxon-exportfs vms rw\n"
        b"98 1 0:52 / /mnt/\xff rw - fuse.axxon-exportfs vms rw\n"
        b"\n"
    )
    assert mountpoints(table) == [Path("/mnt/a b\\c"), Path("/mnt/\udcff")]
    assert isinstance(mountpoints(), list)


def test_server_address(mount: Any) -> None:
    session = mount.session("a")
    assert server_address(session) == "vms:20109"
    for status in ({}, {"server": None}, {"server": {"address": 5}}):
        mount.status = status
        mount.save_status()
        assert server_address(session) == ""
    (mount.root / ".status.json").unlink()
    assert server_address(session) == ""
