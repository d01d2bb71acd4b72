"""Who files belong to, and what other users can do with a mount that is theirs too."""

import json
import os
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exportfs.simulator import Simulator
from tests.conftest import MountFactory
from tests.support.harness import ARCHIVE_REQUEST, DEADLINE, OURS, MountProcess, eventually, is_mounted

pytestmark = [
    pytest.mark.mount,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can be several users"),
]
ANA, BEN, TEAM = 4001, 4002, 4100


def as_user(
    user: int, *words: object, code: int = 0, may: tuple[str, ...] = (), **options: Any
) -> "subprocess.CompletedProcess[str]":
    """Runs a command as a user of the team, who has these capabilities besides."""
    setpriv = ["setpriv", f"--reuid={user}", f"--regid={TEAM}", "--clear-groups"]
    for capability in may:
        setpriv += [f"--inh-caps=+{capability}", f"--ambient-caps=+{capability}"]
    done = subprocess.run(
        [*setpriv, "--", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
        **options,
    )
    assert done.returncode == code, (words, done.stdout, done.stderr)
    return done


@pytest.fixture
def everybodys() -> Iterator[Path]:
    """Not below tmp_path, which nobody but its owner may enter."""
    with tempfile.TemporaryDirectory(prefix="exportfs-ownership-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture
def desk(everybodys: Path) -> Path:
    """A folder in which every user may write."""
    folder = everybodys / "desk"
    folder.mkdir()
    folder.chmod(0o1777)
    return folder


@pytest.fixture
def shared(everybodys: Path, start_mount: MountFactory) -> MountProcess:
    """A mount of a team's gateway."""
    words = ("--allow-other", "--gid", str(TEAM), "--umask", "027", "--new-mode", "1777", "--uid", str(BEN))
    return start_mount(*words, folder=everybodys)


def request(number: int) -> str:
    changed = json.loads(json.dumps(ARCHIVE_REQUEST))
    changed["archive"]["endTimestamp"] = f"20260511T0805{number:02d}"
    return json.dumps(changed)


@pytest.mark.promise("T16")
def test_the_options_show(shared: MountProcess, simulator: Simulator) -> None:
    simulator.add_computed(1000)
    (result,) = eventually(lambda: list(shared.mountpoint.glob("sessions/*/[!.]*")))
    for path, mode in (
        (result, stat.S_IFREG | 0o440),
        (result.parent, stat.S_IFDIR | 0o750),
        (shared.mountpoint / "new", stat.S_IFDIR | 0o1777),
    ):
        status = path.stat()
        assert (oct(status.st_mode), status.st_uid, status.st_gid) == (oct(mode), BEN, TEAM)
    assert as_user(ANA, "sh", "-c", 'cat "$0" | wc -c', result).stdout.strip() == "1000"
    nobody = ["setpriv", "--reuid=4003", "--regid=4103", "--clear-groups", "cat", result]
    assert subprocess.run(nobody, check=False, capture_output=True, timeout=DEADLINE).returncode == 1


@pytest.mark.promise("T16", "W1")
def test_another_user_cannot_unmount_it(shared: MountProcess) -> None:
    # The program may be in a folder of root, which to others is closed.
    told = as_user(ANA, *OURS, "umount", shared.mountpoint, code=1, may=("dac_read_search",))
    assert "user root mounted it; that user or root can" in told.stderr
    assert is_mounted(shared.mountpoint)


def test_another_user_writes_requests(shared: MountProcess, simulator: Simulator, desk: Path) -> None:
    """Each way starts one session, and what a program sets afterwards does not fail it."""
    new = shared.mountpoint / "new"
    for number in range(1, 8):
        as_user(ANA, "sh", "-c", 'cat > "$0"', desk / f"{number}.json", input=request(number))
    as_user(ANA, "cp", "-p", desk / "1.json", new)
    as_user(ANA, "rsync", "-a", desk / "2.json", f"{new}/")
    as_user(ANA, "sh", "-c", 'cat "$0" > "$1"', desk / "3.json", new / "3.json")
    as_user(ANA, "mv", desk / "4.json", new)
    as_user(ANA, "install", "-m", "600", desk / "5.json", new)
    assert simulator.log.count("StartSession") == 5
    as_user(ANA, "cp", desk / "6.json", new / "3.json")
    as_user(ANA, "sed", "-i", "s/T080503/T080513/; s/T080506/T080516/", new / "3.json")
    as_user(ANA, "touch", new / "1.json", new / "empty.json")
    as_user(ANA, "chmod", "640", new / "1.json")
    assert simulator.log.count("StartSession") == 7
    for path in new.glob("*.json"):
        assert (path.stat().st_uid, path.stat().st_gid) == (ANA, TEAM)
    assert stat.S_IMODE((new / "5.json").stat().st_mode) == 0o600
    assert not list(new.glob("*.error"))
    # Others can neither change nor remove nor, where the mode says so, read it.
    as_user(BEN + 1, "sh", "-c", 'echo {} > "$0"', new / "1.json", code=2)
    as_user(BEN + 1, "rm", "-f", new / "1.json", code=1)
    as_user(BEN + 1, "cat", new / "5.json", code=1)
    as_user(ANA, "rm", new / "1.json")
    assert simulator.log.count("StartSession") == 7


@pytest.mark.promise("T16")
def test_by_default_others_start_nothing(
    everybodys: Path, start_mount: MountFactory, simulator: Simulator
) -> None:
    mount = start_mount("--allow-other", "--umask", "022", folder=everybodys)
    as_user(ANA, "ls", mount.mountpoint)
    as_user(ANA, "sh", "-c", 'cat > "$0"', mount.mountpoint / "new/x.json", input=request(1), code=2)
    assert simulator.log.count("StartSession") == 0


@pytest.mark.promise("T16")
def test_a_mount_that_others_cannot_look_into_says_so(server: Any, tmp_path: Path) -> None:
    place = tmp_path / "mnt"
    place.mkdir()
    words = [*OURS, "mount", server.address, place, "--insecure", "--allow-other", "--umask", "077"]
    done = subprocess.run(words, capture_output=True, text=True, check=True, timeout=DEADLINE)
    try:
        assert "lets nobody in with the umask 077: add --umask 022" in done.stderr
        assert done.stderr.count("\n") == 1
    finally:
        subprocess.run([*OURS, "umount", place], check=True, timeout=DEADLINE)


@pytest.mark.promise("T16")
def test_an_error_belongs_to_who_is_to_read_it(everybodys: Path, start_mount: MountFactory) -> None:
    """And may remove it; a set-group-ID new/ gives its group."""
    words = ("--allow-other", "--umask", "022", "--gid", str(TEAM), "--new-mode", "3777")
    new = start_mount(*words, folder=everybodys).mountpoint / "new"
    alone = ["setpriv", f"--reuid={ANA}", "--regid=4103", f"--groups={TEAM}", "--"]
    subprocess.run([*alone, "tee", new / "bad.json"], input=b"wrong", check=False, timeout=DEADLINE)
    error = eventually(lambda: list(new.glob("*.error")))[0]
    assert (error.stat().st_uid, (new / "bad.json").stat().st_gid) == (ANA, TEAM)
    with error.open("rb") as opened:
        assert os.fstat(opened.fileno()).st_uid == ANA
    as_user(BEN, "rm", "-f", error, code=1)
    as_user(ANA, "rm", error)
