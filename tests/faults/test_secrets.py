"""Passwords and tokens are nowhere but in memory and on the wire."""

import contextlib
import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from exportfs.cli import server as cli_server
from exportfs.cli.params.mount_options import CREDENTIAL
from exportfs.cli.server import find_password
from exportfs.errors import InvalidArgument
from exportfs.simulator import Account, Action, Call, Config, Fail, LoginConfig, Simulator, SimulatorServer
from exportfs.simulator.api.refusal import Refused
from tests.support.harness import ARCHIVE_REQUEST, OURS, MountProcess, eventually

PASSWORD = "Tr0ub4dor-and-3"


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[SimulatorServer]:
    config = Config(login=LoginConfig({"demo": Account(PASSWORD)}, token_life=2), export_seconds=0.2)
    simulator = Simulator(config)
    with SimulatorServer(simulator) as server:
        yield server
    simulator.close()


def tokens(simulator: Simulator) -> set[str]:
    """All that were ever used."""
    return {call.token for call in simulator.log.calls() if call.token}


@dataclass(frozen=True)
class QuoteToken(Action):
    """Ends the call with words that quote its token."""

    def before(self, call: Call) -> None:
        raise Refused(grpc.StatusCode.INTERNAL, f"what of {call.token}")


def process_tree(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").iterdir():
        children = (task / "children").read_text().split() if (task / "children").exists() else []
        for child in children:
            found += process_tree(int(child))
    return found


@pytest.mark.mount
@pytest.mark.slow
@pytest.mark.parametrize("source", ["environment", "file"])
def test_secrets_never_leak(guarded: SimulatorServer, tmp_path: Path, source: str) -> None:
    simulator = guarded.simulator
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    options = ["--password-file", str(secret)] if source == "file" else []
    env = {} if source == "file" else {"EXPORTFS_PASSWORD": PASSWORD}
    mount = MountProcess(
        guarded.address, tmp_path, "--insecure", "--user", "demo", "--log-level", "debug",
        "--refresh", "0.3", "--timeout", "2.5", *options, env=env, fresh=True,
    )  # fmt: skip

    def looks() -> bool:
        """So that the server is asked soon."""
        with contextlib.suppress(OSError):
            os.listdir(mount.mountpoint / "sessions")
        return True

    try:
        mount.start()
        # Renewals, refusals, and a server whose words quote the token.
        simulator.faults.add("ListSessions", Fail("INTERNAL", "no"), times=2)
        (mount.mountpoint / "new/one.json").write_text(json.dumps(ARCHIVE_REQUEST))
        eventually(lambda: looks() and simulator.log.count("RenewSession2") and len(tokens(simulator)) >= 2)
        simulator.accounts.revoke()
        eventually(lambda: looks() and len(tokens(simulator)) >= 3)
        assert simulator.log.count("AuthenticateEx2") >= 2
        simulator.faults.add("ListSessions", QuoteToken(), times=None)
        eventually(lambda: looks() and "what of" in mount.log.read_text())
        with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
            (mount.mountpoint / "new/two.json").write_text("{}")
        places = {name: (mount.mountpoint / name).read_bytes() for name in (".status.json", ".metrics")}
        for pid in process_tree(mount.pid):
            for name in ("cmdline", "environ", "comm"):
                try:
                    places[f"{pid} {name}"] = Path(f"/proc/{pid}/{name}").read_bytes()
                except PermissionError:  # nobody but root sees the environment of what is not dumpable
                    assert (name, os.geteuid() != 0) == ("environ", True)
        assert mount.stop() == 0
    finally:
        mount.clean_up()
    places["log"] = mount.log.read_bytes()
    places |= {str(path): path.read_bytes() for path in (tmp_path / "state").rglob("*") if path.is_file()}
    for said in (b"logged in as demo for ", b"renewing the login of demo"):
        assert said in places["log"]
    for place, content in places.items():
        for value in (PASSWORD, *tokens(simulator)):
            assert value.encode() not in content, place


@pytest.mark.mount
def test_no_core_dumps(guarded: SimulatorServer, tmp_path: Path) -> None:
    mount = MountProcess(
        guarded.address, tmp_path, "--insecure", "--user", "demo", env={"EXPORTFS_PASSWORD": PASSWORD}
    )
    try:
        mount.start()
        (line,) = [
            line for line in Path(f"/proc/{mount.pid}/limits").read_text().splitlines() if "core file" in line
        ]
        assert line.split()[4:6] == ["0", "0"]
    finally:
        mount.clean_up()


@pytest.mark.mount
def test_password_file_of_all(guarded: SimulatorServer, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(PASSWORD)
    secret.chmod(0o644)
    (tmp_path / "mnt").mkdir()
    result = subprocess.run(
        [*OURS, "mount", guarded.address, str(tmp_path / "mnt"), "--insecure",
         "--user", "demo", "--password-file", str(secret)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stderr.count("\n")) == (1, 1)
    assert "chmod 600" in result.stderr
    assert PASSWORD not in result.stderr
    assert guarded.simulator.log.count() == 0


def test_systemd_credential(tmp_path: Path) -> None:
    (tmp_path / CREDENTIAL).write_text("of systemd\n")
    (tmp_path / CREDENTIAL).chmod(0o400)
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert find_password({"user": "demo"}, on_command_line=False, environ=environ, ask=None) == "of systemd"
    environ["EXPORTFS_PASSWORD"] = "of the environment"
    assert (
        find_password({"user": "demo"}, on_command_line=False, environ=environ, ask=None)
        == "of the environment"
    )
    (tmp_path / CREDENTIAL).chmod(0o444)
    with pytest.raises(InvalidArgument, match="chmod 600"):
        find_password({}, on_command_line=False, environ={"CREDENTIALS_DIRECTORY": str(tmp_path)}, ask=None)


def test_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    keyring = pytest.importorskip("keyring")
    kept = {("axxon-exportfs", "demo@vms:20109"): "of the keyring"}
    monkeypatch.setattr(keyring, "get_password", lambda service, user: kept.get((service, user)))
    values = {"user": "demo", "server": "vms:20109"}
    assert find_password(values, on_command_line=False, environ={}, ask=None) == "of the keyring"

    def broken(service: str, user: str) -> str:
        raise RuntimeError("no desktop here")

    monkeypatch.setattr(keyring, "get_password", broken)
    assert find_password(values, on_command_line=False, environ={}, ask=lambda: "asked") == "asked"


def test_without_the_keyring_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)
    assert cli_server.keyring_password("vms", "demo") is None
