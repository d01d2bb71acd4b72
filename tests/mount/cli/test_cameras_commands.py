"""cameras, footage, export by name and fetch, on a real mount of a simulated site."""

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exportfs.simulator import Config, LoginConfig, Simulator
from exportfs.simulator.site import believable_site
from tests.conftest import MountFactory
from tests.mount.cli.real import command
from tests.support.harness import DEADLINE, OURS, MountProcess, eventually

pytestmark = pytest.mark.mount


def a_site(export_seconds: float) -> Iterator[Simulator]:
    config = Config.of_site(
        believable_site(), login=LoginConfig(required=False), export_seconds=export_seconds
    )
    simulator = Simulator(config)
    yield simulator
    simulator.close()


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    yield from a_site(export_seconds=0.2)


@pytest.fixture
def mount(start_mount: MountFactory) -> MountProcess:
    return start_mount()


def utc(moment: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def gap_of(simulator: Simulator) -> tuple[float, float]:
    camera = next(one for one in simulator.config.told_site.cameras if one.name == "Gate south")
    return camera.archives[1].footage.gaps[0]


def test_cameras_and_footage(mount: MountProcess, simulator: Simulator) -> None:
    document = json.loads(command("cameras", mount.mountpoint, "--json").stdout)
    assert len(document) == 14
    states = command("cameras", mount.mountpoint, "*gate*", "Roof").stdout.splitlines()
    assert len(states) == 5
    begin, _ = gap_of(simulator)
    interval = ("--from", utc(begin - 1800), "--to", utc(begin + 600))
    exact = json.loads(
        command("footage", mount.mountpoint, "Gate south", *interval, "--exact", "--json").stdout
    )
    assert exact["exact"]
    assert [one["seconds"] for one in exact["intervals"]] == [1800]
    done = command("footage", mount.mountpoint, "Gate north", code=1)
    assert "ambiguous" in done.stderr
    assert command("cameras", mount.mountpoint, "nothing*", code=1).stdout == ""


def test_export_by_name_looks_at_the_footage_first(mount: MountProcess, simulator: Simulator) -> None:
    begin, end = gap_of(simulator)
    words = ("export", mount.mountpoint, "--camera", "gate south", "--format", "mp4")
    done = command(*words, "--from", utc(begin + 60), "--duration", "30s", code=1)
    assert "has no footage of this interval" in done.stderr
    assert "the nearest before ends" in done.stderr
    assert "the nearest after begins" in done.stderr
    picture = ("export", mount.mountpoint, "--camera", "gate south", "--format", "jpg")
    done = command(*picture, "--from", utc(begin + 60), code=1)
    assert "has no footage of this moment" in done.stderr
    assert "the nearest before ends" in done.stderr
    assert simulator.log.count("StartSession") == 0
    command(*picture, "--from", utc(begin - 60), code=0)
    simulator.log.clear()
    done = command(*words, "--from", utc(end - 20), "--duration", "50s", "--wait", code=3)
    assert "the archive has no footage of" in done.stderr
    command(*words, "--from", utc(begin + 60), "--duration", "30s", "--force", code=0)
    assert simulator.log.count("StartSession") == 2
    (session,) = {Path(line).parent for line in done.stdout.splitlines()}
    assert json.loads((session / ".session.json").read_bytes())["cameras"] == ["2.Gate south"]


def test_fetch_is_one_export_however_often(mount: MountProcess, simulator: Simulator, tmp_path: Path) -> None:
    end = time.time() // 60 * 60 - 900
    words = ("fetch", "2.Gate south", tmp_path / "case", "--mount", mount.mountpoint)
    interval = ("--from", utc(end - 20), "--to", utc(end))
    done = command(*words, *interval)
    folder = Path(done.stdout.strip())
    assert folder.parent == tmp_path / "case"
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=folder, check=True, timeout=DEADLINE)
    assert command(*words, *interval).stdout == done.stdout
    assert simulator.log.count("StartSession") == 1
    # The memory is in DEST: another one gets the session that is there.
    other = command("fetch", "2.Gate south", tmp_path / "other", "--mount", mount.mountpoint, *interval)
    assert Path(other.stdout.strip()).is_dir()
    assert simulator.log.count("StartSession") == 1


def test_fetch_as_a_bag_and_signed(mount: MountProcess, simulator: Simulator, tmp_path: Path) -> None:
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True, timeout=DEADLINE)
    begin, _ = gap_of(simulator)
    interval = ("--from", utc(begin - 40), "--to", utc(begin + 20))
    plain = ("fetch", "2.Gate south", tmp_path / "plain", "--mount", mount.mountpoint, *interval)
    bag = ("fetch", "2.Gate south", tmp_path / "bag", "--mount", mount.mountpoint, *interval, "--bagit")
    folder = Path(command(*plain, code=3).stdout.strip())
    assert not (folder / "SHA256SUMS.sig").exists()
    again = command(*plain, code=3)  # footage is missing however often one asks
    assert "fetched already" in again.stderr
    command(*plain, "--sign", key, code=3)
    assert (folder / "SHA256SUMS.sig").is_file()
    bagged = Path(command(*bag, "--sign", key, code=3).stdout.strip())
    assert (bagged / "bagit.txt").is_file()
    assert (bagged / "data" / "SHA256SUMS.sig").is_file()
    command("destroy", "--yes", next((mount.mountpoint / "sessions").iterdir()))
    assert "fetched already" in command(*bag, "--sign", key, code=3).stderr  # and no second export is begun
    (folder / "SHA256SUMS.sig").unlink()
    assert "but not signed" in command(*plain, "--sign", key, code=1).stderr
    assert "but not as a bag" in command(*plain, "--bagit", code=1).stderr
    assert simulator.log.count("StartSession") == 1


class TestLongExport:
    @pytest.fixture
    def simulator(self) -> Iterator[Simulator]:
        yield from a_site(export_seconds=3600)

    def test_fetch_goes_on_after_an_interrupt(
        self, mount: MountProcess, simulator: Simulator, tmp_path: Path
    ) -> None:
        end = time.time() // 60 * 60 - 900
        words = ["fetch", "2.Gate south", str(tmp_path / "case"), "--mount", str(mount.mountpoint)]
        words += ["--from", utc(end - 20), "--to", utc(end)]
        process = subprocess.Popen([*OURS, *words], stderr=subprocess.PIPE, text=True)
        try:
            eventually(lambda: simulator.log.count("StartSession"))
            eventually(lambda: list((mount.mountpoint / "new").iterdir()))
            process.send_signal(signal.SIGINT)
            _, said = process.communicate(timeout=DEADLINE)
        finally:
            process.kill()
            process.communicate()
        assert process.returncode == 130
        assert "repeat the command to resume" in said
        command("stop", next((mount.mountpoint / "sessions").iterdir()))
        command(*words, code=None)
        assert simulator.log.count("StartSession") == 1
