"""What holds for the project as a whole."""

import ast
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HOST = re.compile(
    r"index[-]url|^registry *=|https?://[^ \"]+/simple\b|https?://[^ \"]+\.(whl|tar\.gz|tgz)\b", re.M
)


def test_imports_go_down_only() -> None:
    command = [str(Path(sys.executable).parent / "lint-imports"), "--no-logo", "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_the_lock_file_names_no_registry() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert not HOST.search(text)
    assert "--hash=sha256:" in text


def test_generated_messages_are_not_committed() -> None:
    assert "/exportfs/wire/axxonsoft/" in (ROOT / ".gitignore").read_text().splitlines()


POSSESSIVE_GROUP = re.compile(r"\)(?:[*+?]|\{[\d,]*\})\+|\(\?>")


def test_no_regex_that_an_older_python_misreads() -> None:
    """Possessive and atomic groups match wrongly before Python 3.11.5; those of one character do not."""
    assert POSSESSIVE_GROUP.search(r"(?:[^x]+|\\u[0-9]{4})*+")
    assert POSSESSIVE_GROUP.search(r"(?>a|ab)c")
    assert not POSSESSIVE_GROUP.search(r"(?:[0-9]++)?(a)+")
    for path in (ROOT / "exportfs").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                assert not POSSESSIVE_GROUP.search(node.value), f"{path}:{node.lineno}"


def sdist_of(checkout: Path, folder: Path) -> tuple[Path, set[str]]:
    """An sdist, built and unpacked: where, and its files."""
    folder.mkdir()
    build = [sys.executable, "-m", "hatchling", "build", "-t", "sdist", "-d", str(folder)]
    subprocess.run(build, cwd=checkout, check=True, capture_output=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extraction_filter = lambda member, path: member
        tar.extractall(folder)
    root = folder / archive.name.removesuffix(".tar.gz")
    return root, {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_the_sdist_is_a_checkout(tmp_path: Path) -> None:
    """`make demo`, `make test` and `make lint` need files that no wheel holds; and one made of it is the same."""
    first, files = sdist_of(ROOT, tmp_path / "first")
    if (ROOT / ".git").exists():
        listing = ["git", "-C", str(ROOT), "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        listed = subprocess.run(listing, check=True, capture_output=True, text=True).stdout
        assert files == {name for name in listed.split("\0") if name and (ROOT / name).exists()} | {
            "PKG-INFO"
        }
    else:
        assert {".ci/run", ".gitignore", "requirements.lock", "Makefile", "tests/conftest.py"} <= files
    _, again = sdist_of(first, tmp_path / "second")
    assert again == files


@pytest.mark.slow
def test_documents_are_in_the_wheel(tmp_path: Path) -> None:
    """`axxon-exportfs docs` finds them there."""
    # Not of this checkout: building generates the messages anew, under the feet of other tests.
    root, _ = sdist_of(ROOT, tmp_path / "sdist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=root, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {
            name.removeprefix("exportfs/docs/") for name in archive.namelist() if "exportfs/docs/" in name
        }
    assert inside == {page.name for page in (ROOT / "docs").glob("*.md")}
