"""A text that somebody keeps open: they see it as they opened it, everybody else as it is."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from exportfs.simulator import Config, LoginConfig, ManualClock, Simulator
from tests.mount.cli import real
from tests.support.harness import ARCHIVE_REQUEST, MountProcess, eventually

pytestmark = [pytest.mark.mount, pytest.mark.promise("T8")]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def simulator(clock: ManualClock) -> Iterator[Simulator]:
    """Whose exports take a minute of that clock."""
    simulator = Simulator(Config(login=LoginConfig(required=False), export_seconds=60), clock)
    yield simulator
    simulator.close()


@pytest.fixture
def record(mount: MountProcess) -> Path:
    """Of a session that runs."""
    mount.tree.write("new/a.json", json.dumps(ARCHIVE_REQUEST).encode())
    return real.session_of(mount) / ".session.json"


def seen_by_others(record: Path) -> tuple[int, float]:
    """Size and time."""
    words = subprocess.run(["stat", "-c", "%s %.9Y", record], check=True, capture_output=True, text=True)
    size, moment = words.stdout.split()
    return int(size), float(moment)


def read_by_others(record: Path) -> bytes:
    return subprocess.run(["cat", record], check=True, capture_output=True).stdout


def test_a_change_shows_while_somebody_has_it_open(record: Path, clock: ManualClock, tmp_path: Path) -> None:
    copy = tmp_path / "copy.json"
    rsync = ["rsync", "-a", str(record), str(copy)]
    with record.open("rb", buffering=0) as held:
        subprocess.run(rsync, check=True)
        before = seen_by_others(record)
        clock.advance(100)
        eventually(lambda: json.loads(read_by_others(record))["state"] == "completed")
        size, moment = seen_by_others(record)
        assert size == len(read_by_others(record)) != before[0]
        assert moment > before[1]
        subprocess.run(rsync, check=True)
        assert json.loads(copy.read_bytes())["state"] == "completed"
        # Who holds it has one whole text, and the size of that.
        text = held.readall()
        assert json.loads(text)["state"] == "running"
        assert os.fstat(held.fileno()).st_size == len(text)
    assert seen_by_others(record) == (size, moment)
    assert record.stat().st_size == size
