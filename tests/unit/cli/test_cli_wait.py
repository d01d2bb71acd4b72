"""`wait`, `stop` and `destroy`."""

import errno
import io
import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from exportfs.cli.terminal import following
from exportfs.client.sessions import locate, read_session
from exportfs.client.wait import FIRST_POLL_SECONDS, PATIENCE_SECONDS, POLL_SECONDS, wait_for
from exportfs.errors import InvalidArgument, NotFound, TimedOut

FILES = {"a.mp4": b"1"}
SHORT = {"share": 0.2333, "warnings": ["the results hold 7 min of the 30 min asked for (23 %)"], "note": None}
UNSURE: dict[str, object] = {
    "share": None,
    "warnings": [],
    "note": "whether all is there cannot be told: the results have no times",
}


@pytest.mark.parametrize(
    ("files", "coverage", "code", "words"),
    [
        (FILES, None, 0, ""),
        (FILES, {"share": 1.0, "warnings": [], "note": None}, 0, ""),
        (FILES, SHORT, 3, "a: the results hold 7 min of the 30 min asked for (23 %)"),
        (FILES, UNSURE, 0, "a: whether all is there cannot be told"),
        (FILES, {"warnings": "x", "note": 5}, 0, ""),
        (
            {},
            {"share": 0.0, "warnings": ["there is no result at all: none"]},
            1,
            "a: there is no result at all: none",
        ),
        ({}, None, 1, "a: completed without any result"),
    ],
)
@pytest.mark.promise("S12")
def test_missing_footage(
    run: Any, mount: Any, files: dict[str, bytes], coverage: object, code: int, words: str
) -> None:
    """`wait` and `status` alike."""
    session = mount.session("a", files=files, coverage=coverage)
    result = run("wait", session)
    assert result.exit_code == code
    assert words in result.stderr
    assert bool(result.stderr) == bool(words)
    shown = run("status", mount.root)
    assert shown.exit_code == code
    assert words in shown.stdout


def test_worse_than_missing_footage(run: Any, mount: Any) -> None:
    short = mount.session("a", files=FILES, coverage=SHORT)
    assert run("wait", short, mount.session("b", "failed", files=FILES)).exit_code == 1
    assert run("wait", short, mount.session("c")).exit_code == 1
    assert run("wait", short, mount.session("d", files=FILES)).exit_code == 3
    stopped = mount.session("e", "stopped", files=FILES, coverage=SHORT)
    result = run("wait", stopped)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 2)
    assert run("copy", stopped, mount.root.parent / "out").exit_code == 3


def test_completed_already(run: Any, mount: Any, waited: Any) -> None:
    result = run("wait", mount.session("a", files=FILES), mount.session("b", files=FILES))
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    assert waited.slept == []


def test_until_all_have_ended(run: Any, mount: Any, waited: Any) -> None:
    a, b = mount.session("a", "running"), mount.session("b", "running")
    waited.script = [lambda: mount.session("a", files=FILES), lambda: mount.session("b", files=FILES)]
    assert run("wait", a, b).exit_code == 0
    assert waited.slept == [FIRST_POLL_SECONDS, 2 * FIRST_POLL_SECONDS]


def test_looks_soon_and_then_every_second(run: Any, mount: Any, waited: Any) -> None:
    session = mount.session("a", "running")
    waited.script = [*[lambda: None] * 9, lambda: mount.session("a", files=FILES)]
    assert run("wait", session).exit_code == 0
    assert waited.slept == [0.1, 0.2, 0.4, 0.8, *[POLL_SECONDS] * 6]
    assert POLL_SECONDS <= 1


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("failed", "the export failed: disk of the agent is full"),
        ("stopped", "stopped before its end"),
        ("removed", "no longer on the server"),
    ],
)
def test_other_ends_are_1(run: Any, mount: Any, state: str, words: str) -> None:
    session = mount.session("a", state, error="disk of the agent is full")
    result = run("wait", session, mount.session("b"))
    assert result.exit_code == 1
    assert result.stderr.startswith("axxon-exportfs: a: ")
    assert words in result.stderr


def test_session_that_goes_away(run: Any, mount: Any, waited: Any) -> None:
    session = mount.session("a", "running")
    waited.script = [lambda: shutil.rmtree(session)]
    result = run("wait", session, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == [{"name": "a", "state": "removed"}]


def test_timeout(run: Any, mount: Any, waited: Any) -> None:
    result = run("wait", mount.session("a", "running"), "--timeout", "2.5")
    assert result.exit_code == 1
    assert result.stderr == "axxon-exportfs: a: still running after 2.5 s\n"
    assert waited.slept == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.0])


def test_timeout_counts_the_others(mount: Any, time: Any) -> None:
    sessions = [mount.session(name, "running") for name in "abc"]
    with pytest.raises(TimedOut, match="and 2 more"):
        wait_for(sessions, timeout=0, clock=time.clock())


def test_unreadable_for_a_while_is_no_end(mount: Any, time: Any) -> None:
    session = mount.session("a", "running")
    (session / ".session.json").write_text("{")
    time.script = [lambda: None] * 30 + [lambda: mount.session("a", "completed")]
    assert [record.state for record in wait_for([session], clock=time.clock())] == ["completed"]


def test_unreadable_for_long_is_an_error(mount: Any, time: Any) -> None:
    session = mount.session("a", "running")
    (session / ".session.json").write_text("[]")
    with pytest.raises(InvalidArgument, match="not a session's record"):
        wait_for([session], clock=time.clock())
    assert PATIENCE_SECONDS <= time.now < PATIENCE_SECONDS + POLL_SECONDS


def test_mount_that_goes_away_is_not_the_session(mount: Any, time: Any) -> None:
    session = mount.session("a", "running")
    time.script = [lambda: shutil.rmtree(mount.root)]
    with pytest.raises(FileNotFoundError):
        wait_for([session], clock=time.clock())


def test_bars_are_drawn_on_a_terminal(
    run: Any, mount: Any, waited: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=200)
    monkeypatch.setattr("exportfs.cli.terminal.progress.visible", lambda: True)
    monkeypatch.setattr("exportfs.cli.terminal.progress._console", lambda: console)
    options = {"archive": {"startTimestamp": "20260511T080000", "endTimestamp": "20260511T081000"}}
    session = mount.session("[bold]a", "running", options=options)
    waited.script = [
        lambda: mount.change(session, progress=0.1),
        lambda: mount.change(session, progress=0.3),
        lambda: mount.change(session, state="completed", files=[{"name": "a.mp4", "size": 1}]),
    ]
    assert run("wait", session).exit_code == 0
    assert "[bold]a" in drawn.getvalue()


def test_display_says_state_and_rate(mount: Any, time: Any) -> None:
    told: list[Any] = []

    class Line:
        def update(self, completed: float | None, **more: Any) -> None:
            told.append((completed, more["note"]))

        def done(self) -> None:
            told.append("done")

        def bar(self, label: str, total: float | None, note: str = "") -> "Line":
            told.append((label, total))
            return self

        def say(self, text: str) -> None:
            raise AssertionError

    options = {"archive": {"startTimestamp": "20260511T080000", "endTimestamp": "20260511T081000"}}
    session = mount.session("a", "running", options=options, progress=0.1)
    display = following._Display(Line(), time.clock(), 1)
    display.show(read_session(session))
    time.now = 6.0
    mount.change(session, progress=0.2)
    display.show(read_session(session))
    mount.change(session, state="completed")
    display.show(read_session(session))
    assert told == [("a", 1.0), (0.1, "running"), (0.2, "running 10.0x"), "done"]


def test_paths_that_name_a_session(mount: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    session = mount.session("a")
    link = mount.root / "new" / "gate"
    link.symlink_to("../sessions/a")
    (mount.root / "new" / "gate.json").write_text("{}")
    assert locate(link) == locate(mount.root / "new" / "gate.json") == locate(session) == session
    monkeypatch.chdir(session)
    assert locate(Path(".")) == session


def test_paths_that_name_none(run: Any, mount: Any, tmp_path: Path) -> None:
    session = mount.session("a", files={"a.mp4": b"x"})
    link = mount.root / "new" / "gone"
    link.symlink_to("../sessions/gone")
    for path, words in [
        (tmp_path / "nowhere", "there is no such session"),
        (tmp_path, "not a session directory"),
        (session / "a.mp4", "but a file"),
        (link, "no longer on the server"),
    ]:
        with pytest.raises(NotFound) as caught:
            locate(path)
        assert words in str(caught.value)
        assert run("wait", path).exit_code == 1
        assert run("copy", path, tmp_path / "out").exit_code == 1


def test_stop_writes_the_verb(run: Any, mount: Any) -> None:
    a, b = mount.session("a", "running"), mount.session("b", "running")
    result = run("stop", a, b, a)
    assert (result.exit_code, result.stdout) == (0, "stopped a\nstopped b\n")
    assert (a / ".control").read_text() == "stop\n"


def test_destroy_without_a_terminal_does_not_ask(run: Any, mount: Any) -> None:
    session = mount.session("a")
    result = run("destroy", session)
    assert (result.exit_code, result.stdout) == (0, "destroyed a\n")
    assert (session / ".control").read_text() == "destroy\n"


@pytest.mark.parametrize(
    ("answer", "code", "written"), [("y\n", 0, "destroy\n"), ("n\n", 1, ""), ("\n", 1, "")]
)
def test_destroy_asks_on_a_terminal(
    run: Any, mount: Any, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, written: str
) -> None:
    monkeypatch.setattr("exportfs.cli.commands.destroy.on_terminal", lambda: True)
    session = mount.session("a")
    result = run("destroy", session, input=answer)
    assert result.exit_code == code
    assert "Delete this session" in result.stderr
    assert (session / ".control").read_text() == written


def test_destroy_yes(run: Any, mount: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("exportfs.cli.commands.destroy.on_terminal", lambda: True)
    result = run("destroy", "--yes", mount.session("a"))
    assert (result.exit_code, result.stderr) == (0, "")


def test_one_that_fails_does_not_keep_the_others(run: Any, mount: Any, tmp_path: Path) -> None:
    a, b = mount.session("a"), mount.session("b")
    (a / ".control").unlink()
    result = run("destroy", a, tmp_path / "nowhere", b)
    assert result.exit_code == 1
    assert result.stdout == "destroyed b\n"
    assert len(result.stderr.splitlines()) == 2
    assert not (a / ".control").exists()


@pytest.mark.parametrize("call", ["write", "close"])
def test_refusal_of_the_mount(run: Any, mount: Any, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    session = mount.session("a", "running")
    real = getattr(os, call)

    def refuse(descriptor: int, *rest: Any) -> Any:
        path = os.readlink(f"/proc/self/fd/{descriptor}")
        result = real(descriptor, *rest)
        if path.endswith(".control"):
            raise OSError(errno.EROFS, "Read-only file system")
        return result

    monkeypatch.setattr(os, call, refuse)
    result = run("stop", session)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"axxon-exportfs: {session}: read-only filesystem")
