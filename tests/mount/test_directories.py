"""Users without a home: an answer in one line, from every command."""

import os
import pwd
from pathlib import Path

import pytest

from exportfs import directories
from exportfs.cli.configuration import ConfigurationError, load
from exportfs.directories import NoHomeDirectory
from exportfs.doctor.machine import Machine, machine_findings
from exportfs.simulator import SimulatorServer
from tests.support.harness import is_mounted
from tests.support.prepared import Prepared


@pytest.fixture
def nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A user id without passwd entry, without variables."""

    def unknown(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    for name in ("HOME", "XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_DATA_HOME"):
        monkeypatch.delenv(name, raising=False)


def test_by_precedence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    monkeypatch.setenv("HOME", "/somewhere")
    assert directories.state_directory() == Path("/somewhere/.local/state/axxon-exportfs")
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert directories.state_directory() == Path("/state/axxon-exportfs")
    monkeypatch.setenv("XDG_STATE_HOME", "relative")  # to be ignored
    monkeypatch.delenv("HOME")
    assert directories.state_home() == Path(pwd.getpwuid(os.getuid()).pw_dir) / ".local/state"


@pytest.mark.parametrize("home", [None, "", "relative"])
@pytest.mark.usefixtures("nobody")
def test_no_home(monkeypatch: pytest.MonkeyPatch, home: str | None) -> None:
    if home is not None:
        monkeypatch.setenv("HOME", home)
    with pytest.raises(NoHomeDirectory, match="set HOME, or XDG_STATE_HOME"):
        directories.state_directory()
    assert load().profiles == {}
    monkeypatch.setenv("XDG_STATE_HOME", "/state")
    assert directories.state_directory() == Path("/state/axxon-exportfs")


@pytest.mark.usefixtures("nobody")
def test_the_doctor_says_so() -> None:
    found = {finding.title: finding for finding in machine_findings(Machine())}
    assert found["state directory"].ok is False
    assert "has no home directory" in found["state directory"].detail
    assert found["configuration directory"].ok is None


@pytest.mark.usefixtures("nobody")
@pytest.mark.parametrize("place", ["~/secret", "~no-such-user/secret"])
def test_a_home_in_the_configuration(tmp_path: Path, place: str) -> None:
    (tmp_path / "config.toml").write_text(f'[defaults]\npassword-file = "{place}"\n')
    with pytest.raises(ConfigurationError, match="password-file"):
        load(tmp_path / "config.toml")


def test_a_state_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """What mount would fail with, the doctor finds first."""
    (tmp_path / "file").touch()
    found = {finding.title: finding for finding in machine_findings(Machine(state_dir=tmp_path / "file/a/b"))}
    assert found["state directory"].ok is False
    assert "XDG_STATE_HOME" in found["state directory"].fix


def test_a_state_directory_in_a_folder_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)  # root may write everywhere
    found = {finding.title: finding for finding in machine_findings(Machine(state_dir=Path("/usr/a/b")))}
    assert found["state directory"].ok is False
    assert "/usr is not writable" in found["state directory"].detail


UNKNOWN = """
import pwd
def getpwuid(uid): raise KeyError(uid)
pwd.getpwuid = getpwuid
"""
"""As sitecustomize: the user has no entry in the passwd database."""


@pytest.mark.mount
@pytest.mark.parametrize("home", [None, "file/home", ""])
def test_every_command(server: SimulatorServer, tmp_path: Path, home: str | None) -> None:
    """None may end with a traceback, nor put things into a folder called `~`."""
    place = tmp_path / "mnt"
    place.mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(UNKNOWN)
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(tmp_path / "site")}
    if home is not None:
        environment["HOME"] = str(tmp_path / home) if home else ""
    commands = (
        ["doctor"],
        ["doctor", server.address, "--insecure"],
        ["mount", server.address, str(place), "--insecure"],
        ["mount", server.address, str(place), "--insecure", "--foreground"],
        ["umount", str(place)],
        ["status", str(place)],
        ["export", str(place), "--camera", "x", "--format", "mp4", "--duration", "10s"],
        ["copy", str(place), str(tmp_path / "copy")],
        ["wait", str(place)],
        ["stop", str(place)],
        ["setup", "--dry-run"],
        ["mount-helper", server.address, str(place), "-o", "insecure"],
        ["--help"],
    )
    ours = Prepared(environment)
    # Where HOME is nonsense, what reads and writes there is enough.
    for words in commands if home is None else [commands[0], commands[2]]:
        result = ours.run(words, environment, folder=tmp_path, timeout=60)
        assert "Traceback" not in result.stderr, (words, result.stderr)
        said = [line for line in result.stderr.splitlines() if not line[:4].isdigit()]
        assert len(said) == (result.returncode != 0 and words[0] != "doctor"), (words, result)
        if words[0].startswith("mount"):
            assert result.returncode in (1, 32)
            assert "home directory" in said[0] or "journal" in said[0]
    ours.close()
    assert not is_mounted(place)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "mnt", "site"]
