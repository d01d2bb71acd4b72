"""What an export lacks of the footage asked for, on real mounts."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from exportfs.simulator import Config, LoginConfig, MediaConfig, Simulator, timestamps
from tests.conftest import MountFactory
from tests.mount.cli.real import CAMERA, command, record
from tests.support.harness import MountProcess, eventually

pytestmark = [pytest.mark.mount, pytest.mark.promise("S12")]

BEGIN = timestamps.parse("20260511T080000")
HALF_HOUR = ("--from", "2026-05-11T08:00:00Z", "--duration", "30m", "--format", "mp4")


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """Half an hour in few pictures."""
    config = Config(
        login=LoginConfig(required=False),
        export_seconds=0.2,
        media=MediaConfig(max_frames=60, width=64, height=48),
    )
    simulator = Simulator(config)
    yield simulator
    simulator.close()


@pytest.fixture
def mount(start_mount: MountFactory) -> MountProcess:
    """A real one; this directory's own is made of plain files."""
    return start_mount()


def waited(
    mount: MountProcess, *words: object, code: int, camera: str = CAMERA
) -> "subprocess.CompletedProcess[str]":
    """`export --wait` of half an hour, if nothing else is said."""
    words = words or HALF_HOUR
    return command("export", mount.mountpoint, "--camera", camera, *words, "--wait", "--name", "x", code=code)


def session(mount: MountProcess) -> Path:
    return (mount.mountpoint / "new" / "x").resolve()


def test_seven_of_thirty_minutes(mount: MountProcess, simulator: Simulator, tmp_path: Path) -> None:
    simulator.record(CAMERA, (BEGIN - 3600, BEGIN + 420))
    done = waited(mount, code=3)
    assert Path(done.stdout.strip()).stat().st_size > 0
    assert "the results hold 7 min of the 30 min asked for (23 %)" in done.stderr
    assert "missing: 2026-05-11T08:07:00Z to 2026-05-11T08:30:00Z" in done.stderr
    got = record(session(mount))
    assert got["state"] == "completed"
    assert got["coverage"]["asked"] == {"begin": "2026-05-11T08:00:00Z", "end": "2026-05-11T08:30:00Z"}
    assert got["coverage"]["results"]["begin"] == "2026-05-11T08:00:00Z"
    assert got["coverage"]["share"] == 0.2333
    assert got["coverage"]["warnings"]
    assert got["coverage"]["warnings"][0] in got["warnings"]
    assert command("wait", session(mount), code=3).stderr
    assert "of the 30 min" in command("status", mount.mountpoint, code=3).stdout
    out = tmp_path / "case"
    command("copy", session(mount), out, code=3)
    manifest = json.loads((out / session(mount).name / "manifest.json").read_bytes())
    assert manifest["session"]["coverage"] == got["coverage"]


def test_nothing_was_recorded(mount: MountProcess, simulator: Simulator, tmp_path: Path) -> None:
    simulator.record(CAMERA)
    done = waited(mount, code=1)
    assert done.stdout == ""
    assert "there is no result at all: the archive may hold no footage" in done.stderr
    assert record(session(mount))["coverage"]["share"] == 0.0
    command("wait", session(mount), code=1)
    command("copy", session(mount), tmp_path / "out", code=1)
    command("status", mount.mountpoint, code=1)


def test_no_picture_and_one_of_another_time(mount: MountProcess, simulator: Simulator) -> None:
    words = ("--from", "2026-05-11T08:00:00Z", "--format", "jpg")
    simulator.record(CAMERA, (BEGIN - 7000, BEGIN - 610))
    done = waited(mount, *words, code=3)
    assert "10 min 10 s before the moment asked for" in done.stderr
    (mount.mountpoint / "new" / "x.json").unlink()
    simulator.record(CAMERA)
    assert "no footage of this moment" in waited(mount, *words, code=1).stderr


def test_all_of_it_says_nothing(mount: MountProcess, simulator: Simulator) -> None:
    done = waited(mount, code=0)
    assert done.stderr.count("\n") == 1
    assert "in UTC 2026-05-11T08:00:00Z to 2026-05-11T08:30:00Z" in done.stderr
    assert record(session(mount))["coverage"]["share"] == 1.0
    assert record(session(mount))["warnings"] == []
    command("status", mount.mountpoint)


def test_one_of_two_cameras_is_short(mount: MountProcess, simulator: Simulator) -> None:
    other = CAMERA.replace("DeviceIpint.1", "DeviceIpint.2")
    simulator.record(other, (BEGIN, BEGIN + 60))
    done = waited(mount, *HALF_HOUR, "--camera", other, "--discrete", code=3)
    assert "DeviceIpint.2: the results hold" in done.stderr
    assert record(session(mount))["coverage"]["share"] == pytest.approx(1 / 30, abs=0.005)


def test_split_files_with_a_gap(mount: MountProcess, simulator: Simulator) -> None:
    """Nothing was recorded for ten minutes; of one file alone no time tells that."""
    simulator.record(CAMERA, (BEGIN, BEGIN + 600), (BEGIN + 1200, BEGIN + 1800))
    done = waited(mount, *HALF_HOUR, "--split", "1K", code=3)
    assert len(done.stdout.splitlines()) > 2
    coverage = record(session(mount))["coverage"]
    assert coverage["share"] == pytest.approx(2 / 3, abs=0.03)
    (gap,) = coverage["gaps"]
    assert gap["end"] == "2026-05-11T08:20:00Z"


@pytest.mark.parametrize(
    ("first", "last", "words"),
    [
        ("", "", "have no times"),
        ("20260511T100000", "20260511T103000", "local times, +02:00"),
        ("20260511T083000", "20260511T080000", "ends before it begins"),
        ("noon", "20260511T083000", "no time of its beginning"),
    ],
)
def test_times_that_tell_nothing(
    mount: MountProcess, simulator: Simulator, first: str, last: str, words: str
) -> None:
    waited(mount, code=0)
    got = record(session(mount))
    simulator.set_times(got["id"], got["files"][0]["file_id"], first, last)
    eventually(lambda: record(session(mount))["coverage"]["share"] is None)
    again = record(session(mount))
    assert again["coverage"]["warnings"] == []
    assert words in again["coverage"]["note"]
    assert words in command("wait", session(mount)).stderr
    assert os.listdir(session(mount))


def test_a_live_export_has_no_coverage(mount: MountProcess) -> None:
    words = ("--duration", "1s", "--format", "mp4")
    waited(mount, *words, code=0)
    assert record(session(mount))["coverage"] is None
