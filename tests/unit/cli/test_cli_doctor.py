"""`doctor`: each condition is found, and the fix is said."""

import json
import os
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from exportfs.cli.configuration_findings import configuration_findings
from exportfs.config import ServerConfig
from exportfs.doctor import machine as checks
from exportfs.doctor.finding import Finding
from exportfs.doctor.machine import Machine, machine_findings


@pytest.fixture
def machine(tmp_path: Path) -> dict[str, Any]:
    """A machine on which all is well; as keywords, to be altered."""
    for name in ("config", "state"):
        (tmp_path / name).mkdir(mode=0o700)
    (tmp_path / "fuse.conf").write_text("# comment\nuser_allow_other # for sharing\n")
    (tmp_path / "mountinfo").write_text("")
    return {
        "fuse_device": Path(os.devnull),
        "fuse_conf": tmp_path / "fuse.conf",
        "mountinfo": tmp_path / "mountinfo",
        "config_dir": tmp_path / "config",
        "state_dir": tmp_path / "state",
        "which": lambda name: "/bin/true",
    }


def found(machine: dict[str, Any]) -> dict[str, Finding]:
    looked_at = Machine(**machine)
    findings = (*machine_findings(looked_at), *configuration_findings(looked_at))
    return {finding.title: finding for finding in findings}


def test_all_is_well(machine: dict[str, Any], tmp_path: Path) -> None:
    """For whoever runs it, root or not."""
    program = tmp_path / "fusermount3"
    program.touch()
    program.chmod(0o4755)
    machine["which"] = lambda name: str(program)
    assert [finding for finding in found(machine).values() if finding.ok is not True] == []


def test_old_python(machine: dict[str, Any]) -> None:
    finding = found({**machine, "python": (3, 10, 9)})["Python"]
    assert (finding.ok, finding.fix) == (False, "use Python 3.11 or newer")


def test_library_that_does_not_load(machine: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyfuse3", None)
    assert found(machine)["FUSE library"].ok is False


def test_device(machine: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = found({**machine, "fuse_device": tmp_path / "fuse"})[str(tmp_path / "fuse")]
    assert missing.ok is False
    assert "modprobe fuse" in missing.fix
    for code, words in ((13, "chmod 666"), (1, "--device /dev/fuse"), (5, "kernel log")):
        with monkeypatch.context() as patch:
            patch.setattr(os, "open", raising(OSError(code, os.strerror(code))))
            assert words in checks._device(Machine()).fix


def raising(error: Exception) -> Any:
    def call(*_: object, **__: object) -> None:
        raise error

    return call


@pytest.mark.parametrize(("uid", "ok"), [(0, None), (1000, False)])
def test_fusermount(
    machine: dict[str, Any], monkeypatch: pytest.MonkeyPatch, uid: int, ok: bool | None
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    finding = checks._fusermount(Machine(**{**machine, "which": lambda name: None}))
    assert (finding.ok, finding.fix) == (ok, "apt install fuse3")


def test_fusermount_without_setuid(machine: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert checks._fusermount(Machine(**machine)).fix == "chmod u+s /bin/true"


def test_fusermount_wants_to_know_the_user(
    machine: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "fusermount3"
    program.touch()
    program.chmod(0o4755)
    known = Machine(**{**machine, "which": lambda name: str(program)})
    monkeypatch.setattr(os, "geteuid", lambda: 123_456_789)
    assert checks._fusermount(known).ok
    monkeypatch.setattr(os, "getuid", lambda: 123_456_789)
    finding = checks._fusermount(known)
    assert finding.ok is False
    assert "123456789" in finding.detail
    assert "useradd" in finding.fix


@pytest.mark.parametrize("text", ["", "#user_allow_other\n", "user_allow_others\n", None])
def test_allow_other(machine: dict[str, Any], text: str | None) -> None:
    if text is None:
        machine["fuse_conf"].unlink()
    else:
        machine["fuse_conf"].write_text(text)
    finding = found(machine)["user_allow_other"]
    assert finding.ok is None
    assert "add the line" in finding.fix


def test_mounts(machine: dict[str, Any], tmp_path: Path) -> None:
    machine["mountinfo"].write_text(
        f"95 1 0:50 / {tmp_path} rw - fuse.axxon-exportfs vms rw\n"
        f"96 1 0:51 / {tmp_path}/gone rw - fuse.axxon-exportfs vms rw\n"
    )
    findings = found(machine)
    assert findings[f"mount {tmp_path}"].ok is True
    assert findings[f"mount {tmp_path}/gone"].ok is False
    assert f"axxon-exportfs umount {tmp_path}/gone" in findings[f"mount {tmp_path}/gone"].fix
    machine["mountinfo"].unlink()
    assert found(machine)["mounts"].ok is None


@pytest.mark.parametrize(
    ("which", "mode", "fix"),
    [("config", 0o722, "chmod go-w"), ("state", 0o750, "chmod 700"), ("state", 0o701, "chmod 700")],
)
def test_directories(machine: dict[str, Any], which: str, mode: int, fix: str) -> None:
    machine[f"{which}_dir"].chmod(mode)
    title = {"config": "configuration directory", "state": "state directory"}[which]
    finding = found(machine)[title]
    assert finding.ok is False
    assert finding.fix.startswith(fix)


def test_directory_that_is_none(machine: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    machine["state_dir"].rmdir()
    assert found(machine)["state directory"].ok is True
    machine["state_dir"].write_text("")
    assert found(machine)["state directory"].ok is False
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    assert "chown 4321" in found(machine)["configuration directory"].fix


def test_configuration_and_its_password_files(machine: dict[str, Any]) -> None:
    config = machine["config_dir"] / "config.toml"
    config.write_text('[profile.hq]\npassword-file = "secret"\n')
    assert found(machine)["configuration"].detail.endswith("profiles: hq")
    assert found(machine)["password file"].ok is False
    secret = machine["config_dir"] / "secret"
    secret.write_text("x")
    secret.chmod(0o644)
    assert found(machine)["password file"].fix == f"chmod 600 {secret}"
    secret.chmod(0o600)
    assert found(machine)["password file"].ok is True
    config.write_text("[defaults]\nusr = 1\n")
    assert "nearest known one is `user`" in found(machine)["configuration"].detail


@pytest.fixture
def only(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets what is found on this machine."""

    def install(*findings: Finding) -> None:
        monkeypatch.setattr("exportfs.cli.commands.doctor.machine_findings", lambda machine: iter(findings))
        monkeypatch.setattr("exportfs.cli.commands.doctor.configuration_findings", lambda machine: iter(()))

    return install


def test_lines_and_exit_code(run: Any, only: Any) -> None:
    only(Finding(True, "a", "fine", "no matter"), Finding(None, "b", "odd\x1b", "look"))
    result = run("doctor")
    assert result.exit_code == 0
    lines = [line.split() for line in result.stdout.splitlines()]
    assert lines == [["ok", "a", "fine"], ["warn", "b", "odd\\x1b"], ["->", "look"]]
    only(Finding(False, "c", "bad", "mend"))
    assert run("doctor").exit_code == 1
    assert json.loads(run("doctor", "--json").stdout) == [
        {"ok": False, "title": "c", "detail": "bad", "fix": "mend"}
    ]


def test_server_checks_get_the_config(run: Any, only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    only()
    asked: list[ServerConfig] = []
    hook = types.ModuleType("exportfs.doctor.server")

    def diagnose_server(config: ServerConfig) -> list[Finding]:
        asked.append(config)
        return [Finding(False, "TLS", "wrong CA", "give --ca-file")]

    monkeypatch.setattr(hook, "diagnose_server", diagnose_server, raising=False)
    monkeypatch.setitem(sys.modules, "exportfs.rpc", types.ModuleType("exportfs.rpc"))
    monkeypatch.setitem(sys.modules, "exportfs.doctor.server", hook)
    monkeypatch.setenv("EXPORTFS_PASSWORD", "hunter2")
    result = run("doctor", "vms:5", "--user", "me")
    assert result.exit_code == 1
    assert "wrong CA" in result.stdout
    assert "hunter2" not in result.output
    assert asked == [ServerConfig("vms", 5, user="me", password="hunter2")]


def test_server_checks_that_are_not_there(run: Any, only: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    only()
    monkeypatch.setitem(sys.modules, "exportfs.doctor.server", None)
    result = run("doctor", "vms")
    assert result.exit_code == 0
    assert "no server checks" in result.stdout


def test_server_that_cannot_be_asked(run: Any, only: Any) -> None:
    only()
    result = run("doctor", "https://vms")
    assert result.exit_code == 1
    assert "invalid server" in result.stdout
    assert "no password for me" in run("doctor", "vms", "--user", "me").stdout


def test_this_machine(run: Any) -> None:
    assert run("doctor").exit_code in (0, 1)
