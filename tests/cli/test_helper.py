"""The mount helper: words of mount(8), and mount(8) itself."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from exportfs.cli.helper import arguments
from exportfs.cli.things import _helper, our_command
from exportfs.errors import InvalidArgument
from exportfs.simulator import Config, Simulator, SimulatorServer, make_certificates
from tests.cli.conftest import Run
from tests.harness import DEADLINE, eventually, is_mounted

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mount(8) is for root")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("", []),
        ("rw,noauto,user,_netdev,x-systemd.automount,x-systemd.idle-timeout=60,nofail,defaults", []),
        ("user=demo,ca-file=/etc/ca.pem", ["--user=demo", "--ca-file=/etc/ca.pem"]),
        ("username=demo,nosuid,nodev,noexec", ["--user=demo"]),
        ("ro,allow_other,cache-size=1G", ["--read-only", "--allow-other", "--cache-size=1G"]),
        (r"tls-server-name=a\,b,comment=x", ["--tls-server-name=a,b"]),
        ("user=-x", ["--user=-x"]),
    ],
)
def test_options(options: str, words: list[str]) -> None:
    assert list(arguments(options)) == words


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("cafile=/x", "`ca-file`"),
        ("read-only=1", "takes no value"),
        ("ca-file", "takes a value"),
        ("remount", "unmount it"),
        ("foreground", "unknown"),
        ("password=x", "unknown"),
    ],
)
def test_wrong_options(options: str, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        list(arguments(options))


def test_exit_codes(run: Run, tmp_path: Path) -> None:
    assert run("mount-helper", "vms", tmp_path, "-o", "nonsense").exit_code == 1
    assert run("mount-helper", "vms", tmp_path, "-o", "refresh=soon").exit_code == 1
    assert run("mount-helper", "vms", tmp_path, "-f", "-o", "rw").exit_code == 0
    missing = run("mount-helper", "127.0.0.1:1", tmp_path / "no", "-o", "insecure,foreground=1")
    assert missing.exit_code == 1
    assert missing.stderr.count("\n") == 1


@pytest.fixture
def helper() -> Iterator[None]:
    """It is where mount(8) looks for it."""
    path = Path("/sbin/mount.fuse.axxon-exportfs")
    if path.exists():
        yield
        return
    path.write_text(_helper(our_command()))
    path.chmod(0o755)
    try:
        yield
    finally:
        path.unlink()


def mount(*words: object) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["mount", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        timeout=DEADLINE,
    )


@pytest.mark.mount
@needs_root
@pytest.mark.usefixtures("helper")
def test_fstab_and_mount_t(tmp_path: Path) -> None:
    simulator = Simulator(Config())
    tls = make_certificates(tmp_path, simulator.config.node)
    place, secret = tmp_path / "place with blank", tmp_path / "password"
    place.mkdir()
    secret.touch(mode=0o600)
    secret.write_text("demo\n")
    simulator.add_computed(1000)
    try:
        with SimulatorServer(simulator, tls=tls) as server:
            options = (
                f"user=demo,password-file={secret},ca-file={tls.ca_file},tls-server-name={tls.name},"
                "noauto,_netdev,x-systemd.automount,x-systemd.idle-timeout=600"
            )
            fstab = tmp_path / "fstab"
            escaped = str(place).replace(" ", r"\040")
            fstab.write_text(f"{server.address} {escaped} fuse.axxon-exportfs {options},ro 0 0\n")
            done = mount("-T", fstab, place)
            assert done.returncode == 0, done.stderr
            assert is_mounted(place)
            (session,) = os.listdir(place / "sessions")
            with pytest.raises(OSError, match="Read-only"):
                (place / "new" / "x.json").write_text("{}")
            subprocess.run(["umount", place], check=True, timeout=DEADLINE)
            assert not is_mounted(place)

            done = mount("-t", "fuse.axxon-exportfs", server.address, place, "-o", options)
            assert done.returncode == 0, done.stderr
            assert is_mounted(place)
            assert os.listdir(place / "sessions") == [session]
            subprocess.run(["umount", place], check=True, timeout=DEADLINE)
            assert not is_mounted(place)
            eventually(lambda: not simulator.accounts.logins())  # both have closed their login

            done = mount("-t", "fuse.axxon-exportfs", server.address, place, "-o", options + ",cafile=x")
            assert done.returncode == 1
            assert "`ca-file`" in done.stderr
            secret.write_text("wrong\n")
            done = mount("-t", "fuse.axxon-exportfs", server.address, place, "-o", options)
            assert done.returncode == 32
            assert done.stderr.startswith("axxon-exportfs: ")
    finally:
        subprocess.run(["umount", "-l", place], check=False, capture_output=True)
        simulator.close()
