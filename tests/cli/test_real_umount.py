"""`umount` on a real mount: when it returns, nothing is left."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from exportfs.simulator import Simulator, SimulatorServer
from tests.harness import OURS, MountProcess, is_mounted


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
        subprocess.run([*OURS, "umount", str(mount.mountpoint)], check=True, timeout=20)
        assert not is_mounted(mount.mountpoint)
        assert with_login.simulator.accounts.logins() == 0
        assert mount.stop() == 0
        mount.check_log()
    finally:
        mount.clean_up()
