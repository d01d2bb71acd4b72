"""A mount made of plain files, and ways to run the command on it."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from exportfs.cli import program
from exportfs.client.wait import Clock

Run = Callable[..., Result]


@pytest.fixture(autouse=True)
def surroundings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody's own configuration, password, terminal or mount takes part: a bare `umount` ends what it finds."""
    monkeypatch.setattr("exportfs.client.mounts.mount_table", list)
    monkeypatch.setattr("exportfs.cli.params.mountpoint.mountpoints", list)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg-config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg-state"))
    monkeypatch.delenv("EXPORTFS_PASSWORD", raising=False)


@pytest.fixture
def run() -> Run:
    """Run the command in this process; never a traceback."""

    def call(*words: object, **options: Any) -> Result:
        result = CliRunner().invoke(program, [str(word) for word in words], **options)
        assert isinstance(result.exception, SystemExit | None), result.exception
        assert "Traceback" not in result.stderr
        return result

    return call


@dataclass
class FakeMount:
    """`new/`, `sessions/` and `.status.json`, as ordinary files."""

    root: Path
    status: dict[str, Any] = field(default_factory=lambda: {"server": {"address": "vms:20109"}})

    def __post_init__(self) -> None:
        (self.root / "new").mkdir(parents=True)
        (self.root / "sessions").mkdir()
        self.save_status()

    def save_status(self) -> None:
        (self.root / ".status.json").write_text(json.dumps(self.status))

    def session(
        self, name: str, state: str = "completed", files: dict[str, bytes] | None = None, **more: Any
    ) -> Path:
        """A session directory with results; `more` goes into its record."""
        directory = self.root / "sessions" / name
        directory.mkdir(exist_ok=True)
        (directory / ".control").touch()
        entries = []
        for result, content in (files or {}).items():
            (directory / result).write_bytes(content)
            os.utime(directory / result, ns=(10**18, 10**18))
            entries.append(
                {
                    "name": result,
                    "file_id": f"id/{result}",
                    "size": len(content),
                    "mime_type": "video/mp4",
                    "min_timestamp": "20260511T080411.000000",
                    "max_timestamp": "20260511T080421.000000",
                    "downloadable": True,
                }
            )
        record = {
            "id": f"hosts/Server/{name}",
            "name": name,
            "state": state,
            "progress": None,
            "files": entries,
        }
        self.record(directory, {**record, **more})
        return directory

    def record(self, directory: Path, record: dict[str, Any]) -> None:
        """Replace `.session.json`."""
        (directory / ".session.json").write_text(json.dumps(record))

    def change(self, directory: Path, **more: Any) -> None:
        """Alter parts of `.session.json`."""
        self.record(directory, {**json.loads((directory / ".session.json").read_text()), **more})


@pytest.fixture
def mount(tmp_path: Path) -> FakeMount:
    return FakeMount(tmp_path / "mount")


@dataclass
class FakeClock:
    """Time that passes only by sleeping; `script` runs in each sleep."""

    now: float = 0.0
    script: list[Callable[[], object]] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.slept.append(seconds)
        if self.script:
            self.script.pop(0)()

    def clock(self) -> Clock:
        return Clock(monotonic=lambda: self.now, sleep=self.sleep)


@pytest.fixture
def time() -> FakeClock:
    return FakeClock()


@pytest.fixture
def waited(time: FakeClock, monkeypatch: pytest.MonkeyPatch) -> FakeClock:
    """The commands wait on the fake clock."""
    monkeypatch.setattr("exportfs.cli.terminal.following.Clock", time.clock)
    return time
