"""The mount helper: words of mount(8), and mount(8) itself."""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from exportfs.cli.commands.mount_helper import arguments
from exportfs.cli.daemon.guard import TITLE
from exportfs.cli.install.files import _helper, our_command
from exportfs.errors import InvalidArgument
from exportfs.simulator import Config, Simulator, SimulatorServer, make_certificates
from tests.support import processes
from tests.support.commands import Run
from tests.support.harness import eventually
from tests.support.namespace import Namespace, namespace

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
        (
            "uid=root,gid=4100,umask=027,new_mode=1777",
            ["--uid=root", "--gid=4100", "--umask=027", "--new-mode=1777"],
        ),
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
        ("foreground", "unknown mount option `foreground`; the nearest known one is `(?!foreground)"),
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


@dataclass
class Machine:
    """A namespace in which mount(8) finds the helper, with a server and an fstab."""

    here: Namespace
    simulator: Simulator
    place: Path
    secret: Path
    options: str
    address: str
    fstab: Path
    folder: Path

    def mount(self, *words: object, code: int | None = 0) -> "subprocess.CompletedProcess[str]":
        environment = [f"XDG_CONFIG_HOME={self.folder}/config", f"XDG_STATE_HOME={self.folder}/state"]
        return self.here.run("env", *environment, "mount", *words, code=code)

    def lines(self) -> list[str]:
        """Of the mount table, those of this test: others may have mounts at the same time."""
        table = self.here.run("cat", "/proc/mounts").stdout.splitlines()
        return [line for line in table if "axxon" in line and f" {self.folder}/" in line]

    def listing(self, folder: str) -> list[str]:
        return self.here.run("ls", self.place / folder).stdout.splitlines()

    def pid(self) -> int:
        return int(json.loads(self.here.run("cat", self.place / ".status.json").stdout)["pid"])


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    simulator = Simulator(Config())
    tls = make_certificates(tmp_path, simulator.config.node)
    place, secret, scratch = tmp_path / "place with blank", tmp_path / "password", tmp_path / "scratch"
    place.mkdir()
    scratch.mkdir()
    secret.touch(mode=0o600)
    secret.write_text("demo\n")
    simulator.add_computed(1000)
    options = f"user=demo,password-file={secret},ca-file={tls.ca_file},tls-server-name={tls.name}"
    with (
        SimulatorServer(simulator, tls=tls) as server,
        namespace(scratch, os.path.realpath("/sbin")) as here,
    ):
        config = tmp_path / "config/axxon-exportfs/config.toml"
        config.parent.mkdir(parents=True)
        config.write_text(f'[profile.hq]\nserver = "{server.address}"\n')
        (tmp_path / "helper").write_text(_helper(our_command()))
        here.run("install", "-m755", tmp_path / "helper", "/sbin/mount.fuse.axxon-exportfs")
        fstab = tmp_path / "fstab"
        machine = Machine(here, simulator, place, secret, options, server.address, fstab, tmp_path)
        try:
            yield machine
        finally:
            here.run("umount", "-l", place, code=None)
            eventually(lambda: not guards())
    simulator.close()


@pytest.mark.mount
@needs_root
def test_fstab_and_mount_t(machine: Machine) -> None:
    place, address = machine.place, machine.address
    escaped = str(place).replace(" ", r"\040")
    options = machine.options + ",noauto,_netdev,x-systemd.automount,x-systemd.idle-timeout=600"
    machine.fstab.write_text(f"{address} {escaped} fuse.axxon-exportfs {options},ro 0 0\n")
    machine.mount("-T", machine.fstab, place)
    (session,) = machine.listing("sessions")
    done = machine.here.run("sh", "-c", 'echo {} > "$0/new/x.json"', place, code=None)
    assert "Read-only" in done.stderr
    machine.here.run("umount", place)
    assert not machine.lines()

    machine.mount("-t", "fuse.axxon-exportfs", address, place, "-o", options)
    assert machine.listing("sessions") == [session]
    machine.here.run("umount", place)
    assert not machine.lines()
    eventually(lambda: not machine.simulator.accounts.logins())  # both have closed their login

    words = ("-t", "fuse.axxon-exportfs", address, place, "-o")
    assert "`ca-file`" in machine.mount(*words, options + ",cafile=x", code=1).stderr
    machine.secret.write_text("wrong\n")
    assert machine.mount(*words, options, code=32).stderr.startswith("axxon-exportfs: ")


@pytest.mark.mount
@needs_root
def test_mount_a_knows_its_line_again(machine: Machine) -> None:
    """A profile in the first column: the address is in no line of fstab."""
    escaped = str(machine.place).replace(" ", r"\040")
    machine.fstab.write_text(f"hq {escaped} fuse.axxon-exportfs {machine.options} 0 0\n")
    machine.mount("-a", "-T", machine.fstab)
    assert len(machine.lines()) == 1
    pid = machine.pid()
    machine.mount("-a", "-T", machine.fstab)
    assert len(machine.lines()) == 1
    assert machine.pid() == pid


@pytest.mark.mount
@needs_root
@pytest.mark.parametrize("way", ["the process", "pkill -f"])
def test_mount_a_after_a_crash(machine: Machine, way: str) -> None:
    """mount(8) takes what is in the table for mounted: what crashed goes out of it, however it was killed."""
    escaped = str(machine.place).replace(" ", r"\040")
    machine.fstab.write_text(f"hq {escaped} fuse.axxon-exportfs {machine.options} 0 0\n")
    machine.mount("-a", "-T", machine.fstab)
    before = machine.pid()
    eventually(guards)
    for pid in [before] if way == "the process" else named(machine.place):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not machine.lines())
    machine.mount("-a", "-T", machine.fstab)
    assert machine.listing("sessions")
    assert machine.pid() != before
    machine.here.run("umount", machine.place)
    eventually(lambda: not guards())


def named(place: Path) -> list[int]:
    """Processes whose command lines name it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if os.fsencode(place) in path.read_bytes():
                found.append(int(path.parent.name))
    return found


def guards() -> list[processes.Process]:
    """Those of this test that are left."""
    return [each for each in processes.marked(os.environ[processes.MARK]) if each.command.startswith(TITLE)]
