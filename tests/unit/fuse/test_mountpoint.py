"""The mount table, and places in it."""

import errno
import os
from pathlib import Path

import pytest

from exportfs.errors import ExportfsError
from exportfs.fuse import mountpoint as module
from exportfs.fuse.mountpoint import check_mountpoint, mount_table, mountpoints, place_of, probe, top

TABLE = (
    b"22 1 0:21 / /proc rw,nosuid - proc proc rw\n"
    b"95 1 0:50 / /mnt/a\\040b\\134c\\012d\\043e\r rw shared:1 master:2 - fuse.axxon-exportfs v\\040ms"
    b" rw,user_id=1000,group_id=0,allow_other\n"
    b"96 1 0:51 / /mnt/x rw - autofs systemd-1 rw,fd=5\n"
    b"97 96 0:52 / /mnt/x rw - fuse.axxon-exportfs one rw,user_id=0\n"
    b"98 97 0:53 /sessions /mnt/x rw - fuse.axxon-exportfs two rw,user_id=4294967294\n"
    b"99 1 0:54 / /mnt/\xff rw - fuse.sshfs x rw\n"
    b"cut off\n\n"
)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "mountinfo"
    path.write_bytes(TABLE)
    return path


def test_every_line_is_read(table: Path) -> None:
    proc, first, auto, one, two, other = mount_table(table)
    assert (proc.fs_type, proc.device, proc.ours, proc.user_id) == ("proc", "0:21", False, None)
    assert first.place == Path("/mnt/a b\\c\nd#e\r")
    assert (first.source, first.user_id, first.ours, first.private) == ("v ms", 1000, True, False)
    assert (auto.id, auto.parent, auto.fs_type) == (96, 1, "autofs")
    assert (one.device, one.root, two.root, two.user_id) == ("0:52", "/", "/sessions", 2**32 - 2)
    assert two.private
    assert other.place == Path("/mnt/\udcff")
    assert mountpoints(table) == [first.place, Path("/mnt/x")]


def test_the_last_mounted_is_on_top(table: Path) -> None:
    entries = mount_table(table)
    for order in (entries, entries[::-1]):
        found = top(Path("/mnt/x"), order)
        assert found is not None
        assert found.source == "two"
    assert top(Path("/mnt"), entries) is None


def test_a_table_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ExportfsError, match="is /proc mounted"):
        mount_table(tmp_path / "none")


def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "real/inner").mkdir(parents=True)
    (tmp_path / "link").symlink_to("real")
    monkeypatch.chdir(tmp_path / "real")
    for path in ("inner", "inner/", "./inner//", "../link/inner", f"{tmp_path}/link/inner/", "inner/."):
        assert place_of(Path(path)) == tmp_path / "real/inner", path
    assert place_of(Path("/")) == Path("/")
    assert place_of(tmp_path / "link/../real") == tmp_path / "real"
    assert place_of(tmp_path / "not/there") == tmp_path / "not/there"


def test_what_is_mounted_there_is_not_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even for symbolic links: its process may be stopped."""
    (tmp_path / "place").mkdir()
    entry = module.MountEntry(1, 0, "0:1", "/", tmp_path / "place", module.FILESYSTEM_TYPE, "x", ())
    monkeypatch.setattr(module, "mount_table", lambda: [entry])
    looked = []
    real = os.lstat

    def lstat(path: str, **options: object) -> os.stat_result:
        looked.append(os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "lstat", lstat)
    assert place_of(tmp_path / "place") == tmp_path / "place"
    assert os.fspath(tmp_path / "place") not in looked
    assert os.fspath(tmp_path) in looked


def test_probe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert probe(tmp_path) == 0
    assert probe(tmp_path / "none") == errno.ENOENT


def test_something_else_is_mounted_there() -> None:
    if not Path("/dev/fuse").exists():
        pytest.skip("no /dev/fuse")
    with pytest.raises(ExportfsError, match="a filesystem of type proc is mounted at /proc"):
        check_mountpoint(Path("/proc"))
