"""`export` on a real mount of a simulated server."""

import json
import signal
import subprocess
from pathlib import Path

import pytest

from exportfs.simulator import (
    Config,
    Delay,
    Fail,
    FailExport,
    Hang,
    LoginConfig,
    Simulator,
    SimulatorServer,
)
from tests.conftest import MountFactory
from tests.mount.cli.real import CAMERA, START, command, export, record
from tests.support.harness import DEADLINE, OURS, MountProcess, eventually

pytestmark = pytest.mark.mount


@pytest.fixture
def mount(start_mount: MountFactory) -> MountProcess:
    """A real one; this directory's own is made of plain files."""
    return start_mount()


MAGIC = {
    "mp4": b"ftyp",
    "mkv": b"\x1aE\xdf\xa3",
    "avi": b"AVI ",
    "exe": b"MZ",
    "jpg": b"JFIF",
    "pdf": b"%PDF-",
    "video": b"\x1aE\xdf\xa3",
    "image": b"JFIF",
}


@pytest.mark.slow
def test_every_format(mount: MountProcess) -> None:
    for kind, magic in MAGIC.items():
        interval = ["--from", START] + ([] if kind in ("jpg", "pdf", "image") else ["--duration", "10s"])
        words = ("--format", kind, "--wait", "--name", kind)
        done = command("export", mount.mountpoint, "--camera", CAMERA, *interval, *words)
        (result,) = map(Path, done.stdout.splitlines())
        assert result.parent == (mount.mountpoint / "new" / kind).resolve()
        assert f"_{kind}_" in result.parent.name
        assert magic in result.read_bytes()[:32]
        assert done.stderr.count("\n") == 1  # no progress where there is no terminal
        assert "in UTC 2026-05-11T08:04:11Z" in done.stderr


def test_dry_run_prints_a_request_that_can_be_dropped(mount: MountProcess, simulator: Simulator) -> None:
    words = ("--from", START, "--duration", "10s", "--format", "mkv", "--comment", "case 4711", "--no-mask")
    done = command("export", mount.mountpoint, "--camera", CAMERA, *words, "--dry-run")
    assert simulator.log.count("StartSession") == 0
    request = json.loads(done.stdout)
    assert request["stream"] == {"format": "MKV"}
    (mount.mountpoint / "new" / "mine.json").write_text(done.stdout)
    assert simulator.log.count("StartSession") == 1
    assert record(mount.mountpoint / "new" / "mine")["options"]["settings"] == [
        {"comment": "case 4711"},
        {"applyMask": False},
    ]


@pytest.mark.slow
def test_options_reach_the_server(mount: MountProcess, simulator: Simulator) -> None:
    session = export(mount, "--quality", "fine", "--split", "32K", "--agent", "hosts/Server/MMExportAgent.0")
    (call,) = simulator.log.calls("StartSession")
    options = call.request.session_options
    assert options.max_file_size == 32 * 1024
    assert options.export_agent_access_point == "hosts/Server/MMExportAgent.0"
    eventually(lambda: record(session)["state"] == "completed")
    assert len(record(session)["files"]) > 1


def test_json(mount: MountProcess) -> None:
    words = ("export", mount.mountpoint, "--camera", CAMERA, "--from", START, "--format", "jpg", "--json")
    started = json.loads(command(*words).stdout)
    assert Path(started["session"], ".session.json").exists()
    assert Path(started["request"]).is_file()
    ended = json.loads(command(*words, "--wait").stdout)
    assert ended["state"] == "completed"
    assert ended["error"] is None
    assert ended["results"]
    assert all(Path(path).is_file() for path in ended["results"])


def test_live_until_its_duration(mount: MountProcess) -> None:
    done = command(
        "export", mount.mountpoint, "--camera", CAMERA, "--duration", "1s", "--format", "mp4", "--wait"
    )
    assert "/live_" in done.stdout
    assert Path(done.stdout.strip()).stat().st_size > 0


def test_refusal_is_one_line_and_leaves_nothing(mount: MountProcess, simulator: Simulator) -> None:
    simulator.faults.add("StartSession", Fail("PERMISSION_DENIED", "not you"))
    done = command("export", mount.mountpoint, "--camera", CAMERA, "--from", START, "--format", "jpg", code=1)
    assert done.stdout == ""
    assert done.stderr.splitlines()[1].startswith("axxon-exportfs: no export was started: ")
    assert done.stderr.count("\n") == 2
    assert list((mount.mountpoint / "new").iterdir()) == []


def test_failed_export_is_1(mount: MountProcess, simulator: Simulator) -> None:
    simulator.faults.add("StartSession", FailExport(with_files=False))
    done = command(
        "export", mount.mountpoint, "--camera", CAMERA, "--from", START, "--format", "jpg", "--wait", code=1
    )
    assert "the export failed" in done.stderr


def test_taken_name(mount: MountProcess) -> None:
    export(mount, "--name", "one")
    done = command(
        "export",
        mount.mountpoint,
        "--camera",
        CAMERA,
        "--from",
        START,
        "--format",
        "pdf",
        "--name",
        "one",
        code=1,
    )
    assert "--name" in done.stderr


def test_wrong_words_are_2(mount: MountProcess, simulator: Simulator) -> None:
    assert (
        "--from"
        in command(
            "export", mount.mountpoint, "--camera", CAMERA, "--to", START, "--format", "jpg", code=2
        ).stderr
    )
    command("export", mount.mountpoint, "--camera", CAMERA, "--from", "yesterday", "--format", "jpg", code=2)
    assert simulator.log.count("StartSession") == 0


def test_read_only_mount(start_mount: MountFactory) -> None:
    mount = start_mount("--read-only")
    done = command("export", mount.mountpoint, "--camera", CAMERA, "--from", START, "--format", "jpg", code=1)
    assert "read-only" in done.stderr


def test_no_mount(tmp_path: Path) -> None:
    done = command("export", tmp_path, "--camera", CAMERA, "--from", START, "--format", "jpg", code=1)
    assert "axxon-exportfs mount" in done.stderr


def test_slow_start_is_waited_for(mount: MountProcess, simulator: Simulator) -> None:
    simulator.faults.add("StartSession", Delay(0.5))
    assert export(mount).is_dir()
    assert simulator.log.count("StartSession") == 1


def test_ctrl_c_ends_the_waiting_alone(start_mount: MountFactory, tmp_path: Path) -> None:
    config = Config(login=LoginConfig(required=False), export_seconds=3600.0)
    simulator = Simulator(config)
    with SimulatorServer(simulator) as server:
        mount = start_mount(address=server.address)
        words = ["--camera", CAMERA, "--from", START, "--duration", "10s", "--format", "mp4", "--wait"]
        process = subprocess.Popen(
            [*OURS, "export", str(mount.mountpoint), *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        session = mount.mountpoint / "sessions"
        (name,) = eventually(lambda: [path.name for path in session.iterdir()])
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=DEADLINE)
        assert process.returncode == 130
        assert out == ""
        assert f"axxon-exportfs wait {session / name}" in err
        assert record(session / name)["state"] == "running"
        assert mount.stop() == 0
    simulator.close()


@pytest.mark.parametrize("waiting", [True, False])
def test_ctrl_c_during_the_start_tells_what_was_started(
    mount: MountProcess, simulator: Simulator, waiting: bool
) -> None:
    simulator.faults.add("StartSession", Hang())
    words = ["--camera", CAMERA, "--from", START, "--duration", "10s", "--format", "mp4"]
    process = subprocess.Popen(
        [*OURS, "export", str(mount.mountpoint), *words, *(["--wait"] if waiting else [])],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    eventually(lambda: simulator.log.count("StartSession") == 1)
    process.send_signal(signal.SIGINT)
    simulator.faults.release()
    out, err = process.communicate(timeout=DEADLINE)
    (session,) = (mount.mountpoint / "sessions").iterdir()
    assert process.returncode == 130
    assert out == ""
    assert f"axxon-exportfs wait {session}" in err
    assert simulator.log.count("StartSession") == 1
