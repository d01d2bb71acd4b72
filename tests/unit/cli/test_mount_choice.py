"""MOUNTPOINT left out, and sessions by their names."""

import errno
import os
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete

from exportfs.cli import program
from exportfs.cli.failures import Failure
from exportfs.cli.params.mountpoint import chosen_mount, split_mount
from exportfs.client.mounts import usable_mounts
from exportfs.fuse.mountpoint import FILESYSTEM_TYPE, MountEntry
from tests.support.commands import FakeMount

NAME = "20260511T080411Z_Server.DeviceIpint.1_mp4_k3v9x2ma"
CAMERA = "hosts/Server/DeviceIpint.1/SourceEndpoint.video:0:0"
OTHERS = os.geteuid() + 1


def entry(place: Path, *options: str, user: int | None = None, fs_type: str = FILESYSTEM_TYPE) -> MountEntry:
    user = os.geteuid() if user is None else user
    return MountEntry(1, 0, "0:50", "/", place, fs_type, "vms", ("rw", f"user_id={user}", *options))


@pytest.fixture
def mounted(monkeypatch: pytest.MonkeyPatch) -> list[MountEntry]:
    """The machine's mount table, empty at first. All answer, however busy this machine is; none whose name is `stuck`
    does, none of the name `dead` has a process."""
    table: list[MountEntry] = []
    silence = {"stuck": errno.ETIMEDOUT, "dead": errno.ENOTCONN}
    monkeypatch.setattr("exportfs.client.mounts.probe", lambda place, within: silence.get(place.name, 0))
    monkeypatch.setattr("exportfs.client.mounts.mount_table", lambda: table)
    monkeypatch.setattr("exportfs.cli.params.mountpoint.mountpoints", lambda: [one.place for one in table])
    return table


@pytest.mark.promise("C11")
def test_the_only_one(mounted: list[MountEntry]) -> None:
    assert chosen_mount(Path("given")) == Path("given")
    with pytest.raises(Failure, match="nothing is mounted: first"):
        chosen_mount(None)
    mounted += [entry(Path("/mnt/ssh"), fs_type="fuse.sshfs"), entry(Path("/mnt/a"))]
    assert chosen_mount(None) == Path("/mnt/a")
    mounted.append(entry(Path("/mnt/b"), "allow_other", user=OTHERS))
    with pytest.raises(Failure, match="there are 2 mounts; give --mount, one of: /mnt/a, /mnt/b"):
        chosen_mount(None, option="--mount")


@pytest.mark.promise("C11")
def test_mounts_of_other_users(mounted: list[MountEntry], run: Any) -> None:
    mounted += [entry(Path("/mnt/private"), user=OTHERS)]
    assert usable_mounts() == []
    mounted += [entry(Path("/mnt/shared"), "allow_other", user=OTHERS)]
    assert usable_mounts() == [Path("/mnt/shared")]
    # It can be used, but whoever wants to end it has to name it.
    assert usable_mounts(own=True) == []
    result = run("umount")
    assert (result.exit_code, "you have mounted nothing" in result.stderr) == (1, True)


@pytest.mark.parametrize(
    ("words", "mount", "names"),
    [
        ((), None, ()),
        (("gate*",), None, ("gate*",)),
        ((CAMERA,), None, (CAMERA,)),
        (("/mnt/x", "a", "b"), "/mnt/x", ("a", "b")),
        (("./x",), "./x", ()),
        (("..",), "..", ()),
        (("vms", "a"), "vms", ("a",)),
        (("a", "vms"), None, ("a", "vms")),
    ],
)
def test_whether_the_first_word_is_a_mount(
    mounted: list[MountEntry],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: tuple[str, ...],
    mount: str | None,
    names: tuple[str, ...],
) -> None:
    monkeypatch.chdir(tmp_path)
    mounted.append(entry(tmp_path / "vms"))
    assert split_mount(words) == (None if mount is None else Path(mount), names)


@pytest.mark.promise("C11")
def test_sessions_by_name(
    run: Any, mount: Any, mounted: list[MountEntry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    session = mount.session(NAME, files={"a.mp4": b"x"})
    mount.session("running", "running")
    (mount.root / "new" / "first").symlink_to(session)
    assert "there is no such session; see `axxon-exportfs status`" in run("wait", NAME).stderr
    mounted.append(entry(mount.root))
    assert run("wait", NAME).exit_code == 0
    assert run("wait", "first").exit_code == 0
    assert run("copy", NAME, "out").exit_code == 0
    assert (tmp_path / "out" / NAME / "a.mp4").read_bytes() == b"x"
    assert run("stop", "running").stdout == "stopped running\n"
    assert run("destroy", "--yes", NAME).stdout == f"destroyed {NAME}\n"
    assert (session / ".control").read_text() == "destroy\n"
    wrong = run("destroy", "--yes", NAME.replace("k3v9", "k3v8"))
    assert wrong.exit_code == 1
    assert f"the nearest is {NAME}" in wrong.stderr
    # No beginning of a name and no pattern means a session.
    assert run("destroy", "--yes", NAME[:20], f"{NAME[:15]}*").exit_code == 1
    missing = run("copy", NAME, "running")
    assert "DEST is missing" in missing.stderr


def test_a_copy_of_that_name_is_not_taken_for_the_session(
    run: Any, mount: Any, mounted: list[MountEntry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where somebody copied it to, the name is that of a folder."""
    session = mount.session(NAME, files={"a.mp4": b"x"})
    mounted.append(entry(mount.root))
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    assert run("copy", NAME, ".").exit_code == 0
    assert run("wait", NAME).exit_code == 0
    assert run("stop", NAME).exit_code == 0
    assert run("destroy", "--yes", NAME).stdout == f"destroyed {NAME}\n"
    assert (session / ".control").read_text() == "destroy\n"


@pytest.mark.promise("C11")
def test_a_name_in_several_mounts(run: Any, mount: Any, mounted: list[MountEntry], tmp_path: Path) -> None:
    other = FakeMount(tmp_path / "other")
    mounted += [entry(mount.root), entry(other.root)]
    sessions = [one.session(NAME) for one in (mount, other)]
    result = run("destroy", "--yes", NAME)
    assert result.exit_code == 1
    assert f"{NAME} is in several mounts; give the path: {sessions[0]}, {sessions[1]}" in result.stderr
    assert not any((session / ".control").read_text() for session in sessions)


@pytest.mark.promise("C11")
def test_a_name_that_a_silent_mount_may_have(
    run: Any, mount: Any, mounted: list[MountEntry], tmp_path: Path
) -> None:
    """It is not said to be nowhere, and what has that name elsewhere is not taken for it."""
    mounted += [entry(tmp_path / "dead"), entry(tmp_path / "stuck")]
    result = run("destroy", "--yes", "first")
    assert result.exit_code == 1
    assert (
        f"first: the mount at {tmp_path}/stuck does not answer, and may have it: try again" in result.stderr
    )
    mounted.append(entry(mount.root))
    session = mount.session(NAME)
    (mount.root / "new" / "first").symlink_to(session)
    result = run("destroy", "--yes", "first")
    assert result.exit_code == 1
    assert f"{tmp_path}/stuck does not answer, and may have it: give the path: {session}" in result.stderr
    assert (session / ".control").read_text() == ""
    assert run("destroy", "--yes", session).exit_code == 0
    mounted.remove(entry(tmp_path / "stuck"))
    assert run("destroy", "--yes", "first").exit_code == 0


def test_stop_of_what_has_ended(run: Any, mount: Any) -> None:
    for state in ("completed", "failed", "stopped"):
        session = mount.session(state, state)
        result = run("stop", session)
        assert (result.exit_code, result.stdout) == (0, "")
        assert f"{state}: nothing to stop: its state is {state} already" in result.stderr
        assert (session / ".control").read_text() == ""


def test_words_people_use(run: Any, mount: Any) -> None:
    words = ["export", mount.root, "--camera", "gate", "--dry-run", "--from", "2026-05-11T10:00Z"]
    result = run(*words, "--duration", "0:10:00", "--format", "MP4", "--quality", "Best")
    assert result.exit_code == 0
    assert '"endTimestamp": "2026-05-11T10:10:00+00:00"' in result.stdout
    assert result.stdout == run(*words, "--duration", "10min", "--format", ".mp4", "--quality", "best").stdout
    assert '"JPEG"' in run(*words, "--format", "jpeg").stdout


def test_completion_of_sessions(mount: Any, mounted: list[MountEntry]) -> None:
    mount.session(NAME)
    mounted.append(entry(mount.root))
    complete = ShellComplete(program, {}, "axxon-exportfs", "_X")
    assert [item.value for item in complete.get_completions(["wait"], "2026")] == [NAME]
    assert [item.type for item in complete.get_completions(["wait"], "./x")] == ["file"]
    assert isinstance(program, click.Group)
