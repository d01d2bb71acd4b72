"""What is wrong is said, by errno and in words; nothing is sent; and what is corrected works."""

import contextlib
import errno
import json
import os
from pathlib import Path

import grpc
import pytest

from exportfs.errors import NoAttribute
from exportfs.simulator import Answer, Fail, Simulator, SimulatorServer
from exportfs.vfs.new.directory import MOST_BYTES
from tests.conftest import IMPATIENT, MountFactory
from tests.support.harness import (
    ARCHIVE_REQUEST,
    InProcessTree,
    Tree,
    config_for,
    eventually,
    expect_denied,
    expect_errno,
)
from tests.tree.new.drop import request

GOOD = json.dumps(ARCHIVE_REQUEST).encode()
BAD = GOOD.replace(b"MP4", b"MP5")

REFUSALS = {
    "INVALID_ARGUMENT": errno.EINVAL,
    "OUT_OF_RANGE": errno.EINVAL,
    "PERMISSION_DENIED": errno.EACCES,
    "UNAUTHENTICATED": errno.EACCES,
    "FAILED_PRECONDITION": errno.EBUSY,
    "UNIMPLEMENTED": errno.EOPNOTSUPP,
}


@pytest.mark.promise("W6")
@pytest.mark.parametrize("status", REFUSALS)
def test_refused_by_the_server(tree: Tree, simulator: Simulator, status: str) -> None:
    fault = simulator.faults.add("StartSession", Fail(status, "the reason why"), times=None)
    expect_errno(REFUSALS[status], tree.write, "new/a.json", GOOD)
    if status != "UNAUTHENTICATED":
        assert b"the reason why" in tree.read("new/a.json.error")
    assert sorted(tree.listdir("new")) == ["a.json", "a.json.error"]
    assert tree.read("new/a.json") == GOOD
    simulator.faults.remove(fault)
    tree.write("new/a.json", GOOD)
    assert sorted(tree.listdir("new")) == ["a", "a.json"]
    assert len(simulator.sessions.ids()) == 1


def test_a_limit_that_passes(inside: Tree, simulator: Simulator) -> None:
    simulator.faults.add("StartSession", Fail("RESOURCE_EXHAUSTED", "too many"), times=2)
    inside.write("new/a.json", GOOD)
    assert len(simulator.sessions.ids()) == 1


@IMPATIENT
def test_a_limit_that_stays(inside: Tree, simulator: Simulator) -> None:
    simulator.faults.add("StartSession", Fail("RESOURCE_EXHAUSTED", "too many"), times=None)
    expect_errno(errno.EBUSY, inside.write, "new/a.json", GOOD)
    assert b"too many" in inside.read("new/a.json.error")


@pytest.mark.parametrize("status", [code.name for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_a_lost_answer_of_any_kind(server: SimulatorServer, tmp_path: Path, status: str) -> None:
    """The work was done whatever the status says: it is found, or a refusal is an error; never done twice."""
    tree = InProcessTree(config_for(server.address, tmp_path))
    simulator = server.simulator
    try:
        simulator.faults.add("StartSession", Fail(status, "lost", after_work=True))
        try:
            tree.write("new/a.json", GOOD)
        except OSError:
            assert status in (*REFUSALS, "NOT_FOUND")
        else:
            assert tree.readlink("new/a")
        assert len(simulator.sessions.ids()) == 1 or status == "UNAUTHENTICATED"
    finally:
        tree.close()


@pytest.mark.promise("W6", "W11")
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"nonsense", "ine 1, column 1"),
        (b'{"archive": {},\n "stream": {}, "oops": 1}', "oops (line 2"),
        (BAD, "stream.format"),
        (GOOD.replace(b"startTimestamp", b"startTimestmp"), "startTimestamp"),
        (GOOD.replace(b'"20260511T080421"', b'"2026-05-11T08:04:21"'), "offset"),
        (GOOD[:-9] + b"\xff" + GOOD[-9:], "0xff"),
        (b"[]", "object"),
        (b"7", "object"),
    ],
)
def test_bad_requests(inside: Tree, simulator: Simulator, content: bytes, said: str) -> None:
    expect_errno(errno.EINVAL, inside.write, "new/a.json", content)
    assert said in inside.read("new/a.json.error").decode()
    assert inside.read("new/a.json") == content
    assert simulator.log.count("StartSession") == 0
    # Closing again without new content does nothing.
    inside.chmod("new/a.json", 0o600)
    inside.write("new/a.json", GOOD)
    assert sorted(inside.listdir("new")) == ["a", "a.json"]


@pytest.mark.promise("W4")
def test_a_request_that_stays_incomplete(tree: Tree, simulator: Simulator) -> None:
    tree.write("new/a.json", GOOD[:50])
    eventually(lambda: "a.json.error" in tree.listdir("new"))
    tree.write("new/a.json", GOOD[50:], append=True)
    assert sorted(tree.listdir("new")) == ["a", "a.json"]
    assert simulator.log.count("StartSession") == 1


@pytest.mark.promise("W2", "W6")
def test_what_is_too_much_is_cut_off_by_path(tree: Tree, simulator: Simulator) -> None:
    """truncate(2) is not followed by a close: the request was not submitted, and its error stayed."""
    expect_errno(errno.EINVAL, tree.write, "new/a.json", GOOD + b" garbage")
    assert b"nothing may follow" in tree.read("new/a.json.error")
    expect_errno(errno.EINVAL, tree.truncate, "new/a.json", len(GOOD) + 3)
    assert simulator.log.count("StartSession") == 0
    tree.truncate("new/a.json", len(GOOD))
    assert sorted(tree.listdir("new")) == ["a", "a.json"]
    assert simulator.log.count("StartSession") == 1
    tree.truncate("new/a.json", 20)
    tree.truncate("new/a.json", 0)
    assert sorted(tree.listdir("new")) == ["a", "a.json"]
    assert simulator.log.count("StartSession") == 1


@pytest.mark.promise("W2", "W3")
def test_what_is_cut_off_starts_nothing_anew(tree: Tree, simulator: Simulator) -> None:
    """Blanks at its end, nor what somebody is still writing, nor under a scratch name."""
    tree.write("new/a.json", GOOD + b"   ")
    tree.truncate("new/a.json", len(GOOD))
    assert simulator.log.count("StartSession") == 1
    tree.write("new/b.tmp", BAD + b"   ")
    tree.truncate("new/b.tmp", len(BAD))
    assert sorted(tree.listdir("new")) == ["a", "a.json", "b.tmp"]
    assert simulator.log.count("StartSession") == 1


@pytest.mark.mount
@pytest.mark.promise("W2")
def test_what_is_cut_off_while_somebody_writes(start_mount: MountFactory, simulator: Simulator) -> None:
    path = start_mount().mountpoint / "new" / "a.json"
    with path.open("wb", buffering=0) as file:
        file.write(GOOD + b"   garbage")
        os.truncate(path, len(GOOD))
        assert simulator.log.count("StartSession") == 0
    assert simulator.log.count("StartSession") == 1
    assert (path.parent / "a").is_dir()


@pytest.mark.mount
@pytest.mark.parametrize("status", ["NOT_FOUND", "UNIMPLEMENTED", "INVALID_ARGUMENT"])
def test_a_refusal_is_in_the_log(start_mount: MountFactory, simulator: Simulator, status: str) -> None:
    """Those of which programs ask for all day were passed over: also where they are of a request."""
    mount = start_mount()
    simulator.faults.add("StartSession", Fail(status, "the reason why"))
    with pytest.raises(OSError, match=r"Errno"):
        mount.tree.write("new/a.json", GOOD)
    eventually(
        lambda: f"the request a.json: the server answered {status}: the reason why" in mount.log.read_text()
    )
    (error,) = json.loads(mount.tree.read(".status.json"))["recent_errors"]
    assert "the reason why" in error["message"]


@pytest.mark.promise("W11")
def test_too_large(tree: Tree, simulator: Simulator) -> None:
    expect_errno(errno.EFBIG, tree.write, "new/a.json", b" " * (16 * 1024 * 1024) + GOOD)
    expect_errno(errno.EFBIG, tree.truncate, "new/a.json", 16 * 1024 * 1024 + 1)
    assert simulator.log.count("StartSession") == 0
    tree.write("new/b.json", GOOD.ljust(16 * 1024 * 1024))
    assert simulator.log.count("StartSession") == 1
    tree.write("new/c.tmp", b"x")
    tree.truncate("new/c.tmp", 16 * 1024 * 1024)
    assert tree.stat("new/c.tmp").st_size == 16 * 1024 * 1024


@pytest.mark.promise("W11", "W6")
def test_what_was_only_written_in_part_is_not_submitted(tree: Tree, simulator: Simulator) -> None:
    """What fits is a whole request, since only blanks were refused."""
    expect_errno(errno.EFBIG, tree.write, "new/a.json", GOOD + b" " * (16 << 20))
    eventually(lambda: "a.json.error" in tree.listdir("new"))
    assert b"nothing was sent" in tree.read("new/a.json.error")
    expect_errno(errno.EFBIG, tree.write, "new/b.txt", GOOD + b" " * (16 << 20))
    expect_errno(errno.EFBIG, tree.rename, "new/b.txt", "new/b.json")
    assert b"nothing was sent" in tree.read("new/b.json.error")
    tree.unlink("new/b.json")
    assert simulator.log.count("StartSession") == 0
    tree.write("new/a.json", GOOD)
    assert sorted(tree.listdir("new")) == ["a", "a.json"]
    assert simulator.log.count("StartSession") == 1


@pytest.mark.promise("W11")
def test_memory_is_bounded(server: SimulatorServer, tmp_path: Path) -> None:
    tree = InProcessTree(config_for(server.address, tmp_path))
    try:
        blank = b" " * (15 * 1024 * 1024)
        for number in range(4):
            tree.write(f"new/{number}.tmp", blank)
        expect_errno(errno.ENOSPC, tree.write, "new/5.tmp", blank)
        tree.unlink("new/5.tmp")
        # Of this the request itself fits, and is not submitted: not all was written.
        expect_errno(errno.ENOSPC, tree.write, "new/b.json", GOOD + blank)
        eventually(lambda: "b.json.error" in tree.listdir("new"))
        assert b"nothing was sent" in tree.read("new/b.json.error")
        assert server.simulator.log.count("StartSession") == 0
        tree.unlink("new/b.json")
        tree.write("new/a.json", GOOD)
        tree.unlink("new/0.tmp")
        tree.write("new/5.tmp", blank)
        for name in tree.listdir("new"):
            if name.endswith(".tmp"):
                tree.unlink(f"new/{name}")
        assert tree.filesystem.root.new.bytes_held == len(GOOD)
    finally:
        tree.close()


def test_attributes_that_were_removed_hold_nothing(inside: InProcessTree) -> None:
    inside.write("new/a.tmp", b"")
    new = inside.filesystem.root.new
    file = new.file("a.tmp")
    assert file is not None
    for size in (60_000, 1_000, 60_000):
        for _ in range(2):
            file.set_xattr("user.a", bytes(1_000))
            file.set_xattr("user.a", bytes(size))
            assert new.bytes_held == size
            file.remove_xattr("user.a")
            assert new.bytes_held == 0
    with pytest.raises(NoAttribute):
        file.remove_xattr("user.a")
    # Also by more of them than what new/ may hold altogether.
    for _ in range(MOST_BYTES // 60_000 + 1):
        file.set_xattr("user.a", bytes(60_000))
        file.remove_xattr("user.a")
    inside.unlink("new/a.tmp")
    assert new.bytes_held == 0


@pytest.mark.promise("W7")
def test_unlink(tree: Tree, simulator: Simulator) -> None:
    tree.write("new/a.json", GOOD)
    expect_errno(errno.EINVAL, tree.write, "new/b.json", BAD)
    tree.unlink("new/a.json")
    tree.unlink("new/b.json")
    assert tree.listdir("new") == []
    assert len(tree.listdir("sessions")) == 1
    assert "DestroySession" not in simulator.log.counts()
    expect_errno(errno.ENOENT, tree.unlink, "new/a.json")
    # What was removed and is written again is a new request.
    tree.write("new/a.json", GOOD)
    assert simulator.log.count("StartSession") == 2


def test_unlink_the_link_or_the_error(tree: Tree, simulator: Simulator) -> None:
    tree.write("new/a.json", GOOD)
    tree.unlink("new/a")
    assert tree.listdir("new") == ["a.json"]
    tree.write("new/a.json", GOOD)
    assert simulator.log.count("StartSession") == 1
    assert sorted(tree.listdir("new")) == ["a", "a.json"]
    expect_errno(errno.EINVAL, tree.write, "new/b.json", BAD)
    tree.unlink("new/b.json.error")
    assert sorted(tree.listdir("new")) == ["a", "a.json", "b.json"]


@pytest.mark.promise("W5")
def test_a_destroyed_session(tree: Tree, simulator: Simulator) -> None:
    tree.write("new/a.json", GOOD)
    tree.write("new/a/.control", b"destroy")
    assert tree.listdir("new") == ["a.json"]
    tree.write("new/a.json", GOOD)
    assert simulator.log.count("StartSession") == 2


def test_a_session_that_the_list_has_not(tree: Tree, simulator: Simulator) -> None:
    """A list that comes up short proves nothing: the server is asked for the session itself."""
    tree.write("new/a.json", GOOD)
    listings = simulator.log.count("ListSessions")
    # Once it has been listed; before that a list that lags behind takes nothing away.
    eventually(lambda: tree.listdir("sessions") and simulator.log.count("ListSessions") > listings + 1)
    fault = simulator.faults.add("ListSessions", Answer((b"",)), times=None)
    eventually(lambda: "a" not in tree.listdir("new"))
    tree.write("new/a.json", GOOD)
    assert simulator.log.count("StartSession") == 1
    assert tree.readlink("new/a")
    simulator.faults.remove(fault)


@pytest.mark.promise("W8")
@pytest.mark.parametrize(
    "name", [".a.json", "a.json~", "a.tmp", "a.json.part", "a.swp", "sedAbCdE", "4913", ".json"]
)
def test_scratch(inside: Tree, simulator: Simulator, name: str) -> None:
    inside.write(f"new/{name}", GOOD)
    assert simulator.log.count("StartSession") == 0
    assert inside.read(f"new/{name}") == GOOD
    inside.rename(f"new/{name}", "new/a.json")
    assert simulator.log.count("StartSession") == 1
    assert sorted(inside.listdir("new")) == ["a", "a.json"]


@pytest.mark.promise("W9")
@pytest.mark.parametrize(
    ("name", "better"),
    [("a", "a.json"), ("a.txt", "a.json"), ("a.JSON", "a.json"), ("a.json.part", "a.json")],
)
def test_hint(inside: Tree, simulator: Simulator, name: str, better: str) -> None:
    inside.write(f"new/{name}", GOOD)
    eventually(lambda: f"{name}.error" in inside.listdir("new"))
    assert f"name it {better}\n" in inside.read(f"new/{name}.error").decode()
    inside.write(f"new/{name}", b"something else")
    eventually(lambda: inside.listdir("new") == [name])
    assert simulator.log.count("StartSession") == 0


def test_renames(tree: Tree, simulator: Simulator) -> None:
    tree.write("new/a.json", GOOD)
    target = tree.readlink("new/a")
    tree.rename("new/a.json", "new/b.json")
    assert sorted(tree.listdir("new")) == ["b", "b.json"]
    assert tree.readlink("new/b") == target
    expect_errno(errno.EPERM, tree.rename, "new/b", "new/c")
    expect_errno(errno.ENOENT, tree.rename, "new/nothing", "new/c")
    expect_errno(errno.EPERM, tree.rename, "new/b.json", "new/.template.json")
    expect_errno(errno.EPERM, tree.rename, "new/b.json", "sessions/b.json")
    expect_errno(errno.EINVAL, tree.write, "new/c.json", BAD)
    expect_errno(errno.EINVAL, tree.rename, "new/c.json", "new/d.json")
    assert sorted(tree.listdir("new")) == ["b", "b.json", "d.json", "d.json.error"]
    assert simulator.log.count("StartSession") == 1


def test_odd_names(tree: Tree, simulator: Simulator) -> None:
    for number, name in enumerate(
        ["a.json.json", "ü" * 125 + ".json", "-x.json", "with space.json", "x~.json"]
    ):
        tree.write(f"new/{name}", json.dumps(request(number)).encode())
        assert tree.readlink(f"new/{name[:-5]}")
    longest = "n" * 250 + ".json"
    expect_errno(errno.EINVAL, tree.write, f"new/{longest}", BAD)
    (error,) = [name for name in tree.listdir("new") if name.endswith(".error")]
    assert len(error) <= 255
    assert b"MP5" in tree.read(f"new/{error}")
    tree.unlink(f"new/{longest}")
    assert [name for name in tree.listdir("new") if name.startswith("n")] == []


def test_the_link_replaces_no_file(tree: Tree, simulator: Simulator) -> None:
    tree.write("new/a", b"mine")
    expect_errno(errno.EEXIST, tree.write, "new/a.json", GOOD)
    assert tree.read("new/a") == b"mine"
    assert simulator.log.count("StartSession") == 0


@pytest.mark.promise("W13")
def test_the_template_stays(tree: Tree) -> None:
    text = tree.read("new/.template.json")
    assert ".template.json" not in tree.listdir("new")
    expect_denied(tree.unlink, "new/.template.json")
    expect_denied(tree.truncate, "new/.template.json", 0)
    assert tree.read("new/.template.json") == text


@pytest.mark.mount
@pytest.mark.promise("S10")
def test_read_only(start_mount: MountFactory) -> None:
    tree = start_mount("--read-only").tree
    expect_errno(errno.EROFS, tree.write, "new/a.json", GOOD)
    expect_errno(errno.EROFS, tree.chmod, "new", 0o700)
    assert tree.read("new/.template.json")


@pytest.mark.mount
def test_unreachable(start_mount: MountFactory, server: SimulatorServer) -> None:
    mount = start_mount("--timeout", "4")
    server.stop()
    expect_errno(errno.ENOTCONN, mount.tree.write, "new/a.json", GOOD)
    assert b"nothing was sent" in mount.tree.read("new/a.json.error")
    server.start()

    def written() -> bool:
        """As somebody who tries again would."""
        with contextlib.suppress(OSError):
            mount.tree.write("new/a.json", GOOD)
            return True
        return False

    eventually(written)
    assert server.simulator.log.count("StartSession") == 1
    assert os.path.islink(mount.mountpoint / "new" / "a")


@pytest.mark.mount
@pytest.mark.promise("W2", "W4")
def test_only_close_submits(start_mount: MountFactory, simulator: Simulator) -> None:
    path = start_mount().mountpoint / "new" / "a.json"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    os.write(descriptor, GOOD)
    os.fsync(descriptor)
    os.fdatasync(descriptor)
    assert simulator.log.count("StartSession") == 0
    os.close(descriptor)
    assert simulator.log.count("StartSession") == 1
    assert path.read_bytes() == GOOD


def test_the_folder_takes_attributes(tree: Tree) -> None:
    """As `cp -a FOLDER/. new/` sets them."""
    tree.chmod("new", 0o700)
    assert tree.stat("new").st_mode & 0o777 == 0o700
    expect_errno(errno.EPERM, tree.chmod, "sessions", 0o700)
    expect_errno(errno.EISDIR, tree.truncate, "new", 0)


@pytest.mark.promise("W6")
def test_a_file_of_the_errors_name_stands_behind_it(tree: Tree) -> None:
    """Such as a copy of an earlier new/ brings along."""
    tree.write("new/a.json.error", b"mine")
    expect_errno(errno.EINVAL, tree.write, "new/a.json", BAD)
    assert b"MP5" in tree.read("new/a.json.error")
    assert sorted(tree.listdir("new")) == ["a.json", "a.json.error"]
    expect_errno(errno.EPERM, tree.rename, "new/a.json.error", "new/elsewhere")
    with pytest.raises(OSError):  # noqa: PT011 # which one depends on who is the first to look
        tree.write("new/a.json.error", b"not over the sentence, nor into what is behind it")
    tree.unlink("new/a.json.error")
    assert tree.read("new/a.json.error") == b"mine"
    expect_errno(errno.EINVAL, tree.write, "new/a.json", BAD + b" ")
    tree.write("new/a.json", GOOD)
    assert tree.read("new/a.json.error") == b"mine"
    tree.rename("new/a.json.error", "new/elsewhere")
    assert tree.read("new/elsewhere") == b"mine"
