"""Who is told that there is no ACL, and not that there are none at all; and who reads past the kernel's cache."""

import fcntl
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from exportfs.fuse import callers
from exportfs.fuse.callers import expects_acls, reads_directly
from tests.support.harness import eventually


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


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Open in this process, of which other tests may have much open; and no loop device reads directly."""
    monkeypatch.setattr(callers, "_LOOKED_AT", 1 << 20)
    monkeypatch.setattr(callers, "BLOCK_DEVICES", tmp_path / "block")
    file = os.open(tmp_path / "file", os.O_RDONLY | os.O_CREAT)
    yield file
    os.close(file)


def test_who_reads_past_the_kernels_cache(file: int) -> None:
    pid, ino = os.getpid(), os.fstat(file).st_ino
    assert reads_directly(pid, ino) is False
    fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_DIRECT)
    assert reads_directly(pid, ino)


def test_where_it_is_not_shown_it_may_be_so(file: int) -> None:
    """Who has opened it is gone, has given it away, or lets nobody look."""
    pid, ino = os.getpid(), os.fstat(file).st_ino
    assert reads_directly(pid, ino + 1) is None
    assert reads_directly(0, ino)
    threads: list[int] = []
    thread = threading.Thread(target=lambda: threads.append(threading.get_native_id()))
    thread.start()
    thread.join()
    eventually(
        lambda: not Path(f"/proc/self/task/{threads[0]}").exists()
    )  # the interpreter is done with it before
    assert reads_directly(threads[0], ino)


def test_threads_show_what_their_process_has_open(file: int) -> None:
    asked: list[bool | None] = []
    ino = os.fstat(file).st_ino
    thread = threading.Thread(target=lambda: asked.append(reads_directly(threading.get_native_id(), ino)))
    thread.start()
    thread.join()
    assert asked == [False]


def test_where_looking_would_take_long_it_may_be_so(file: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callers, "_LOOKED_AT", 0)
    assert reads_directly(os.getpid(), os.fstat(file).st_ino)


def test_where_a_loop_device_reads_directly_it_may_be_so(file: int, tmp_path: Path) -> None:
    """Whoever set it up may have kept the file open, as it was."""
    pid, ino = os.getpid(), os.fstat(file).st_ino
    for number, dio in enumerate("001"):
        (tmp_path / f"block/loop{number}/loop").mkdir(parents=True)
        (tmp_path / f"block/loop{number}/loop/dio").write_text(f"{dio}\n")
        assert reads_directly(pid, ino) == (dio == "1")
