"""Free memory goes back when there is much more than was promised, and not each time; glibc is told what to keep."""

import ctypes
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from exportfs import memory
from exportfs.config import KIB, MIB
from exportfs.memory import AGAIN, BESIDE_CACHE, LOOK_EVERY, Watch, end_kept

CACHE = 16 * MIB
needs_glibc = pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="another C library")


class Process:
    """Stands for ours: what it has in memory, of which some is free."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.needed, self.free = CACHE, 0
        self.given_back = 0
        monkeypatch.setattr(memory, "resident", lambda: self.needed + self.free)
        monkeypatch.setattr(memory, "give_back", self._give_back)

    def _give_back(self) -> None:
        self.given_back += 1
        self.free = 0


def test_free_memory_goes_back_before_it_is_too_much(monkeypatch: pytest.MonkeyPatch) -> None:
    process, watch = Process(monkeypatch), Watch(CACHE)
    process.free = BESIDE_CACHE
    watch.received(LOOK_EVERY)
    assert process.given_back == 0
    process.free += 1
    watch.received(LOOK_EVERY - 1)
    assert process.given_back == 0  # nobody has looked
    watch.received(1)
    assert (process.given_back, process.free) == (1, 0)


def test_it_has_to_grow_again_before_more_goes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    process, watch = Process(monkeypatch), Watch(CACHE)
    process.needed += BESIDE_CACHE + 1
    for free in (0, AGAIN, AGAIN + 1):
        process.free = free
        watch.received(LOOK_EVERY)
    assert process.given_back == 2


@pytest.mark.parametrize(
    ("cache", "kept"),
    [(MIB, 2 * MIB), (16 * MIB, 2 * MIB), (64 * MIB, 8 * MIB), (256 * MIB, 32 * MIB), (4096 * MIB, 32 * MIB)],
)
def test_a_large_cache_keeps_more_free_memory(cache: int, kept: int) -> None:
    assert end_kept(cache) == kept


@needs_glibc
@pytest.mark.parametrize(("cache", "stays"), [(CACHE, False), (256 * MIB, True)])
def test_a_mount_tells_glibc(cache: int, stays: bool) -> None:
    """From outside, in a process of its own: what a mount sets lasts until its process ends."""
    told = json.loads(
        subprocess.run(
            [sys.executable, "-m", "tests.support.allocations", str(cache)],
            cwd=Path(__file__).parents[2],
            # What else glibc and Python are told of memory.
            env={
                name: value
                for name, value in os.environ.items()
                if "MALLOC" not in name and "GLIBC" not in name
            },
            check=True,
            stdout=subprocess.PIPE,
            timeout=60,
        ).stdout
    )
    kept, huge = told.pop("kept"), told.pop("huge")
    # What a large cache's heap has grown by has room for pyfuse3's buffers.
    assert told.pop("buffers_apart") or stays
    assert told == {"one_place": True, "blocks_from_heap": True}
    assert kept > 18 * MIB if stays else kept < 8 * MIB  # of 24
    if Path("/sys/kernel/mm/transparent_hugepage").exists():
        assert huge > 40 * MIB if stays else huge == 0  # of 64


@needs_glibc
def test_gaps_go_back_to_the_system() -> None:
    pieces = [bytes(64 * KIB) for _ in range(1024)]
    del pieces[::2]  # as gRPC's pieces of a block leave them
    before = memory.resident()
    memory.give_back()
    assert before - memory.resident() > 16 * MIB
    assert len(pieces) == 512
