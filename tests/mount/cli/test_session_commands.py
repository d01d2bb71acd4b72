"""`wait`, `stop`, `destroy` and `status` on a real mount of a simulated server."""

import contextlib
import json
import os
import pty
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from exportfs.simulator import Config, Fail, FailExport, Hang, LoginConfig, Simulator, SimulatorServer
from tests.conftest import MountFactory
from tests.mount.cli.real import command, export, record, session_of
from tests.support.harness import DEADLINE, OURS, MountProcess, eventually

pytestmark = pytest.mark.mount


@pytest.fixture
def mount(start_mount: MountFactory) -> MountProcess:
    """A real one; this directory's own is made of plain files."""
    return start_mount()


@pytest.fixture
def long_simulator() -> Iterator[Simulator]:
    """Its exports do not end by themselves."""
    simulator = Simulator(Config(login=LoginConfig(required=False), export_seconds=3600.0))
    yield simulator
    simulator.close()


@pytest.fixture
def long_mount(long_simulator: Simulator, start_mount: MountFactory) -> Iterator[MountProcess]:
    with SimulatorServer(long_simulator) as server:
        mount = start_mount(address=server.address)
        yield mount
        mount.stop()


def test_wait_for_what_completes(mount: MountProcess) -> None:
    session = export(mount, "--name", "one")
    new = mount.mountpoint / "new"
    # The directory, its link, and the request file are one session.
    done = command("wait", session, new / "one", new / "one.json", "--json")
    (ended,) = json.loads(done.stdout)
    assert (ended["state"], ended["name"]) == ("completed", session.name)


def test_wait_for_what_fails(mount: MountProcess, simulator: Simulator) -> None:
    simulator.faults.add("StartSession", FailExport(with_files=True))
    session = export(mount)
    done = command("wait", session, code=1)
    assert session.name in done.stderr
    assert "failed" in done.stderr


def test_wait_gives_up(long_mount: MountProcess) -> None:
    assert "still running" in command("wait", export(long_mount), "--timeout", "0.3", code=1).stderr


def test_wait_is_told_of_a_stop(long_mount: MountProcess) -> None:
    session = export(long_mount)
    waiting = subprocess.Popen(
        [*OURS, "wait", session], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    done = command("stop", session)
    assert done.stdout == f"stopped {session.name}\n"
    out, err = waiting.communicate(timeout=DEADLINE)
    assert (out, waiting.returncode) == ("", 1)
    assert "stopped before its end" in err
    assert record(session)["state"] == "stopped"


def test_wait_is_told_of_a_destruction(long_mount: MountProcess, long_simulator: Simulator) -> None:
    session = export(long_mount)
    waiting = subprocess.Popen(
        [*OURS, "wait", session], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert command("destroy", session).stdout == f"destroyed {session.name}\n"
    _, err = waiting.communicate(timeout=DEADLINE)
    assert waiting.returncode == 1
    # It may have begun only after the session was gone.
    assert "no longer on the server" in err or "no such session" in err
    assert long_simulator.sessions.ids() == []


def test_destroy_some_although_one_fails(mount: MountProcess, simulator: Simulator) -> None:
    for _ in range(2):
        simulator.add_computed(1000)
    session_of(mount, lambda names: len(names) == 2)
    first, second = sorted((mount.mountpoint / "sessions").iterdir())
    done = command("destroy", first, mount.mountpoint / "sessions" / "no-such", second, code=1)
    assert done.stdout == f"destroyed {first.name}\ndestroyed {second.name}\n"
    assert "no such session" in done.stderr
    assert simulator.sessions.ids() == []


def test_what_the_server_refuses_is_1(mount: MountProcess, simulator: Simulator) -> None:
    simulator.add_computed(1000)
    session = session_of(mount)
    simulator.faults.add("DestroySession", Fail("PERMISSION_DENIED", "not you"), times=None)
    done = command("destroy", session, code=1)
    assert done.stderr.startswith(f"axxon-exportfs: {session}")
    assert "not allowed" in done.stderr
    assert len(simulator.sessions.ids()) == 1


def test_read_only(start_mount: MountFactory, simulator: Simulator) -> None:
    simulator.add_computed(1000)
    mount = start_mount("--read-only")
    session = session_of(mount)
    assert "nothing to stop" in command("stop", session).stderr
    assert "read-only" in command("destroy", session, code=1).stderr
    assert len(simulator.sessions.ids()) == 1


def test_status(mount: MountProcess, simulator: Simulator) -> None:
    simulator.add_computed(3 << 20)
    session = session_of(mount)
    text = command("status", mount.mountpoint).stdout
    assert session.name in text
    assert mount.address in text
    assert "3.0 MiB" in text
    assert "without TLS" in text
    assert str(mount.mountpoint) in command("status", code=None).stdout


def test_status_json(mount: MountProcess, simulator: Simulator) -> None:
    simulator.add_computed(1000)
    session = session_of(mount)
    (shown,) = json.loads(command("status", mount.mountpoint, "--json").stdout)["mounts"]
    assert shown["error"] is None
    assert shown["status"]["pid"] == mount.pid
    assert [one["path"] for one in shown["sessions"]] == [str(session)]
    assert shown["sessions"][0]["state"] == "completed"


def test_status_watch(mount: MountProcess) -> None:
    with subprocess.Popen(
        [*OURS, "status", mount.mountpoint, "--watch", "--json"], stdout=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout is not None
        assert json.loads(watching.stdout.readline())["mounts"][0]["sessions"] == []
        session = export(mount)
        seen = eventually(lambda: json.loads(watching.stdout.readline())["mounts"][0]["sessions"])
        assert seen[0]["path"] == str(session)
        watching.terminate()


def test_status_watch_on_a_terminal(mount: MountProcess, simulator: Simulator) -> None:
    simulator.add_computed(3 << 20)
    session_of(mount)
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    words = [*OURS, "status", str(mount.mountpoint), "--watch"]
    watching = subprocess.Popen(words, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    shown = b""

    def drawn() -> bool:
        nonlocal shown
        with contextlib.suppress(OSError):
            shown += os.read(ours, 65536)
        return b"3.0 MiB" in shown and b"completed" in shown

    try:
        eventually(drawn)
        watching.send_signal(signal.SIGINT)
        assert eventually(lambda: drawn() and watching.poll()) == 130
    finally:
        watching.kill()
        watching.wait()
        os.close(ours)


def test_status_names_the_file_of_an_operation(start_mount: MountFactory, simulator: Simulator) -> None:
    mount = start_mount("--timeout", "60")
    simulator.add_computed(1 << 20)
    session = session_of(mount)
    (name,) = [name for name in os.listdir(session) if not name.startswith(".")]
    simulator.faults.add("DownloadFile", Hang(), times=None)
    with subprocess.Popen(["cat", session / name], stdout=subprocess.DEVNULL) as reading:

        def under_way() -> list[dict[str, object]]:
            status = json.loads((mount.mountpoint / ".status.json").read_bytes())
            return [one for one in status["operations"] if one["op"] == "read"]

        (operation, *_) = eventually(under_way)
        assert operation["path"] == f"sessions/{session.name}/{name}"
        assert operation["pid"] == reading.pid
        assert operation["offset"] == 0
        shown = command("status", mount.mountpoint).stdout
        assert f"sessions/{session.name}/{name}" in shown
        simulator.faults.clear()
        assert reading.wait(DEADLINE) == 0


def test_status_of_no_mount_and_of_a_dead_one(start_mount: MountFactory, tmp_path: Path) -> None:
    assert "no exportfs is mounted" in command("status", tmp_path, code=1).stderr
    mount = start_mount(folder=tmp_path / "dead")
    mount.kill()
    assert str(mount.mountpoint) in command("status", mount.mountpoint, code=1).stderr
    assert "left behind" in command("doctor", code=1).stdout
    command("umount", mount.mountpoint)
    assert mount.mountpoint.is_dir()


def test_umount_ends_the_process(mount: MountProcess) -> None:
    command("umount", mount.mountpoint)
    assert mount.process is not None
    assert mount.process.wait(DEADLINE) == 0
    assert "cannot unmount" in command("umount", mount.mountpoint, code=1).stderr
