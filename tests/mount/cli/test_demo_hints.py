"""What `demo` suggests can be pasted as it stands, and what it made for itself goes with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import FakeMount

pytest.importorskip("av")

from exportfs.cli.commands.demo import hints, mount_point


@pytest.mark.parametrize("name", ["plain", "with blanks & 'quotes' $HOME"])
def test_hints_run_in_a_shell(tmp_path: Path, name: str) -> None:
    mount = FakeMount(tmp_path / name / "mount")
    session = mount.session("s1", files={"a.mp4": b"x"}, coverage=None)
    (mount.root / "new" / ".template.json").write_text("{}")
    lines = hints(mount.root, session, tmp_path / name)
    # The command is called by its path where a shell would not find it.
    environment = {**os.environ, "PATH": "/usr/bin:/bin"}
    for line in lines:
        if " export " in line:
            subprocess.run(["bash", "-n", "-c", line], check=True)
            continue
        done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=environment, cwd="/")
        assert (done.returncode, done.stderr) == (0, ""), line
    assert (mount.root / "new" / "my.json").read_text() == "{}"
    assert (session / ".control").read_text() == "destroy\n"


def test_the_command_by_its_name_where_that_is_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert any(
        line.startswith("/") and " status " in line for line in hints(tmp_path, tmp_path / "s", tmp_path)
    )
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert any(
        line.startswith("axxon-exportfs status ") for line in hints(tmp_path, tmp_path / "s", tmp_path)
    )


def test_the_folders_that_were_made_for_it_go_with_it(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    with mount_point(tmp_path / "there" / "a" / "b"), mount_point(tmp_path / "there"):
        assert (tmp_path / "there" / "a" / "b").is_dir()
    with mount_point(tmp_path / "there" / "c" / "d"):
        (tmp_path / "there" / "c" / "kept").touch()
    with mount_point(tmp_path / "file"):
        pass  # `mount` says what is wrong with it
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["c", "file", "kept", "there"]
