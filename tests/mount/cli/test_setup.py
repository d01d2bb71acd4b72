"""`setup`: below a directory of the test's own, and once for real."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import exportfs.cli as program_module
from exportfs.cli import program, reference
from exportfs.cli.install.files import completion, our_command, unit
from exportfs.cli.install.trust import changeable_by_others, parts_of_this_program
from tests.support.commands import Run
from tests.support.harness import OURS
from tests.support.namespace import namespace

HELPER = "sbin/mount.fuse.axxon-exportfs"
UPDATEDB = 'PRUNE_BIND_MOUNTS="yes"\nPRUNEFS="NFS nfs fuse.sshfs"\n'


def files(root: Path) -> dict[str, str]:
    """Everything below, with its content."""
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    (root / "etc/updatedb.conf").write_text(UPDATEDB)
    return root


def test_install_and_undo(run: Run, root: Path) -> None:
    before = files(root)
    result = run("setup", "--system", "--root", root)
    assert result.exit_code == 0, result.output
    installed = files(root)
    assert installed["etc/updatedb.conf"] == UPDATEDB.replace("sshfs", "sshfs fuse.axxon-exportfs")
    assert os.access(root / HELPER, os.X_OK)
    assert installed["usr/local/share/man/man1/axxon-exportfs.1"] == reference.man()
    for path in installed.keys() - before.keys():
        if not path.startswith("var/lib"):
            assert str(root / path) in result.stdout

    again = run("setup", "--system", "--root", root)
    assert again.exit_code == 0
    assert "installed" not in again.stdout
    assert files(root) == installed

    assert run("setup", "--system", "--root", root, "--undo").exit_code == 0
    assert files(root) == before
    assert sorted(path.name for path in root.rglob("*")) == ["etc", "updatedb.conf"]
    assert "nothing is installed" in run("setup", "--system", "--root", root, "--undo").stdout


def test_dry_run_changes_nothing(run: Run, root: Path) -> None:
    before = files(root)
    result = run("setup", "--system", "--root", root, "--dry-run")
    assert str(root / HELPER) in result.stdout
    assert files(root) == before
    run("setup", "--system", "--root", root)
    installed = files(root)
    assert (
        f"{root / HELPER}: would be removed"
        in run("setup", "--system", "--root", root, "--undo", "--dry-run").stdout
    )
    assert files(root) == installed


def test_what_others_put_there_stays(run: Run, root: Path) -> None:
    (root / "sbin").mkdir()
    (root / HELPER).write_text("somebody else's")
    result = run("setup", "--system", "--root", root)
    assert result.exit_code == 1
    assert "not installed by setup" in result.stderr
    run("setup", "--system", "--root", root, "--undo")
    assert files(root) == {HELPER: "somebody else's", "etc/updatedb.conf": UPDATEDB}


def test_what_was_changed_since_stays(run: Run, root: Path) -> None:
    run("setup", "--system", "--root", root)
    service = root / "etc/systemd/system/axxon-exportfs@.service"
    service.write_text(service.read_text() + "# mine\n")
    result = run("setup", "--system", "--root", root, "--undo")
    assert f"{service}: was changed since" in result.stdout
    assert service.exists()
    assert not (root / HELPER).exists()


def test_a_newer_version_goes_over_an_older(run: Run, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(reference, "__version__", "0.0.1")
        run("setup", "--system", "--root", root)
    man = root / "usr/local/share/man/man1/axxon-exportfs.1"
    assert "0.0.1" in man.read_text()
    assert run("setup", "--system", "--root", root).exit_code == 0
    assert man.read_text() == reference.man()


def test_for_a_user(run: Run, root: Path) -> None:
    assert run("setup", "--user", "--root", root).exit_code == 0
    names = {Path(path).name for path in files(root)}
    assert {"axxon-exportfs@.service", "_axxon-exportfs", "axxon-exportfs.fish", "axxon-exportfs.1"} <= names
    assert not (root / "sbin").exists()
    assert run("setup", "--user", "--root", root, "--undo").exit_code == 0
    assert files(root) == {"etc/updatedb.conf": UPDATEDB}


@pytest.mark.parametrize("of_system", [True, False])
def test_systemd_takes_the_units(of_system: bool, tmp_path: Path) -> None:
    text = unit(of_system)
    for line in ("Type=notify", "WatchdogSec=60", "LoadCredential=password:", "KillMode=mixed"):
        assert line in text
    # A crash leaves a dead mount, on which mkdir fails; the next one replaces it, however often.
    assert "ExecStartPre=-/bin/mkdir" in text
    assert "StartLimitIntervalSec=0" in text
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd-analyze")
    (tmp_path / "axxon-exportfs@.service").write_text(text)
    done = subprocess.run(
        [
            "systemd-analyze",
            "verify",
            *([] if of_system else ["--user"]),
            tmp_path / "axxon-exportfs@hq.service",
        ],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )
    # Only what it says of our file: a container's own units are not ours to mend.
    lines = [line for line in done.stderr.splitlines() if "exportfs" in line]
    assert [line for line in lines if "Command 'man" not in line] == []


def test_the_unit_only_uses_options_that_there_are() -> None:
    import click

    mount = program.get_command(click.Context(program), "mount")
    assert mount is not None
    known = {option for parameter in mount.params for option in parameter.opts}
    for text in (unit(True), unit(False)):
        (line,) = [line for line in text.splitlines() if line.startswith("ExecStart=")]
        assert {word for word in line.split() if word.startswith("--")} <= known


def test_bash_completes() -> None:
    script = completion("bash") + (
        'COMP_WORDS=(axxon-exportfs sta); COMP_CWORD=1; "$(complete -p axxon-exportfs | sed "s/.*-F //;s/ .*//")" '
        'axxon-exportfs sta axxon-exportfs; echo "${COMPREPLY[@]}"'
    )
    folder = Path(__file__).parents[3] / ".venv/bin"
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.split() == ["status"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_setup_installs_and_undoes(tmp_path: Path) -> None:
    """In a namespace whose system folders are copies: this machine stays as it is."""
    before = Path("/", HELPER).exists()
    folders = ("/etc", os.path.realpath("/sbin"), "/usr/share", "/usr/local", "/var/lib")
    with namespace(tmp_path, *folders, alone=True) as here:
        here.run(*OURS, "setup", "--system")
        here.run("test", "-x", f"/{HELPER}")
        unit_file = here.run("cat", "/etc/systemd/system/axxon-exportfs@.service").stdout
        assert "KillMode=mixed" in unit_file
        here.run(*OURS, "setup", "--system", "--undo")
        here.run("test", "-e", f"/{HELPER}", code=1)
        here.run("test", "-e", "/var/lib/axxon-exportfs", code=1)
    assert Path("/", HELPER).exists() == before


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_others_can_change_is_not_installed_for_root(tmp_path: Path) -> None:
    """As with `sudo ~/.local/bin/axxon-exportfs setup`: here the interpreter's folder is a user's."""
    (tmp_path / "scratch").mkdir()
    with namespace(
        tmp_path / "scratch", "/etc", os.path.realpath("/sbin"), "/usr/share", "/usr/local"
    ) as here:
        home = tmp_path / "home"
        home.mkdir()
        (home / "python").symlink_to(sys.executable)
        os.chown(home, 65534, 65534)
        done = here.run(home / "python", "-c", AS_OF_A_USER, home / "python", "setup", "--system", code=1)
        assert "and root would run it" in done.stderr
        assert "/opt/axxon-exportfs" in done.stderr
        assert done.stderr.count("\n") == 1
        here.run("test", "-e", f"/{HELPER}", code=1)


AS_OF_A_USER = (
    f"import sys; sys.path[:] = {sys.path!r}; sys.executable = sys.argv.pop(1); "
    "from exportfs.cli import main; main()"
)


def look(mode: int = 0o40755, uid: int = 0, gid: int = 0) -> os.stat_result:
    return os.stat_result((mode, 1, 1, 1, uid, gid, 0, 0, 0, 0))


def looking(place: Path, status: os.stat_result) -> Callable[[Path], os.stat_result]:
    """As `os.lstat`: this status at one place, and a harmless one elsewhere."""
    return lambda path: status if path == place else look()


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (look(), None),
        (look(0o40755, uid=65534), "belongs to"),
        (look(0o41777), "writable by everybody"),
        (look(0o40775), None),
        (look(0o40775, gid=987654), "writable by group 987654"),
        (look(0o120777), None),
    ],
)
def test_who_can_change_it(tmp_path: Path, status: os.stat_result, says: str | None) -> None:
    """Any component of a path, of a link's end, and of each link between."""
    deep = tmp_path / "deep/er"
    deep.mkdir(parents=True)
    (tmp_path / "first").symlink_to("second")
    (tmp_path / "second").symlink_to("deep")
    for place in (deep, deep.parent, tmp_path / "second", tmp_path / "first"):
        wrong = changeable_by_others(
            [tmp_path / "first" / "er"],
            looking(place, status),
        )
        assert (wrong is None) == (says is None)
        if says is not None:
            assert wrong is not None
            assert wrong.startswith(str(place))
            assert says in wrong


def test_all_that_runs_is_looked_at() -> None:
    import click

    parts = set(parts_of_this_program(our_command()))
    assert {Path(sys.executable), Path(click.__file__), Path(program_module.__file__)} <= parts


def test_the_package_has_it_all(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sys.prefix", "/usr/lib/axxon-exportfs")
    monkeypatch.setattr("exportfs.cli.commands.setup.changeable_by_others", lambda parts: None)
    result = run("setup", "--system", "--dry-run")
    assert result.exit_code == 0
    assert "the package has installed" in result.stdout
    assert "would install" not in result.stdout
    # For oneself, or elsewhere, it is installed as ever.
    assert "would install" in run("setup", "--system", "--dry-run", "--root", tmp_path).stdout
