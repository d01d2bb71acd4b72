"""`copy`: right results or none, resumed, and a folder that proves what it holds."""

import errno
import fcntl
import hashlib
import io
import json
import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from tests.support.small_files import CHUNK, CONTENT

pytestmark = pytest.mark.usefixtures("small_steps")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def check_sums(folder: Path) -> str:
    done = subprocess.run(
        ["sha256sum", "-c", "--strict", "SHA256SUMS"],
        cwd=folder,
        capture_output=True,
        text=True,
        errors="surrogateescape",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def visible(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_copy(run: Any, mount: Any, out: Path) -> None:
    options = {"archive": {"startTimestamp": "x"}}
    a = mount.session("a", files={"a.mp4": CONTENT, "b.mp4": b""}, options=options)
    b = mount.session("b", files={"b [x].jpg": b"jpeg"})
    result = run("copy", a, b, out)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{out}/a\n{out}/b\n"
    assert visible(out / "a") == ["SHA256SUMS", "a.mp4", "b.mp4", "manifest.json", "report.html"]
    assert (out / "a" / "a.mp4").read_bytes() == CONTENT
    assert (out / "a" / "a.mp4").stat().st_mtime_ns == 10**18
    assert check_sums(out / "a") == "a.mp4: OK\nb.mp4: OK\nmanifest.json: OK\nreport.html: OK\n"
    check_sums(out / "b")
    manifest = json.loads((out / "a" / "manifest.json").read_text())
    assert manifest["server"] == "vms:20109"
    assert manifest["session"] == {
        "id": "hosts/Server/a",
        "name": "a",
        "state": "completed",
        "error": None,
        "options": options,
        "cameras": None,
        "footage": None,
        "coverage": None,
    }
    assert manifest["tool"].startswith("axxon-exportfs ")
    entry = manifest["files"][0]
    assert entry["sha256"] == hashlib.sha256(CONTENT).hexdigest()
    assert (entry["size"], entry["file_id"]) == (len(CONTENT), "id/a.mp4")
    assert entry["min_timestamp"] == "20260511T080411.000000"
    assert set(entry["copied_by"]) == {"user", "host"}
    assert entry["copied_at"].endswith("Z")
    assert manifest["not_copied"] == []


def test_repeating_verifies(run: Any, mount: Any, out: Path) -> None:
    session = mount.session("a", files={"a.mp4": CONTENT})
    (answer,) = json.loads(run("copy", session, out, "--json").stdout)
    assert (answer["copied"], answer["verified"]) == (["a.mp4"], [])
    before = json.loads((out / "a" / "manifest.json").read_text())
    inode = (out / "a" / "a.mp4").stat().st_ino
    (session / "a.mp4").write_bytes(b"not read again")
    result = run("copy", session, out, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    (answer,) = json.loads(result.stdout)
    assert (answer["copied"], answer["verified"]) == ([], ["a.mp4"])
    assert (out / "a" / "a.mp4").stat().st_ino == inode
    after = json.loads((out / "a" / "manifest.json").read_text())
    assert after["files"] == before["files"]
    assert after["created_at"] == before["created_at"]


def test_altered_copy_is_set_aside_and_made_anew(run: Any, mount: Any, out: Path) -> None:
    session = mount.session("a", files={"a.mp4": CONTENT})
    run("copy", session, out)
    (out / "a" / "a.mp4").write_bytes(b"x" * len(CONTENT))
    result = run("copy", session, out)
    assert result.exit_code == 0
    assert "differs from what was copied there" in result.stderr
    assert (out / "a" / "a.mp4").read_bytes() == CONTENT
    assert (out / "a" / "a.mp4.other1").read_bytes() == b"x" * len(CONTENT)
    check_sums(out / "a")


def test_stranger_under_the_name_is_set_aside_even_when_the_copy_fails(
    run: Any, mount: Any, out: Path
) -> None:
    session = mount.session("a", files={"a.mp4": CONTENT})
    (session / "a.mp4").write_bytes(CONTENT[:-1])
    (out / "a").mkdir(parents=True)
    (out / "a" / "a.mp4").write_bytes(b"stranger")
    assert run("copy", session, out).exit_code == 1
    assert not (out / "a" / "a.mp4").exists()
    assert (out / "a" / "a.mp4.other1").read_bytes() == b"stranger"


def test_deleted_copy_is_made_anew(run: Any, mount: Any, out: Path) -> None:
    session = mount.session("a", files={"a.mp4": CONTENT})
    run("copy", session, out)
    (out / "a" / "a.mp4").unlink()
    assert run("copy", session, out).exit_code == 0
    check_sums(out / "a")


@pytest.mark.promise("G6")
@pytest.mark.parametrize("elsewhere", [True, False])
@pytest.mark.parametrize("there", [CONTENT, CONTENT[::-1], None])
def test_what_was_copied_and_cannot_be_copied_again(
    run: Any, mount: Any, out: Path, elsewhere: bool, there: bytes | None
) -> None:
    """It is verified as everything else is: neither manifest nor sums promise what is not there."""
    session = mount.session("a", files={"a.mp4": CONTENT, "b.mp4": b"b"})
    assert run("copy", session, out).exit_code == 0
    files = json.loads((session / ".session.json").read_text())["files"]
    mount.change(session, files=[{**files[0], "downloadable": False}, files[1]] if elsewhere else files[1:])
    (session / "a.mp4").unlink()
    target = out / "a" / "a.mp4"
    target.unlink()
    if there is not None:
        target.write_bytes(there)
    result = run("copy", session, out, "--json")
    (answer,) = json.loads(result.stdout)
    manifest = json.loads((out / "a" / "manifest.json").read_text())
    whole = there == CONTENT
    assert result.exit_code == int(not whole)
    assert answer["verified"] == (["a.mp4", "b.mp4"] if whole else ["b.mp4"])
    assert sorted(entry["name"] for entry in manifest["files"]) == answer["verified"]
    assert [each["name"] for each in manifest["not_copied"]] == ([] if whole else ["a.mp4"])
    assert len(answer["problems"]) == len(manifest["not_copied"])
    assert target.exists() is whole
    aside = target.with_name("a.mp4.other1")
    assert (aside.read_bytes() if aside.exists() else None) == (None if whole else there)
    check_sums(out / "a")


@pytest.mark.parametrize(
    "entry",
    [{"name": "a.mp4"}, {"name": "../b/b.mp4", "sha256": "0" * 64}, {"name": 1, "sha256": "x"}, {}, 7],
)
def test_a_manifest_with_something_else_in_it(run: Any, mount: Any, out: Path, entry: Any) -> None:
    session, other = mount.session("a", files={"a.mp4": CONTENT}), mount.session("b", files={"b.mp4": b"b"})
    assert run("copy", session, other, out).exit_code == 0
    path = out / "a" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "files": [entry]}))
    assert run("copy", session, out).exit_code == 0
    assert visible(out / "b") == ["SHA256SUMS", "b.mp4", "manifest.json", "report.html"]
    assert [each["name"] for each in json.loads(path.read_text())["files"]] == ["a.mp4"]
    check_sums(out / "a")


def test_result_elsewhere_is_written_down(run: Any, mount: Any, out: Path) -> None:
    session = mount.session("a", files={"a.mp4": CONTENT, "b.mp4": b"", "c.mp4": b"c"})
    (session / "b.mp4").unlink()
    (session / "b.mp4").symlink_to("remote:D%3A%5Cexports%5Cb.mp4")
    files = json.loads((session / ".session.json").read_text())["files"]
    files[1]["downloadable"] = False
    mount.change(session, files=files)
    result = run("copy", session, out)
    assert result.exit_code == 1
    assert result.stderr == (
        f"axxon-exportfs: {session}/b.mp4: not on the server but at D:\\exports\\b.mp4: fetch it from there\n"
    )
    assert visible(out / "a") == ["SHA256SUMS", "a.mp4", "c.mp4", "manifest.json", "report.html"]
    (missing,) = json.loads((out / "a" / "manifest.json").read_text())["not_copied"]
    assert missing["location"] == "D:\\exports\\b.mp4"
    check_sums(out / "a")


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", b""])
def test_wrong_length_never_gets_the_name(run: Any, mount: Any, out: Path, content: bytes) -> None:
    session = mount.session("a", files={"a.mp4": CONTENT, "b.mp4": b"b"})
    (session / "a.mp4").write_bytes(content)
    result = run("copy", session, out)
    assert result.exit_code == 1
    assert f"expected {len(CONTENT)}" in result.stderr
    assert visible(out / "a") == [
        "SHA256SUMS",
        "a.mp4.part",
        "a.mp4.part.state",
        "b.mp4",
        "manifest.json",
        "report.html",
    ]
    check_sums(out / "a")


@pytest.mark.parametrize("cut_off", [True, False])
def test_another_result_under_the_same_id(run: Any, mount: Any, out: Path, cut_off: bool) -> None:
    """A server that gives ids again: what was begun of one result is not continued with another of the same size, and
    what was copied of one does not pass for the other. The footage's times tell them apart."""
    session = mount.session("a", files={"a.mp4": CONTENT})
    if cut_off:
        (session / "a.mp4").write_bytes(CONTENT[: 4 * CHUNK])
    assert run("copy", session, out).exit_code == int(cut_off)
    other = CONTENT[::-1]
    (session / "a.mp4").write_bytes(other)
    files = json.loads((session / ".session.json").read_text())["files"]
    mount.change(session, files=[{**files[0], "max_timestamp": "20260511T080431.000000"}])
    result = run("copy", session, out)
    assert result.exit_code == 0
    assert (out / "a" / "a.mp4").read_bytes() == other
    assert (out / "a" / "a.mp4.other1").exists() is not cut_off
    check_sums(out / "a")


def test_running_failed_removed_and_empty(run: Any, mount: Any, out: Path) -> None:
    sessions = [
        mount.session("running", "running"),
        mount.session("failed", "failed", {"a.mp4": b"a"}, error="agent lost"),
        mount.session("failed2", "failed", error="no footage"),
        mount.session("removed", "removed"),
        mount.session("empty"),
        mount.session("stopped", "stopped", {"a.mp4": b"a"}),
    ]
    result = run("copy", *sessions, out)
    assert result.exit_code == 1
    assert result.stdout == f"{out}/failed\n{out}/stopped\n"
    lines = result.stderr.splitlines()
    assert len(lines) == 5
    assert "still running: first `axxon-exportfs wait running`" in lines[0]
    assert "agent lost (its results so far were copied)" in lines[1]
    assert "no footage" in lines[2]
    assert "no longer on the server" in lines[3]
    assert "without any result" in lines[4]


@pytest.mark.promise("S12")
def test_missing_footage_is_3_and_in_the_manifest(run: Any, mount: Any, out: Path) -> None:
    warning = "the results hold 5 min of the 10 min asked for (50 %)"
    coverage = {"share": 0.5, "warnings": [warning]}
    session = mount.session("a", files={"a.mp4": CONTENT}, coverage=coverage)
    result = run("copy", session, out)
    assert result.exit_code == 3
    assert result.stdout == f"{out}/a\n"
    assert result.stderr == f"axxon-exportfs: a: {warning}\n"
    assert json.loads((out / "a" / "manifest.json").read_text())["session"]["coverage"] == coverage
    check_sums(out / "a")
    # Again, and with something that fails as well.
    again = run("copy", session, out, "--json")
    assert (again.exit_code, json.loads(again.stdout)[0]["coverage"]) == (3, coverage)
    assert run("copy", session, mount.session("b"), out).exit_code == 1


def test_folder_of_another_session(run: Any, mount: Any, out: Path) -> None:
    session = mount.session("a", files={"a.mp4": CONTENT})
    run("copy", session, out)
    mount.change(session, id="another")
    result = run("copy", session, out)
    assert result.exit_code == 1
    assert "choose another DEST" in result.stderr
    (out / "a" / "manifest.json").write_text("{")
    assert "move it away" in run("copy", session, out).stderr


def test_two_at_once(run: Any, mount: Any, out: Path) -> None:
    session = mount.session("a", files={"a.mp4": CONTENT})
    (out / "a").mkdir(parents=True)
    descriptor = os.open(out / "a", os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        result = run("copy", session, out)
    finally:
        os.close(descriptor)
    assert result.exit_code == 1
    assert "another copy is in progress there" in result.stderr


def test_destination_that_cannot_be(run: Any, mount: Any, out: Path) -> None:
    out.write_text("a file")
    result = run("copy", mount.session("a", files={"a.mp4": b"x"}), out)
    assert result.exit_code == 1
    assert "choose another DEST" in result.stderr


def test_names_that_would_hide_or_escape_are_not_copied(run: Any, mount: Any, out: Path) -> None:
    session = mount.session("a", files={"a.mp4": b"a"})
    record = json.loads((session / ".session.json").read_text())
    bad = [{**record["files"][0], "name": name} for name in ("../b", ".hidden", "", "..")]
    mount.change(session, files=[*record["files"], *bad])
    result = run("copy", session, out)
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 4
    assert visible(out / "a") == ["SHA256SUMS", "a.mp4", "manifest.json", "report.html"]


def test_results_named_like_our_own_files(run: Any, mount: Any, out: Path) -> None:
    session = mount.session(
        "a", files={"manifest.json": b"theirs", "SHA256SUMS": b"too", "a.MP4": b"1", "A.mp4": b"2"}
    )
    assert run("copy", session, out).exit_code == 0
    assert visible(out / "a") == [
        "A~2.mp4",
        "SHA256SUMS",
        "SHA256SUMS~2",
        "a.MP4",
        "manifest.json",
        "manifest~2.json",
        "report.html",
    ]
    assert (out / "a" / "manifest~2.json").read_bytes() == b"theirs"
    check_sums(out / "a")


def test_full_disk(run: Any, mount: Any, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = mount.session("a", files={"a.mp4": CONTENT, "b.mp4": b"b"})
    b = mount.session("b", files={"c.mp4": b"c"})
    room = [5 * CHUNK + 300]
    real = os.write

    def write(descriptor: int, data: Any) -> int:
        if not os.readlink(f"/proc/self/fd/{descriptor}").endswith(".part"):
            return real(descriptor, data)
        if room[0] == 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        count = real(descriptor, data[: room[0]])
        room[0] -= count
        return count

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", write)
        result = run("copy", a, b, out)
    assert result.exit_code == 1
    assert result.stderr == (
        f"axxon-exportfs: {out}/a/a.mp4.part: the disk is full: make room and try again; "
        "repeat the command to resume from there\n"
    )
    assert "a.mp4" not in visible(out / "a")
    assert not (out / "b").exists()
    # What was written is not read again: what comes before is spoilt at the source.
    (a / "a.mp4").write_bytes(b"\0" * 5 * CHUNK + CONTENT[5 * CHUNK :])
    assert run("copy", a, b, out).exit_code == 0
    assert (out / "a" / "a.mp4").read_bytes() == CONTENT
    assert visible(out / "a") == ["SHA256SUMS", "a.mp4", "b.mp4", "manifest.json", "report.html"]
    check_sums(out / "a")


def test_killed_between_name_and_manifest(
    run: Any, mount: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = mount.session("a", files={"a.mp4": CONTENT})

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("exportfs.client.manifest.Manifest.save", killed)
        assert run("copy", session, out).exit_code == 130
    assert visible(out / "a") == ["a.mp4", "a.mp4.part.state"]
    (session / "a.mp4").write_bytes(b"not read again")
    assert run("copy", session, out).exit_code == 0
    assert visible(out / "a") == ["SHA256SUMS", "a.mp4", "manifest.json", "report.html"]
    check_sums(out / "a")


@pytest.mark.parametrize("there", [CONTENT[::-1], CONTENT[:-1], None])
def test_what_has_become_of_it_since_it_was_killed_there(
    run: Any, mount: Any, out: Path, monkeypatch: pytest.MonkeyPatch, there: bytes | None
) -> None:
    """What is under the name is not taken for the result because a state file says that this was written there."""
    session = mount.session("a", files={"a.mp4": CONTENT})

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("exportfs.client.manifest.Manifest.save", killed)
        assert run("copy", session, out).exit_code == 130
    target = out / "a" / "a.mp4"
    target.unlink()
    if there is not None:
        target.write_bytes(there)
    assert run("copy", session, out).exit_code == 0
    assert target.read_bytes() == CONTENT
    aside = target.with_name("a.mp4.other1")
    assert (aside.read_bytes() if aside.exists() else None) == there
    check_sums(out / "a")


def test_killed_while_it_copies_again(
    run: Any, mount: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither manifest nor sums nor a report promise what is not there any more."""
    session = mount.session("a", files={"a.mp4": CONTENT, "b.mp4": b"b"})
    assert run("copy", session, out).exit_code == 0
    (out / "a" / "a.mp4").write_bytes(b"altered")

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("exportfs.client.copy_session.copy_result", killed)
        assert run("copy", session, out).exit_code == 130
    manifest = json.loads((out / "a" / "manifest.json").read_text())
    assert [entry["name"] for entry in manifest["files"]] == ["b.mp4"]
    assert check_sums(out / "a") == "b.mp4: OK\nmanifest.json: OK\n"
    assert "report.html" not in visible(out / "a")


def test_a_result_is_held_open_for_sessions_whose_turn_is_yet_to_come(
    run: Any, mount: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a = mount.session("a", files={"a.mp4": b"a"})
    b = mount.session("b", files={"b.mp4": b"b"})
    held: list[set[str]] = []

    def look(*_: Any) -> None:
        names = {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if fd_is_file(fd)}
        # Only those of this mount: other tests may have left files to the garbage collector.
        held.append({name for name in names if name.startswith(f"{mount.root}/") and name.endswith(".mp4")})

    monkeypatch.setattr("exportfs.client.copy_session._copy_session", look)
    run("copy", a, b, out)
    assert held[0] == {f"{a}/a.mp4", f"{b}/b.mp4"}
    # And no longer: the mount would keep them for as long as a script runs.
    look()
    assert held[-1] == set()


def fd_is_file(descriptor: str) -> bool:
    return os.path.lexists(f"/proc/self/fd/{descriptor}")


def test_progress_is_drawn_on_a_terminal(
    run: Any, mount: Any, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=200)
    monkeypatch.setattr("exportfs.cli.terminal.progress.visible", lambda: True)
    monkeypatch.setattr("exportfs.cli.terminal.progress._console", lambda: console)
    assert run("copy", mount.session("a", files={"[red]a.mp4": CONTENT}), out).exit_code == 0
    assert "[red]a.mp4" in drawn.getvalue()


def test_mount_gone_in_between(run: Any, mount: Any, out: Path) -> None:
    session = mount.session("a", files={"a.mp4": CONTENT})
    shutil.move(session / "a.mp4", out)
    result = run("copy", session, out.parent / "other")
    assert result.exit_code == 1
    assert "check the path" in result.stderr


# What is already there, and is not a file of its own.

STRANGER = b"somebody's evidence"


def linked(path: Path, elsewhere: Path) -> None:
    path.symlink_to(elsewhere)


def linked_hard(path: Path, elsewhere: Path) -> None:
    path.hardlink_to(elsewhere)


def fifo(path: Path, elsewhere: Path) -> None:
    os.mkfifo(path)


def folder(path: Path, elsewhere: Path) -> None:
    path.mkdir()


Put = Callable[[Path, Path], None]


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A file of somebody's, which stays as it is."""
    path = tmp_path / "elsewhere"
    path.write_bytes(STRANGER)
    yield path
    assert path.read_bytes() == STRANGER


@pytest.mark.promise("C14")
@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("put", [linked, fifo, folder])
def test_a_result_s_place_is_taken_by_no_file(
    run: Any, mount: Any, out: Path, elsewhere: Path, tmp_path: Path, put: Put, before: bool
) -> None:
    """Nor is a link to the right bytes a copy: what it leads to does not go with the folder."""
    session = mount.session("a", files={"a.mp4": CONTENT})
    right = tmp_path / "right"
    right.write_bytes(CONTENT)
    (out / "a").mkdir(parents=True)
    if before:
        assert run("copy", session, out).exit_code == 0
        (out / "a" / "a.mp4").unlink()
    put(out / "a" / "a.mp4", right)
    result = run("copy", session, out)
    assert (result.exit_code, "it is renamed to a.mp4.other1" in result.stderr) == (0, True)
    assert not (out / "a" / "a.mp4").is_symlink()
    assert (out / "a" / "a.mp4").read_bytes() == CONTENT
    check_sums(out / "a")


def test_a_hard_link_to_the_right_bytes_is_a_file_of_its_own(
    run: Any, mount: Any, out: Path, tmp_path: Path
) -> None:
    """As backups make them. It goes with the folder, and is not written into."""
    session = mount.session("a", files={"a.mp4": CONTENT})
    run("copy", session, out)
    (tmp_path / "backup").hardlink_to(out / "a" / "a.mp4")
    (answer,) = json.loads(run("copy", session, out, "--json").stdout)
    assert answer["verified"] == ["a.mp4"]
    # Nor when it has been altered, by either name.
    (tmp_path / "backup").write_bytes(CONTENT[::-1])
    assert run("copy", session, out).exit_code == 0
    assert (tmp_path / "backup").read_bytes() == CONTENT[::-1]
    check_sums(out / "a")


@pytest.mark.promise("C14")
@pytest.mark.parametrize("name", ["a.mp4.part", "a.mp4.part.state"])
@pytest.mark.parametrize("put", [linked, linked_hard, fifo, folder])
def test_nothing_is_written_into_another_s_file(
    run: Any, mount: Any, out: Path, elsewhere: Path, put: Put, name: str
) -> None:
    session = mount.session("a", files={"a.mp4": CONTENT})
    (out / "a").mkdir(parents=True)
    put(out / "a" / name, elsewhere)
    result = run("copy", session, out)
    assert (result.exit_code, f"{name}: is not what a copy left" in result.stderr) == (0, True)
    assert (out / "a" / "a.mp4").read_bytes() == CONTENT
    assert f"{name}.other1" in visible(out / "a")


@pytest.mark.promise("C14")
@pytest.mark.parametrize("name", [".manifest.json.tmp", ".SHA256SUMS.tmp"])
@pytest.mark.parametrize("put", [linked, linked_hard, fifo])
def test_what_a_killed_copy_may_have_left(
    run: Any, mount: Any, out: Path, elsewhere: Path, put: Put, name: str
) -> None:
    session = mount.session("a", files={"a.mp4": CONTENT})
    (out / "a").mkdir(parents=True)
    put(out / "a" / name, elsewhere)
    assert run("copy", session, out).exit_code == 0
    check_sums(out / "a")


@pytest.mark.promise("C14")
@pytest.mark.parametrize(
    "name", ["manifest.json", "SHA256SUMS", "report.html", "../index.html", "../c/manifest.json"]
)
@pytest.mark.parametrize("put", [linked, fifo])
def test_the_folder_s_own_files(
    run: Any, mount: Any, out: Path, elsewhere: Path, put: Put, name: str
) -> None:
    """Nothing waits for a FIFO, and nothing goes through a link."""
    sessions = [mount.session(name, files={"a.mp4": CONTENT}) for name in "ab"]
    path = out / "a" / name
    (out / "a").mkdir(parents=True)
    (out / "c").mkdir()
    put(path.parent.resolve() / path.name, elsewhere)
    result = run("copy", *sessions, out)
    if name == "manifest.json":
        assert result.exit_code == 1
        assert "manifest.json: cannot be read" in result.stderr
        assert "move it away and copy again" in result.stderr
    else:
        assert result.exit_code == 0
        check_sums(out / "a")
    check_sums(out / "b")


# What disks are like.


def test_a_disk_that_takes_no_such_file(run: Any, mount: Any, out: Path) -> None:
    """Whatever fits is copied, and nothing is left of what does not."""
    session = mount.session("a", files={"a.mp4": CONTENT * 10, "b.mp4": b"b"})
    run("copy", mount.session("other", files={"x": b"x"}), out)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(CONTENT) * 9, hard))
    try:
        result = run("copy", session, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert result.exit_code == 1
    assert f"a.mp4: the disk takes no file of {10 * len(CONTENT)} bytes" in result.stderr
    assert "resume" not in result.stderr
    assert visible(out / "a") == ["SHA256SUMS", "b.mp4", "manifest.json", "report.html"]
    (missing,) = json.loads((out / "a" / "manifest.json").read_text())["not_copied"]
    assert missing["name"] == "a.mp4"
    check_sums(out / "a")
    assert run("copy", session, out).exit_code == 0
    check_sums(out / "a")


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[..., Path]]:
    """Mounts something at `disk`, as root only."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted: list[Path] = []

    def make(*words: object) -> Path:
        done = subprocess.run(["mount", *map(str, words), place], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"cannot mount: {done.stderr}")
        if not mounted:
            mounted.append(place)
        return place

    yield make
    for each in mounted:
        subprocess.run(["umount", "-l", each], check=True)


@pytest.mark.promise("C14")
def test_a_file_system_with_small_files(
    run: Any, mount: Any, disk: Callable[..., Path], tmp_path: Path
) -> None:
    """Said before anything is read. Of an old ext2, since not every machine has FAT: 16 GiB."""
    image = tmp_path / "image"
    with image.open("wb") as file:
        file.truncate(8 << 20)
    made = subprocess.run(["mke2fs", "-q", "-b", "1024", "-O", "^extents", image], capture_output=True)
    if made.returncode:
        pytest.skip("no mke2fs")
    dest = disk("-o", "loop", image)
    session = mount.session("a", files={"a.mp4": b"", "b.mp4": CONTENT})
    (file_a, file_b) = json.loads((session / ".session.json").read_text())["files"]
    mount.change(session, files=[{**file_a, "size": 20 << 30}, file_b])
    os.truncate(session / "a.mp4", 20 << 30)
    result = run("copy", session, dest)
    assert result.exit_code == 1
    assert f"a.mp4: the disk takes no file of {20 << 30} bytes" in result.stderr
    assert visible(dest / "a") == ["SHA256SUMS", "b.mp4", "manifest.json", "report.html"]
    check_sums(dest / "a")


@pytest.mark.promise("C14")
def test_a_disk_that_is_full_at_any_moment(run: Any, mount: Any, disk: Callable[..., Path]) -> None:
    session = mount.session("a", files={"a.mp4": CONTENT, "b.mp4": CONTENT[::-1]})
    codes = []
    for pages in range(2, 40):
        if pages == 2:
            dest = disk("-t", "tmpfs", "-o", f"size={pages * 4}k", "tmpfs")
        else:
            shutil.rmtree(dest / "a", ignore_errors=True)
            disk("-o", f"remount,size={pages * 4}k")
        result = run("copy", session, dest)
        codes.append(result.exit_code)
        for name in ("a.mp4", "b.mp4"):
            path = dest / "a" / name
            assert not path.exists() or path.read_bytes() == (session / name).read_bytes()
        if result.exit_code:
            assert "the disk is full" in result.stderr
            disk("-o", "remount,size=1m")
            assert run("copy", session, dest).exit_code == 0
        check_sums(dest / "a")
        assert visible(dest / "a") == ["SHA256SUMS", "a.mp4", "b.mp4", "manifest.json", "report.html"]
    assert {*codes} == {0, 1}


def test_a_disk_that_is_read_only(run: Any, mount: Any, disk: Callable[..., Path]) -> None:
    session = mount.session("a", files={"a.mp4": CONTENT})
    dest = disk("-t", "tmpfs", "tmpfs")
    run("copy", session, dest)
    disk("-o", "remount,ro")
    for each in (session, mount.session("b", files={"b.mp4": b"b"})):
        result = run("copy", each, dest)
        assert result.exit_code == 1
        assert "ead-only" in result.stderr
    check_sums(dest / "a")


@pytest.mark.parametrize("failure", [errno.EPERM, errno.EINVAL])
def test_a_disk_on_which_no_time_can_be_set(
    run: Any, mount: Any, out: Path, monkeypatch: pytest.MonkeyPatch, failure: int
) -> None:
    """A FAT disk that another user mounted."""

    def refused(*args: Any, **kwargs: Any) -> None:
        raise OSError(failure, os.strerror(failure))

    session = mount.session("a", files={"a.mp4": CONTENT})
    monkeypatch.setattr(os, "utime", refused)
    result = run("copy", session, out)
    assert (result.exit_code, result.stderr) == (0, "")
    check_sums(out / "a")
