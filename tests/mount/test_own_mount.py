"""A process knows its own mount: it unmounts that, all of that and nothing else, and ends with it."""

import contextlib
import errno
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exportfs.fuse.mountpoint import mount_table
from exportfs.simulator import Simulator, SimulatorServer
from tests.conftest import MountFactory
from tests.mount.cli.real import command
from tests.support.harness import DEADLINE, OURS, MountProcess, eventually, expect_errno, is_mounted
from tests.support.namespace import COPY, without_copies
from tests.support.ports import reserved

pytestmark = pytest.mark.mount
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can do this to a mount")
NAMESPACE = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-U", "-r", "-m"]


def entries(mount: MountProcess) -> list[str]:
    """The devices of what is mounted there."""
    return [entry.device for entry in mount_table() if entry.place == mount.mountpoint]


def unmount(place: Path) -> None:
    """As any other program would."""
    subprocess.run(["fusermount3", "-u", "--", place], check=True, timeout=DEADLINE)


def stopped_and_unmounted(mount: MountProcess) -> bool:
    """False where it was stopped amid a call into its own mount, which keeps that busy."""
    os.kill(mount.pid, signal.SIGSTOP)
    if subprocess.run(["fusermount3", "-u", mount.mountpoint], check=False, timeout=DEADLINE).returncode == 0:
        return True
    os.kill(mount.pid, signal.SIGCONT)
    os.listdir(mount.mountpoint)
    return False


@contextlib.contextmanager
def copy_of_the_namespace() -> Iterator["subprocess.Popen[bytes]"]:
    """A process that has a copy of each mount."""
    with subprocess.Popen(
        [*NAMESPACE, "sh", "-c", "echo ready; exec cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.mark.promise("C3")
def test_a_late_end_leaves_the_successor(start_mount: MountFactory, tmp_path: Path) -> None:
    """It is at the same place, and the one before learns of its end only now."""
    first = start_mount()
    try:
        eventually(lambda: stopped_and_unmounted(first))
        second = MountProcess(first.address, tmp_path, "--insecure")
        try:
            second.start()
            there = entries(second)
            os.kill(first.pid, signal.SIGCONT)
            assert first.process is not None
            assert first.process.wait(DEADLINE) == 0
            assert entries(second) == there
            assert os.listdir(second.mountpoint)
        finally:
            second.clean_up()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(first.pid, signal.SIGCONT)


@pytest.mark.promise("C3")
def test_a_copy_in_another_namespace_keeps_neither_process_nor_login(tmp_path: Path) -> None:
    simulator = Simulator()
    secret = tmp_path / "password"
    secret.touch(mode=0o600)
    secret.write_text("demo\n")
    with SimulatorServer(simulator) as server:
        options = ("--insecure", "--user", "demo", "--password-file", str(secret))
        mount = MountProcess(server.address, tmp_path, *options)
        try:
            mount.start()
            assert mount.process is not None
            with copy_of_the_namespace() as holder:
                unmount(mount.mountpoint)
                assert mount.process.wait(DEADLINE) == 0
                assert simulator.accounts.logins() == 0
                assert str(holder.pid) in mount.log.read_text()

            mount.start()
            with copy_of_the_namespace() as holder:
                done = command("umount", mount.mountpoint)
                assert mount.process.poll() == 0
                assert simulator.accounts.logins() == 0
                assert len(re.findall(COPY.format(holder.pid), done.stderr)) == 1
                assert without_copies(done.stderr) == ""
            mount.check_log()
        finally:
            mount.clean_up()
    simulator.close()


@needs_root
@pytest.mark.promise("C3")
def test_bind_mounts(start_mount: MountFactory, tmp_path: Path) -> None:
    mount = start_mount()
    elsewhere = tmp_path / "else where"
    elsewhere.mkdir()
    subprocess.run(["mount", "--bind", mount.mountpoint / "sessions", elsewhere], check=True)
    try:
        done = command("umount", mount.mountpoint)
        assert f"still mounted at {elsewhere}" in done.stderr
        assert os.listdir(elsewhere) == []
        assert mount.stop() == 0
        assert not any(entry.place == elsewhere for entry in mount_table())
    finally:
        subprocess.run(["umount", "-l", elsewhere], check=False, capture_output=True)


@needs_root
def test_a_bind_mount_elsewhere_is_not_ours_to_end_with(start_mount: MountFactory, tmp_path: Path) -> None:
    """Unmounting the copy leaves the mount."""
    mount = start_mount()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    subprocess.run(["mount", "--bind", mount.mountpoint, elsewhere], check=True)
    done = command("umount", elsewhere)
    assert f"still mounted at {mount.mountpoint}" in done.stderr
    assert os.listdir(mount.mountpoint)


def test_aborted_by_the_kernel(mount: MountProcess) -> None:
    """As `umount -f` and /sys/fs/fuse/connections do."""
    (device,) = entries(mount)
    connection = Path("/sys/fs/fuse/connections") / device.partition(":")[2]
    if connection.exists():
        (connection / "abort").write_text("1\n")
    else:
        assert os.geteuid() == 0, "mount fusectl at /sys/fs/fuse/connections for this test"
        subprocess.run(["umount", "-f", mount.mountpoint], check=True)
    assert mount.process is not None
    assert mount.process.wait(DEADLINE) == 0
    assert not is_mounted(mount.mountpoint)


@pytest.mark.promise("C3")
def test_a_signal_to_the_whole_unit(server: SimulatorServer, tmp_path: Path) -> None:
    """systemd, a terminal and `timeout` send it to our children too, whenever: no dead mount stays."""
    place = tmp_path / "mnt"
    place.mkdir()
    pause = random.Random(7)
    for attempt in range(6):
        log = (tmp_path / "log").open("w+")
        process = subprocess.Popen(
            [*OURS, "mount", server.address, place, "--foreground", "--insecure", "--timeout", "5"],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stderr=log,
            env={**os.environ, "XDG_STATE_HOME": os.fspath(tmp_path / "state")},
        )
        try:
            if attempt % 2:
                eventually(lambda: is_mounted(place), every=0.002)
            else:
                time.sleep(pause.uniform(0.0, 1.5))  # at any stage of its start
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            assert process.wait(DEADLINE) in (0, -signal.SIGTERM)
            log.seek(0)
            assert "Traceback" not in log.read()
            assert not is_mounted(place)
        finally:
            log.close()
            if process.poll() is None:
                process.kill()
            if is_mounted(place):
                subprocess.run(["fusermount3", "-u", "-z", place], check=False)


@pytest.mark.promise("C3")
def test_signals_to_us_and_our_children_until_we_end(start_mount: MountFactory) -> None:
    """Also while it unmounts: as systemd signals each process of a unit as it appears, and as impatient people do."""
    for _ in range(3):
        mount = start_mount()
        assert mount.process is not None
        children = Path(f"/proc/{mount.pid}/task/{mount.pid}/children")
        while mount.process.poll() is None:
            with contextlib.suppress(OSError):
                for pid in (mount.pid, *map(int, children.read_text().split())):
                    os.kill(pid, signal.SIGTERM)
        assert mount.process.returncode == 0
        assert not is_mounted(mount.mountpoint)


def test_two_at_once(server: SimulatorServer, tmp_path: Path) -> None:
    """One of them mounts; they never end up one over the other."""
    place = tmp_path / "mnt"
    place.mkdir()
    both = [
        subprocess.Popen(
            [*OURS, "mount", server.address, place, "--insecure"],
            stderr=subprocess.PIPE,
            env={**os.environ, "XDG_STATE_HOME": os.fspath(tmp_path / f"state{number}")},
        )
        for number in (1, 2)
    ]
    try:
        said = [process.communicate(timeout=DEADLINE)[1].decode() for process in both]
        assert sorted(process.returncode for process in both) == [0, 1], said
        assert "mounted at" in "".join(said)
        assert len([entry for entry in mount_table() if entry.place == place]) == 1
    finally:
        command("umount", place)


def test_names_that_the_table_escapes(start_mount: MountFactory, tmp_path: Path) -> None:
    folder = tmp_path / "a b\tc\nd\\040eü\r"
    folder.mkdir()
    mount = start_mount(folder=folder)
    assert entries(mount)
    command("umount", mount.mountpoint)
    assert mount.process is not None
    assert mount.process.poll() == 0
    assert not entries(mount)


@pytest.mark.promise("C4")
def test_a_crashed_mount_stays_until_the_next_one_is_there(mount: MountProcess) -> None:
    """Not an empty directory meanwhile, of which a backup would learn that everything was deleted."""
    mount.kill()
    expect_errno(errno.ENOTCONN, os.listdir, mount.mountpoint)
    with reserved() as port:
        command("mount", f"127.0.0.1:{port}", mount.mountpoint, "--insecure", "--timeout", "1", code=1)
    expect_errno(errno.ENOTCONN, os.listdir, mount.mountpoint)
    mount.start()
    assert os.listdir(mount.mountpoint)
    assert len(entries(mount)) == 1


def test_the_source_shown_is_the_source_given(server: SimulatorServer, tmp_path: Path) -> None:
    """By it mount(8) knows a line of /etc/fstab again: here a profile, elsewhere a host without a port."""
    config = tmp_path / "config/axxon-exportfs/config.toml"
    config.parent.mkdir(parents=True)
    config.write_text(f'[profile.hq]\nserver = "{server.address}"\ninsecure = true\n')
    place = tmp_path / "mnt"
    place.mkdir()
    environment = {
        **os.environ,
        "XDG_CONFIG_HOME": os.fspath(tmp_path / "config"),
        "XDG_STATE_HOME": os.fspath(tmp_path / "state"),
    }
    subprocess.run([*OURS, "mount", "hq", place], check=True, env=environment, timeout=DEADLINE)
    try:
        (source,) = [entry.source for entry in mount_table() if entry.place == place]
        assert source == "hq"
    finally:
        command("umount", place)


@needs_root
@pytest.mark.alone  # beside others the server answers so late that it counts as distant
def test_read_ahead(simulator: Simulator, start_mount: MountFactory) -> None:
    """Raised for a server that is near, also after the kernel's first call."""
    simulator.add_many(100, 4096)
    mount = start_mount()
    (device,) = entries(mount)
    setting = Path(f"/sys/class/bdi/{device}/read_ahead_kb")
    results = list(mount.mountpoint.glob("sessions/*/[!.]*"))
    assert len(results) == 100

    def raised() -> bool:
        # Each download measures the round trip: the least counts, and a slow machine answers quickly now and then.
        if results:
            assert len(results.pop().read_bytes()) == 4096
        return setting.read_text() == "256\n"

    eventually(raised)
    assert os.listdir(mount.mountpoint)
    eventually(raised)
