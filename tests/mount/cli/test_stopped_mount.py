"""Commands on a mount whose process is stopped, or stuck: they say so and end, and Ctrl-C ends them before."""

import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from exportfs.client.asking import MountSilent, ask
from exportfs.client.sessions import read_session
from exportfs.simulator import Simulator
from exportfs.simulator.faults.actions import Slow
from tests.conftest import MountFactory
from tests.mount.cli import real
from tests.support import prepared
from tests.support.harness import OURS, MountProcess, eventually

pytestmark = pytest.mark.mount
SIZE = 24 << 20
ENDS_WITHIN = 12.0
"""Seconds, on a machine that is busy with other tests."""


@pytest.fixture
def mount(start_mount: MountFactory) -> MountProcess:
    """A real one."""
    return start_mount()


@pytest.fixture
def session(mount: MountProcess, simulator: Simulator) -> Path:
    simulator.add_computed(1 << 20)
    return real.session_of(mount)


def stop(mount: MountProcess) -> None:
    os.kill(mount.pid, signal.SIGSTOP)


def go_on(mount: MountProcess) -> None:
    os.kill(mount.pid, signal.SIGCONT)


@pytest.mark.promise("C13")
def test_every_command_says_so_and_ends(mount: MountProcess, session: Path, tmp_path: Path) -> None:
    place = mount.mountpoint
    commands: list[list[object]] = [
        ["status", place],
        ["wait", session],
        ["wait", session.name],
        ["copy", session, tmp_path / "copy"],
        ["stop", session],
        ["destroy", session],
        ["cameras", place],
        ["footage", place, "gate"],
        [
            *("export", place, "--camera", real.CAMERA, "--from", real.START),
            *("--duration", "10s", "--format", "mp4"),
        ],
        ["doctor"],
        ["umount", place],
    ]
    stop(mount)
    try:
        # Side by side, since each waits for some seconds.
        running = [
            subprocess.Popen(
                [*OURS, *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for words in commands
        ]
        said = []
        for words, process in zip(commands, running, strict=True):
            try:
                said.append((words[0], process.communicate(timeout=4 * ENDS_WITHIN)[0], process.returncode))
            except subprocess.TimeoutExpired:
                process.kill()
                said.append((words[0], "it does not end", process.returncode))
    finally:
        go_on(mount)
    for word, text, code in said:
        assert "does not answer" in text, f"{word}: {text}"
        assert code == 1, f"{word}: {text}"
    assert session.is_dir(), "nothing was done when it went on"


@pytest.mark.promise("C13")
def test_ctrl_c_ends_it_at_once(mount: MountProcess, session: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {**os.environ, **prepared.shorter({"exportfs.client.asking.LOOK_EVERY": 60.0})}
    stop(mount)
    try:
        log = os.open(os.devnull, os.O_WRONLY)
        process = prepared.shared().start(["wait", str(session)], environment, log, ends_with_us=False)
        # Once it has its thread it waits for the mount.
        eventually(lambda: len(os.listdir(f"/proc/{process.pid}/task")) > 1)
        process.send_signal(signal.SIGINT)
        assert process.wait(ENDS_WITHIN) == 130
    finally:
        go_on(mount)
        os.close(log)


@pytest.mark.promise("C13")
def test_a_copy_that_is_under_way_ends_and_goes_on_later(
    mount: MountProcess, simulator: Simulator, tmp_path: Path
) -> None:
    session_id = simulator.add_computed(SIZE)
    slow = simulator.faults.add("DownloadFile", Slow(8 << 20), times=None)
    session = real.session_of(mount)
    environment = {**os.environ, **prepared.shorter({"exportfs.client.copy_file.PATIENCE": 0.5})}
    said = tmp_path / "said"

    def grown() -> bool:
        return any(part.stat().st_size > 1 << 20 for part in tmp_path.glob("copy/*/*.part"))

    words = ["copy", str(session), str(tmp_path / "copy")]
    with said.open("wb") as log:
        process = prepared.shared().start(words, environment, log.fileno(), ends_with_us=False)
    eventually(grown)
    stop(mount)
    try:
        # The process itself cannot end as long as the kernel lets it wait for what it has open.
        eventually(lambda: "does not answer" in said.read_text())
    finally:
        go_on(mount)
    assert process.wait(ENDS_WITHIN) == 1
    assert "repeat the command to resume" in said.read_text()
    (state,) = tmp_path.glob("copy/*/*.part.state")
    assert json.loads(state.read_text())["offset"] > 1 << 20
    simulator.faults.remove(slow)
    before = simulator.log.count("DownloadFile")
    real.command("copy", session, tmp_path / "copy")
    assert simulator.log.count("DownloadFile") > before
    (result,) = (path for path in tmp_path.glob("copy/*/*") if path.stat().st_size == SIZE)
    assert result.read_bytes() == simulator.content(session_id, simulator.files(session_id)[0].path)


@pytest.mark.promise("E3")
def test_a_slow_server_is_waited_for(
    mount: MountProcess, session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What takes long while the mount answers is left to the mount's own bounds."""
    monkeypatch.setattr("exportfs.client.asking.LOOK_EVERY", 0.01)
    looks = threading.Semaphore(0)

    def answers(*_: object) -> bool:
        looks.release()
        return True

    monkeypatch.setattr("exportfs.client.asking._answers", answers)

    def slow() -> str:
        for _ in range(3):
            looks.acquire()
        return "an answer"

    assert ask(session, slow) == "an answer"


def test_what_comes_when_nobody_waits_any_more_is_undone(
    mount: MountProcess, session: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exportfs.client.asking.LOOK_EVERY", 0.01)
    opened, undone = threading.Event(), threading.Event()
    stop(mount)
    try:
        with pytest.raises(MountSilent):
            ask(session, opened.wait, patience=0.01, undo=lambda _: undone.set())
    finally:
        go_on(mount)
    assert not undone.is_set()
    opened.set()
    assert undone.wait(ENDS_WITHIN)


def test_a_mount_is_known_behind_links_and_goes_on(
    mount: MountProcess, session: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("exportfs.client.asking.LOOK_EVERY", 0.01)
    link = tmp_path / "link"
    link.symlink_to("./mnt/../mnt/sessions")
    behind = link / session.name
    stop(mount)
    with pytest.raises(MountSilent, match=str(mount.mountpoint)):
        ask(behind, lambda: read_session(behind), patience=0.1)
    go_on(mount)
    assert eventually(lambda: read_session(behind)).state == "completed"
