"""A mount that cannot begin says why in one line, with exit code 1, soon, and leaves nothing behind."""

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from exportfs.errors import ExportfsError
from exportfs.fuse import mountpoint as mountpoint_module
from exportfs.simulator import (
    Account,
    Config,
    LoginConfig,
    Proxy,
    Simulator,
    SimulatorServer,
    make_certificates,
)
from tests.mount.cli.real import command
from tests.support.harness import is_mounted
from tests.support.ports import reserved

pytestmark = pytest.mark.mount


@dataclass
class Place:
    """Where to mount, and what may be left there."""

    folder: Path

    def mount(
        self, address: str, *options: str, target: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        target = target or self.folder / "mnt"
        return command(
            *("mount", address, target, "--timeout", 10, *options),
            code=None,
            env={
                **os.environ,
                "XDG_STATE_HOME": os.fspath(self.folder / "state"),
                "EXPORTFS_PASSWORD": "demo",
            },
        )

    def fails(
        self, address: str, *options: str, says: str, target: Path | None = None, foreground: bool = False
    ) -> None:
        for stay in ((), ("--foreground",)) if foreground else ((),):
            result = self.mount(address, *options, *stay, target=target)
            said = [line for line in result.stderr.splitlines() if not line[:4].isdigit()]
            assert result.returncode == 1, result
            assert len(said) == 1, result.stderr
            assert said[0].startswith("axxon-exportfs: ")
            assert says in said[0], said[0]
            assert not result.stdout
            assert not (self.folder / "state").exists()
            assert not is_mounted(self.folder / "mnt")


@pytest.fixture
def place(tmp_path: Path) -> Place:
    (tmp_path / "mnt").mkdir()
    return Place(tmp_path)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[SimulatorServer]:
    """A server with TLS and logins."""
    simulator = Simulator(
        Config(login=LoginConfig({"demo": Account("demo"), "two": Account("demo", "123456")}))
    )
    with SimulatorServer(simulator, tls=make_certificates(tmp_path)) as server:
        yield server
    simulator.close()


def tls(server: SimulatorServer) -> tuple[str, ...]:
    assert server.tls is not None
    return ("--ca-file", str(server.tls.ca_file), "--tls-server-name", "Server", "--user", "demo")


def test_refused_at_once(place: Place) -> None:
    begun = time.monotonic()
    with reserved() as port:
        place.fails(
            f"127.0.0.1:{port}",
            "--insecure",
            "--timeout",
            "120",
            says="connection refused",
            foreground=True,
        )
    assert time.monotonic() - begun < 100  # two runs; with the timeout each would take two minutes


def test_unresolvable(place: Place) -> None:
    place.fails("no-such-host.invalid", says="cannot be resolved")


def test_silent_network(place: Place, server: SimulatorServer) -> None:
    with Proxy(server.port) as proxy:
        proxy.blackhole()
        place.fails(
            proxy.address, "--insecure", "--timeout", "2", says="and then says nothing", foreground=True
        )


@pytest.mark.slow
def test_transport(place: Place, guarded: SimulatorServer, server: SimulatorServer, tmp_path: Path) -> None:
    place.fails(
        guarded.address, "--tls-server-name", "Server", says="another CA than one that this system trusts"
    )
    place.fails(
        guarded.address, *tls(guarded)[:2], says="but for Server: if this is the right server, use --tls"
    )
    place.fails(guarded.address, "--insecure", says="speaks TLS: leave out --insecure", foreground=True)
    place.fails(server.address, says="speaks gRPC without TLS")


def test_login(place: Place, guarded: SimulatorServer, tmp_path: Path) -> None:
    wrong = tmp_path / "password"
    wrong.write_text("wrong-word")
    wrong.chmod(0o600)
    place.fails(
        guarded.address,
        *tls(guarded),
        "--password-file",
        str(wrong),
        says="wrong user name or password for demo",
    )
    place.fails(
        guarded.address, *tls(guarded)[:-1], "two", says="two needs a second factor: mount from a terminal"
    )
    place.fails(guarded.address, *tls(guarded)[:-2], says="the server wants a login; mount with --user")
    assert guarded.simulator.accounts.logins() == 0


def test_mount_points(place: Place, server: SimulatorServer, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "something").touch()
    for name, words in (("none", "mkdir -p"), ("file", "is not a directory"), ("full", "is not empty")):
        place.fails(server.address, "--insecure", says=words, target=tmp_path / name)


def test_mounted_already(place: Place, server: SimulatorServer) -> None:
    assert place.mount(server.address, "--insecure").returncode == 0
    try:
        second = place.mount(server.address, "--insecure")
        assert (second.returncode, second.stderr.count("\n")) == (1, 1)
        assert "is mounted at" in second.stderr
    finally:
        command("umount", place.folder / "mnt")


def test_failure_after_login(guarded: SimulatorServer, place: Place, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.touch()  # where the journal's directory ought to be
    result = place.mount(guarded.address, *tls(guarded))
    assert result.returncode == 1
    assert "cannot use the journal" in result.stderr
    assert guarded.simulator.log.count("AuthenticateEx2") == 1
    assert guarded.simulator.log.count("CloseSession") == 1
    assert guarded.simulator.accounts.logins() == 0


def test_no_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = Path.exists
    monkeypatch.setattr(Path, "exists", lambda self: str(self) != "/dev/fuse" and real(self))
    with pytest.raises(ExportfsError, match="modprobe fuse"):
        mountpoint_module.check_mountpoint(tmp_path)
