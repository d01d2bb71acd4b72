"""What README promises of a bare Debian: it begins with git, make, python3 and ca-certificates, and nothing else.

Every release sees root and an ordinary user, a clone and an sdist, the foreground and nohup; of their combinations
those below. Both users run the part of the suite that depends on the machine. With EXPORTFS_MACHINES=whole one of the
two runs the whole suite (without tests/players, tests/servers and the browser, whose programs are a gigabyte for each
release), the other what has to do with real mounts: that is for before a release, and takes half an hour.
"""

import functools
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.docs.test_project import ROOT, sdist_of

pytestmark = [pytest.mark.bare, pytest.mark.timeout(3000)]

RELEASES = ("bookworm", "trixie")
MACHINES = Path(os.environ.get("MACHINES", "/var/tmp/exportfs-machines"))
NONE_MADE = 77
"""Exit code of `.ci/fresh-debian` where no such machine can be made."""
OTHERS = "--ignore=tests/players --ignore=tests/servers --ignore=tests/pages/test_browser.py"
PART = (
    "tests/unit/requests tests/unit/test_naming.py tests/unit/test_zones.py tests/unit/contract tests/unit/sessions"
    " tests/unit/cameras tests/mount/test_daemon.py"
    " tests/mount/test_grpc_environment.py tests/tree/test_main_job.py tests/tree/test_tree.py"
)
"""What depends on the machine: Python (text, times, messages), the kernel's and libfuse's ways, being a daemon."""
IS_WHOLE = os.environ.get("EXPORTFS_MACHINES") == "whole"
WHOLE = OTHERS if IS_WHOLE else PART
MOUNTS = f"{OTHERS} -m mount" if IS_WHOLE else PART
SUITE = 'make test PLAYER_PACKAGES= SERVER_PACKAGES= NODE_SERVER= PYTEST_ARGS="-q {what}" </dev/null'


def by_release() -> pytest.MarkDecorator:
    """One test after the other of a release, the releases side by side."""
    marks = [pytest.param(name, marks=pytest.mark.xdist_group(name)) for name in RELEASES]
    return pytest.mark.parametrize("release", marks)


def run(
    release: str, user: str, command: str, *bring: Path, keep: str | None = None, boot: bool = False
) -> str:
    """The output of a command on such a machine. Skips where there can be none; fails where the command fails."""
    words: list[str | os.PathLike[str]] = [ROOT / ".ci/fresh-debian"]
    words += ["--keep", keep] if keep else []
    words += ["--boot"] if boot else []
    for path in bring:
        words += ["--bring", path]
    done = subprocess.run(
        [*words, release, user, command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode == NONE_MADE:
        pytest.skip(done.stdout.strip().rpartition("\n")[2])
    assert done.returncode == 0, "\n".join(done.stdout.splitlines()[-150:])
    return done.stdout


@functools.cache
def clone(folder: Path) -> Path:
    """The project as git gives it; as an sdist where there is no git."""
    target = folder / "exportfs"
    if (ROOT / ".git").exists():
        subprocess.run(["git", "clone", "-q", ROOT, target], check=True)
        return target
    return sdist(folder)


def sdist(folder: Path) -> Path:
    root, _ = sdist_of(ROOT, folder / "sdist")
    return root.rename(folder / "exportfs")


@by_release()
def test_as_root(release: str, tmp_path: Path) -> None:
    """`make demo` comes first: nothing is installed yet. The package is made where all that was tested is."""
    if release == "bookworm":
        source, how, what = clone(tmp_path), "", MOUNTS
    else:
        source, how, what = sdist(tmp_path), "nohup ", WHOLE
    steps = ["cd exportfs", f"{how}make demo </dev/null", how + SUITE.format(what=what), "make deb"]
    told = run(release, "root", " && ".join(steps), source, keep="made")
    assert "Everything is cleaned up." in told


@by_release()
def test_as_an_ordinary_user(release: str, tmp_path: Path) -> None:
    """Who has the system's packages needs no root."""
    if release == "bookworm":
        source, how, what = sdist(tmp_path), "nohup ", WHOLE
    else:
        source, how, what = clone(tmp_path), "", MOUNTS
    told = run(
        release,
        "ana",
        " && ".join(["cd exportfs", f"{how}make demo </dev/null", how + SUITE.format(what=what)]),
        source,
        keep="made",
    )
    assert "Everything is cleaned up." in told
    assert "no right to install" not in told


def package(release: str, folder: Path) -> Path:
    """Made where the suite ran, or here where it did not, or with another state of the sources than this one."""
    made = MACHINES / f"{release}.made/upper/root/exportfs"
    if not list(made.glob("dist/*.deb")) or packaged(made) != packaged(ROOT):
        shutil.rmtree(MACHINES / f"{release}.made", ignore_errors=True)
        run(release, "root", "cd exportfs && make deb", clone(folder), keep="made")
    (found,) = made.glob("dist/*.deb")
    return found


def packaged(root: Path) -> dict[str, str]:
    """What a package is made of, by its SHA-256; without what is generated."""
    files = [root / "pyproject.toml", root / "requirements.lock", root / "README.md"]
    for folder in ("exportfs", "protos", "package", "docs"):
        files += (path for path in (root / folder).rglob("*") if path.is_file())
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
        if not {"__pycache__", "axxonsoft"} & set(path.relative_to(root).parts) or "protos" in path.parts
    }


@by_release()
def test_the_package(release: str, tmp_path: Path) -> None:
    """Installed, used by root and by a user, and purged, it leaves nothing."""
    script = Path(__file__).with_name("package.sh")
    run(release, "root", "sh -eux package.sh", package(release, tmp_path), script)


@by_release()
def test_with_its_systemd(release: str, tmp_path: Path) -> None:
    """Its units and fstab, by a systemd that is really booted: crashes, hurried stops, logrotate, a reboot."""
    shutil.rmtree(MACHINES / f"{release}.booted", ignore_errors=True)
    script = Path(__file__).with_name("systemd.sh")
    run(release, "root", "bash -eux systemd.sh prepare", package(release, tmp_path), script, keep="booted")
    for boot in ("first", "second"):
        run(release, "root", f"bash -eux systemd.sh {boot}", keep="booted", boot=True)


@by_release()
def test_nfs_with_its_systemd(release: str, tmp_path: Path) -> None:
    """The mount and nfs-ganesha as gateway.md has them, with both drop-ins, by a systemd that is really booted."""
    shutil.rmtree(MACHINES / f"{release}.ganesha", ignore_errors=True)
    script, page = Path(__file__).with_name("ganesha.sh"), ROOT / "docs/gateway.md"
    run(
        release,
        "root",
        "bash -eux ganesha.sh prepare",
        package(release, tmp_path),
        script,
        page,
        keep="ganesha",
    )
    run(release, "root", "bash -eux ganesha.sh booted", keep="ganesha", boot=True)
