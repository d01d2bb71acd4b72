"""What people copy, pack and look with, on a real mount: exit code 0, right bytes, nothing changed."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from exportfs.simulator import Simulator
from tests.conftest import MountFactory
from tests.support.harness import MountProcess, eventually
from tests.tree.looking import calls_but_listings, directory

pytestmark = pytest.mark.mount
RECORDS = {".session.json", ".request.json"}
SESSIONS = 5


@dataclass
class Filled:
    """A mount with sessions of every kind, and what its results hold."""

    mount: MountProcess
    results: dict[str, bytes]
    """By path below the mount."""
    remote: dict[str, str]

    @property
    def root(self) -> Path:
        return self.mount.mountpoint

    def check(self, copied: Path, below: str = "") -> None:
        """A copy of what is below a path holds the right results, links and records, and nothing else."""
        sessions = {f"sessions/{name}" for name in os.listdir(self.root / "sessions")}
        assert len(sessions) == SESSIONS
        records = {f"{session}/{name}" for session in sessions for name in RECORDS}
        own = {"README.txt", "index.html", ".status.json"}
        wanted = {path for path in {*self.results, *self.remote, *records, *own} if path.startswith(below)}
        found = set()
        for folder, _, names in os.walk(copied):
            for name in names:
                path = os.path.normpath(
                    os.path.join(below, os.path.relpath(os.path.join(folder, name), copied))
                )
                if path.startswith("cameras/"):
                    continue  # which has tests of its own
                if path in self.remote:
                    assert os.readlink(os.path.join(folder, name)) == self.remote[path]
                elif path in records or path == ".status.json":
                    assert json.loads(Path(folder, name).read_bytes())
                elif path == "index.html":
                    assert b"<title>Exports" in Path(folder, name).read_bytes()
                elif path == "README.txt":
                    assert Path(folder, name).read_bytes() == (self.root / path).read_bytes()
                else:
                    assert Path(folder, name).read_bytes() == self.results[path], path
                found.add(path)
        assert found == wanted


@pytest.fixture
def filled(start_mount: MountFactory, simulator: Simulator) -> Filled:
    kept = simulator.options()
    kept.store_result_by_export_agent = True
    ids = [
        simulator.add_computed(1_500_000, 0, 70_001, names=["x/a.mp4", "empty.mp4", "y/a.mp4"]),
        simulator.add_computed(4096, names=["x/with space.mp4"]),
        simulator.add_computed(),
        simulator.add_computed(10, succeeded=False),
    ]
    far = simulator.add_computed(10, names=["C:\\a.mp4"], options=kept)
    # Zeros, which tools that look for holes would drop.
    mount = start_mount()
    found: dict[str, bytes] = {}
    for session_id in ids:
        path = directory(mount.tree, session_id)
        names = [name for name in os.listdir(mount.mountpoint / path) if not name.startswith(".")]
        for name, file in zip(names, simulator.files(session_id), strict=True):
            found[f"{path}/{name}"] = simulator.content(session_id, file.path)
    return Filled(mount, found, {f"{directory(mount.tree, far)}/a.mp4": "remote:C%3A%5Ca.mp4"})


def run(*command: str | Path, cwd: Path | None = None) -> str:
    """Its output; everything but exit code 0 and silence on stderr fails."""
    result = subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, check=False, timeout=60, stdin=subprocess.DEVNULL
    )
    assert (result.returncode, result.stderr) == (0, ""), f"{command}: {result.stderr}"
    return result.stdout


@pytest.mark.promise("T6", "R6")
@pytest.mark.parametrize(
    "command",
    [
        ["cp", "-r"],
        ["cp", "-a"],
        ["cp", "-r", "--sparse=auto"],
        ["cp", "-r", "--sparse=always"],
        ["rsync", "-a"],
        ["rsync", "-aS"],
        ["rsync", "-a", "--checksum"],
    ],
    ids=" ".join,
)
def test_copies(filled: Filled, simulator: Simulator, tmp_path: Path, command: list[str]) -> None:
    (session,) = {os.path.dirname(path) for path in filled.results if path.endswith("empty.mp4")}
    for number, below in enumerate(("", "sessions", session)):
        source, target = filled.root / below, tmp_path / f"copy{number}"
        run(*command, f"{source}/" if command[0] == "rsync" else source, target)
        filled.check(target, below)
        for path in target.rglob("*.mp4") if command[1] == "-a" else ():
            original = source / path.relative_to(target)
            assert path.lstat().st_mtime_ns // 1000 == original.lstat().st_mtime_ns // 1000
    assert not calls_but_listings(simulator).keys() & {"StartSession", "StopSession", "DestroySession"}


IN_THE_KERNEL = {
    "sendfile": "while os.sendfile(target, source, None, 1 << 20): pass",
    "splice": (
        "out, into = os.pipe()\n"
        "while count := os.splice(source, into, 65536):\n"
        "    while count: count -= os.splice(out, target, count)"
    ),
    "a clone, or else a copy": "subprocess.run(['cp', '--reflink=auto', *sys.argv[1:]], check=True)",
    "set to O_DIRECT late": (
        "os.read(source, 4096); os.lseek(source, 0, 0)\n"
        "fcntl.fcntl(source, fcntl.F_SETFL, os.O_DIRECT)\n"
        "room = mmap.mmap(-1, 1 << 17)\n"
        "while count := os.readv(source, [room]): os.write(target, room[:count])"
    ),
}


@pytest.mark.promise("R6")
@pytest.mark.parametrize("code", IN_THE_KERNEL.values(), ids=IN_THE_KERNEL)
def test_copies_past_the_program(filled: Filled, tmp_path: Path, code: str) -> None:
    before = (
        "import fcntl, mmap, os, subprocess, sys\nsource = os.open(sys.argv[1], os.O_RDONLY)\n"
        "target = os.open(sys.argv[2], os.O_WRONLY | os.O_CREAT)\n"
    )
    for number, (path, data) in enumerate(filled.results.items()):
        run(sys.executable, "-c", before + code, filled.root / path, tmp_path / f"{number}")
        assert (tmp_path / f"{number}").read_bytes() == data, path


@pytest.mark.promise("T6", "S4")
def test_a_second_rsync_copies_nothing(filled: Filled, tmp_path: Path) -> None:
    sessions = f"{filled.root}/sessions/"
    assert "a.mp4" in run("rsync", "-a", "--itemize-changes", sessions, tmp_path / "copy")
    again = run("rsync", "-a", "--itemize-changes", sessions, tmp_path / "copy")
    # Directories' times are those of the server's last listing.
    assert [line for line in again.splitlines() if not line.startswith(".d")] == []
    shutil.rmtree(tmp_path / "copy")
    (session,) = {str(Path(path).parent) for path in filled.results if path.endswith("empty.mp4")}
    run("rsync", "-a", f"{filled.root}/{session}", tmp_path / "copy")
    assert run("rsync", "-a", "--itemize-changes", f"{filled.root}/{session}", tmp_path / "copy") == ""


@pytest.mark.promise("T6")
@pytest.mark.parametrize(
    "options", [["-cf"], ["-S", "-cf"], ["--sparse", "--hole-detection=seek", "-cf"]], ids=" ".join
)
def test_tar(filled: Filled, tmp_path: Path, options: list[str]) -> None:
    archive = tmp_path / "all.tar"
    run("tar", *options, archive, "-C", filled.root, ".")
    with tarfile.open(archive) as tar:
        # Not the argument `filter`, which Debian 12's Python 3.11.2 does not have.
        tar.extraction_filter = lambda member, path: member
        tar.extractall(tmp_path / "copy")
    filled.check(tmp_path / "copy")


@pytest.mark.promise("T6")
def test_zip(filled: Filled, tmp_path: Path) -> None:
    run("zip", "-r", "-q", "-y", tmp_path / "all.zip", "sessions", cwd=filled.root)
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        for path, data in filled.results.items():
            assert archive.read(path) == data


@pytest.mark.promise("T6", "T3", "R2")
def test_looking(filled: Filled, tmp_path: Path) -> None:
    root = filled.root
    found = run("find", root, "-type", "f", "-size", "+0", "-printf", "%P\n").splitlines()
    assert set(found) >= {path for path, data in filled.results.items() if data}
    assert not any(".control" in path for path in found)
    assert run("find", root, "-name", "*.mp4", "-type", "f", "-newermt", "2026-05-12") == ""
    used = int(
        run("du", "-s", "--block-size=1", "--apparent-size", "--exclude=.*.json", root / "sessions").split()[
            0
        ]
    )
    assert used == sum(map(len, filled.results.values())) + sum(map(len, filled.remote.values()))
    blocks = int(run("du", "-s", "--block-size=512", root / "sessions").split()[0])
    assert blocks >= sum(-(-len(data) // 512) for data in filled.results.values())
    run("cp", "-r", root / "sessions", tmp_path / "copy")
    run("diff", "-r", "--no-dereference", root / "sessions", tmp_path / "copy")
    run("ls", "-laR", root)


@pytest.mark.promise("R7", "R9")
def test_tools_for_one_file(filled: Filled, tmp_path: Path) -> None:
    path, data = max(filled.results.items(), key=lambda item: len(item[1]))
    file = filled.root / path
    assert "data" in run("file", file)
    assert run("less", filled.root / "README.txt") == (filled.root / "README.txt").read_text()
    run("cp", "--sparse=always", file, tmp_path / "one")
    assert (tmp_path / "one").read_bytes() == data
    assert run("cmp", file, tmp_path / "one") == ""
    run("dd", f"if={file}", f"of={tmp_path / 'two'}", "bs=300001", "status=none")
    assert (tmp_path / "two").read_bytes() == data
    code = (
        "import mmap, sys; f = open(sys.argv[1], 'rb'); m = mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ); "
        "sys.stdout.buffer.write(m[700000:700100])"
    )
    result = subprocess.run([sys.executable, "-c", code, file], capture_output=True, check=True)
    assert result.stdout == data[700_000:700_100]
    assert run("getfattr", "--absolute-names", "--only-values", "-n", "user.mime_type", file) == "video/mp4"
    if shutil.which("gio"):
        run("gio", "copy", file, tmp_path / "three")
        assert (tmp_path / "three").read_bytes() == data
        assert f"standard::size: {len(data)}" in run("gio", "info", file)


@pytest.mark.promise("R7")
def test_a_second_read_costs_no_call(filled: Filled, simulator: Simulator) -> None:
    path, data = max(filled.results.items(), key=lambda item: len(item[1]))
    run("cmp", filled.root / path, filled.root / path)
    assert subprocess.run(["cat", filled.root / path], capture_output=True, check=True).stdout == data
    eventually(lambda: simulator.log.downloads_now == 0)
    before = simulator.log.count("DownloadFile")
    assert (filled.root / path).read_bytes() == data
    assert simulator.log.count("DownloadFile") == before


@pytest.mark.promise("T6")
def test_copytree(filled: Filled, tmp_path: Path) -> None:
    code = "import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2], symlinks=True)"
    run(sys.executable, "-c", code, filled.root, tmp_path / "copy")
    filled.check(tmp_path / "copy")


@pytest.mark.promise("S4")
def test_copies_and_hashes_agree_while_it_is_read(filled: Filled, tmp_path: Path) -> None:
    """As evidence is checked: everything is read again and again, and kept alive meanwhile."""
    sessions = filled.root / "sessions"
    files = [path.relative_to(sessions) for path in sorted(sessions.rglob("*")) if path.is_file()]
    (tmp_path / "known").write_text(run("hashdeep", "-l", *files, cwd=sessions))
    for copy in ("one", "two"):
        run("cp", "-r", sessions, tmp_path / copy)
    run("diff", "-r", "--no-dereference", tmp_path / "one", tmp_path / "two")
    audit = run("hashdeep", "-l", "-v", "-a", "-k", tmp_path / "known", *files, cwd=sessions)
    assert "Audit passed" in audit
    run("rclone", "check", "--skip-links", "--quiet", sessions, tmp_path / "two")
    run("rclone", "check", "--skip-links", "--quiet", "--download", sessions, tmp_path / "one")
    assert run("rsync", "-rlc", "--dry-run", "--itemize-changes", f"{sessions}/", tmp_path / "one") == ""
    for session in sessions.iterdir():
        kept = b"true" if os.listdir(session)[2:] else b"false"  # what had something to open
        if kept == b"true" and not any(path.is_symlink() for path in session.iterdir()):
            assert os.getxattr(session, "user.exportfs.kept_alive") == kept


@pytest.mark.promise("S6", "S11")
def test_shell_and_command(filled: Filled, simulator: Simulator) -> None:
    one, two = sorted({os.path.dirname(path) for path in filled.results})[:2]
    run("sh", "-c", f"echo destroy > '{filled.root / one}/.control'")
    assert len(simulator.sessions.ids()) == 4
    result = subprocess.run(
        ["sh", "-c", f"echo nonsense > '{filled.root / two}/.control'"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    run(sys.executable, "-m", "exportfs", "destroy", filled.root / two)
    assert len(simulator.sessions.ids()) == 3
