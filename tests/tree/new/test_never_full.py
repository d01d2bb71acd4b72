"""new/ never fills up: what is done with goes, the oldest first, and nothing else does."""

import errno
import json
import os

import pytest

from exportfs.simulator import Fail, Simulator
from exportfs.vfs.new import directory
from tests.conftest import IMPATIENT
from tests.support.harness import InProcessTree, expect_errno
from tests.tree.new.drop import request

pytestmark = pytest.mark.promise("W15")
MOST = 6


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "MOST_FILES", MOST)


def content(number: int) -> bytes:
    return json.dumps(request(number)).encode()


def put(tree: InProcessTree, *numbers: int) -> None:
    for number in numbers:
        tree.write(f"new/{number}.json", content(number))


def files(tree: InProcessTree) -> list[str]:
    """Names without `.json`, and without links."""
    return [name.removesuffix(".json") for name in tree.listdir("new") if name.endswith((".json", ".tmp"))]


def test_the_oldest_goes_with_its_link(inside: InProcessTree, simulator: Simulator) -> None:
    put(inside, *range(MOST + 3))
    left = [str(number) for number in range(3, MOST + 3)]
    assert files(inside) == left
    assert sorted(inside.listdir("new")) == sorted([*left, *(f"{name}.json" for name in left)])
    assert simulator.log.count("StartSession") == len(simulator.sessions.ids()) == MOST + 3
    assert len(inside.context.ledger.names) == MOST
    # Their names are still known: the same again is the same, and has its link back. Another is another.
    put(inside, 0)
    assert simulator.log.count("StartSession") == MOST + 3
    assert inside.readlink("new/0")
    inside.write("new/1.json", content(77))
    assert simulator.log.count("StartSession") == MOST + 4
    assert files(inside) == ["5", "6", "7", "8", "0", "1"]


@IMPATIENT
def test_what_is_not_done_with_stays(inside: InProcessTree, simulator: Simulator) -> None:
    """Open, empty, scratch, of unknown outcome; and what was refused only where there is nothing else."""
    put(inside, 0)
    handle = inside._call(lambda: inside.filesystem.open(_ino(inside, "0.json"), os.O_RDONLY))[0]
    inside.write("new/empty.json", b"")
    inside.write("new/half.json", content(1)[:20])
    inside.write("new/s.tmp", content(2))
    simulator.faults.add("StartSession", Fail("UNAVAILABLE", "lost"), times=1)
    expect_errno(errno.ENOTCONN, put, inside, 3)
    expect_errno(errno.EINVAL, inside.write, "new/refused.json", content(4).replace(b"MP4", b"MP5"))
    before = ["0", "empty", "half", "s.tmp", "3", "refused"]
    assert files(inside) == before
    put(inside, 5)  # nothing is done with: what was refused first goes
    assert files(inside) == ["0", "empty", "s.tmp", "3", "refused", "5"]
    put(inside, 6)
    assert files(inside) == ["0", "empty", "s.tmp", "3", "refused", "6"]
    inside._call(lambda: inside.filesystem.release(handle))
    put(inside, 7, 8)
    assert files(inside) == ["empty", "s.tmp", "3", "refused", "7", "8"]
    errors = sorted(name for name in inside.listdir("new") if name.endswith(".error"))
    assert errors == ["3.json.error", "refused.json.error", "s.tmp.error"]


def _ino(tree: InProcessTree, name: str) -> int:
    file = tree.filesystem.root.new.file(name)
    assert file is not None
    return file.ino


def test_without_anything_done_with_there_is_no_room(inside: InProcessTree, simulator: Simulator) -> None:
    for number in range(MOST):
        inside.write(f"new/{number}.tmp", b"mine")
    expect_errno(errno.ENOSPC, inside.write, "new/a.json", content(1))
    assert len(files(inside)) == MOST
    inside.unlink("new/0.tmp")
    put(inside, 1, 2)
    assert files(inside) == [*(f"{number}.tmp" for number in range(1, MOST)), "2"]


def test_bytes_make_room_as_well(
    inside: InProcessTree, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directory, "MOST_BYTES", 3 * len(content(0)) + 200)
    put(inside, *range(5))
    assert files(inside) == ["2", "3", "4"]
    # Not the very file that grows, though nobody has it open.
    file = inside.filesystem.root.new.file("2.json")
    assert file is not None

    async def grow() -> None:
        file.set_xattr("user.a", bytes(300))

    inside._call(grow)
    assert files(inside) == ["2", "4"]
    new = inside.filesystem.root.new
    assert new._bytes == len(content(2)) + len(content(4)) + 300
    for name in ("2", "4"):
        inside.unlink(f"new/{name}.json")
    assert new._bytes == 0
