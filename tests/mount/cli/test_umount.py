"""`umount` on a real mount: when it returns, nothing is left."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from exportfs.cli.commands import umount as command
from exportfs.errors import ExportfsError
from exportfs.simulator import Simulator, SimulatorServer
from tests.conftest import MountFactory
from tests.mount.cli import real
from tests.support.harness import DEADLINE, MountProcess, is_mounted


@pytest.fixture
def with_login() -> Iterator[SimulatorServer]:
    """A server that wants a login, in plaintext on loopback."""
    simulator = Simulator()
    with SimulatorServer(simulator) as server:
        yield server
    simulator.close()


@pytest.mark.mount
@pytest.mark.promise("C3")
def test_login_and_process_are_gone_when_umount_returns(with_login: SimulatorServer, tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.touch(mode=0o600)
    secret.write_text("demo\n")
    options = ("--insecure", "--user", "demo", "--password-file", str(secret))
    mount = MountProcess(with_login.address, tmp_path, *options)
    try:
        mount.start()
        assert with_login.simulator.accounts.logins() == 1
        real.command("umount", mount.mountpoint)
        assert not is_mounted(mount.mountpoint)
        assert with_login.simulator.accounts.logins() == 0
        assert mount.stop() == 0
        mount.check_log()
    finally:
        mount.clean_up()


@pytest.mark.mount
@pytest.mark.promise("C3")
def test_lazy_returns_while_something_still_uses_the_mount(
    start_mount: MountFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = start_mount()
    with (mount.mountpoint / "README.txt").open("rb") as file:
        with pytest.raises(ExportfsError, match="busy") as said:
            command.umount.main([str(mount.mountpoint)], standalone_mode=False)
        begin = f"cannot unmount {mount.mountpoint}: Device or resource busy; close"
        assert str(said.value).startswith(begin)  # as root and as a user, whom fusermount3 tells more
        assert is_mounted(mount.mountpoint)
        monkeypatch.setattr(command, "process_of", lambda _: pytest.fail("it looks for what to wait for"))
        command.umount.main([str(mount.mountpoint), "--lazy"], standalone_mode=False)
        assert not is_mounted(mount.mountpoint)
        assert file.read()
        assert mount.process is not None
        assert mount.process.poll() is None
    assert mount.process.wait(DEADLINE) == 0


@pytest.mark.mount
@pytest.mark.promise("C3")
def test_umount_does_not_wait_for_ever(
    start_mount: MountFactory, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For a process that does not end: here one that is stopped once it has said who it is."""
    mount = start_mount()
    assert command.PROCESS_TIMEOUT == 5
    monkeypatch.setattr(command, "PROCESS_TIMEOUT", 0.1)
    find = command.process_of

    def stopping(mountpoint: Path) -> command.Process | None:
        found = find(mountpoint)
        os.kill(mount.pid, signal.SIGSTOP)
        return found

    monkeypatch.setattr(command, "process_of", stopping)
    try:
        assert command.umount.main([str(mount.mountpoint)], standalone_mode=False) == 1
        assert f"is unmounted, but process {mount.pid}" in capsys.readouterr().err
        assert not is_mounted(mount.mountpoint)
        assert mount.process is not None
        assert mount.process.poll() is None
    finally:
        os.kill(mount.pid, signal.SIGCONT)
    assert mount.process.wait(DEADLINE) == 0


@pytest.mark.slow
@pytest.mark.mount
@pytest.mark.promise("C3")
def test_a_stopped_process_does_not_keep_umount(start_mount: MountFactory) -> None:
    """Which cannot even say who it is."""
    mount = start_mount()
    os.kill(mount.pid, signal.SIGSTOP)
    try:
        assert "does not answer" in real.command("status", mount.mountpoint, code=1).stderr
        again = real.command("mount", "127.0.0.1:1", mount.mountpoint, "--insecure", code=1)
        assert "mounted at" in again.stderr
        real.command("umount", mount.mountpoint, "--lazy")
        assert not is_mounted(mount.mountpoint)
    finally:
        os.kill(mount.pid, signal.SIGCONT)
    assert mount.process is not None
    assert mount.process.wait(DEADLINE) == 0


@pytest.mark.mount
@pytest.mark.parametrize("spelling", ["link", "parent/link/../mnt", "slashes", "relative", "dots"])
def test_every_spelling_of_the_mount_point(start_mount: MountFactory, tmp_path: Path, spelling: str) -> None:
    """`umount` finds the mount and waits for its process."""
    mount = start_mount()
    elsewhere = tmp_path / "elsewhere/deep"
    elsewhere.mkdir(parents=True)
    (tmp_path / "link").symlink_to(mount.mountpoint)
    (tmp_path / "parent").mkdir()
    (elsewhere.parent / "mnt").symlink_to(mount.mountpoint)
    (tmp_path / "parent/link").symlink_to(elsewhere)
    spelled: dict[str, tuple[str | Path, Path | None]] = {
        "link": (tmp_path / "link", None),
        "parent/link/../mnt": (f"{tmp_path}/parent/link/../mnt", None),
        "slashes": (f"/{mount.mountpoint}//", None),
        "relative": ("mnt", tmp_path),
        "dots": ("../mnt/.", elsewhere.parent),
    }
    path, folder = spelled[spelling]
    real.command("umount", path, cwd=folder or ".")
    assert not is_mounted(mount.mountpoint)
    assert mount.process is not None
    assert mount.process.poll() == 0


@pytest.mark.mount
def test_umount_of_what_is_not_ours(tmp_path: Path) -> None:
    for place, says in ((tmp_path, "nothing is mounted there"), (Path("/proc"), "is of type proc")):
        done = real.command("umount", place, code=1)
        assert says in done.stderr
        assert done.stderr.count("\n") == 1
