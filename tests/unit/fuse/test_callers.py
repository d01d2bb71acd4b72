"""Who is told that there is no ACL, and not that there are none at all; and who reads past the kernel's cache."""

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from exportfs.fuse import callers
from exportfs.fuse.callers import expects_acls, reads_directly


def test_only_the_program_that_needs_it(tmp_path: Path) -> None:
    program = Path(shutil.copy("/bin/sleep", tmp_path / "ganesha.nfsd"))
    with subprocess.Popen([program, "100"]) as process:
        try:
            assert expects_acls(process.pid)
        finally:
            process.kill()
    assert not expects_acls(os.getpid())
    assert not expects_acls(0)
    assert not expects_acls(process.pid)


def test_who_reads_past_the_kernels_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "_LOOKED_AT", 1 << 20)  # other tests of this process may have much open
    place = tmp_path / "file"
    place.touch()
    pid, ino = os.getpid(), place.stat().st_ino
    assert not reads_directly(pid, ino)
    file = os.open(place, os.O_RDONLY)
    try:
        assert not reads_directly(pid, ino)
        fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_DIRECT)
        assert reads_directly(pid, ino)
        assert not reads_directly(pid, ino + 1)
    finally:
        os.close(file)
    assert not reads_directly(pid, ino)
    assert not reads_directly(0, ino)


def test_where_looking_would_take_long_it_may_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "_LOOKED_AT", 0)
    assert reads_directly(os.getpid(), 1)
