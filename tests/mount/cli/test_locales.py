"""The commands run in UTF-8 whatever the locale says, and names that are no UTF-8 survive."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import FakeMount
from tests.support.harness import OURS

NAME = "Eingang_Süd_정문.mp4"

SHOW = """
import sys, os
from exportfs.cli.daemon.inherited import prepare_process
prepare_process()
for name in sys.argv[1:]:
    sys.stdout.write(name + "\\n"); sys.stdout.flush()
    sys.stderr.write(name + "\\n")
    print(os.fsencode(name).hex())
print(sys.getfilesystemencoding(), open(__file__).encoding)
"""

# Several commands, each in a process of its own, that share the start of the interpreter, which is the same for all.
AFTER_THE_START = """
import os, sys
from exportfs.cli.daemon.inherited import prepare_process
prepare_process()
from exportfs.cli import main
for words in sys.argv[1:]:
    if os.fork() == 0:
        sys.argv[1:] = words.split("\\n")
        main()
        os._exit(1)
    code = os.waitstatus_to_exitcode(os.wait()[1])
    if code:
        sys.exit(code)
"""


@pytest.fixture(scope="session")
def locales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for locales that are made here."""
    return tmp_path_factory.mktemp("locales")


@pytest.fixture(params=["ko_KR.EUC-KR", "de_DE.ISO-8859-1", "C", "POSIX", "C.UTF-8"])
def locale(request: pytest.FixtureRequest, locales: Path) -> dict[str, str]:
    """An environment with the locale, made here where the system has no such one."""
    name: str = request.param
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHON"))
    }
    if "." in name and name != "C.UTF-8":
        language, _, charmap = name.partition(".")
        if not (locales / name).exists():
            made = subprocess.run(
                ["localedef", "-c", "-i", language, "-f", charmap, locales / name],
                capture_output=True,
                check=False,
            )
            if not (locales / name).exists():
                pytest.skip(f"no sources of locales here: {made.stderr!r}")
        environment["LOCPATH"] = str(locales)
    return {**environment, "LC_ALL": name, "PYTHONCOERCECLOCALE": "0"}


def test_arguments_and_output_survive(locale: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "show.py").write_text(SHOW)
    names = [NAME.encode(), b"latin-\xe4\xff.mp4", NAME.encode("euc-kr", "ignore")]
    words = [os.fsencode(sys.executable), os.fsencode(tmp_path / "show.py"), *names]
    result = subprocess.run(words, env=locale, capture_output=True, check=False)
    assert result.returncode == 0, result.stderr
    *shown, encodings = result.stdout.splitlines()
    assert shown == [line for name in names for line in (name, name.hex().encode())]
    assert encodings.lower() == b"utf-8 utf-8"
    assert len(result.stderr.splitlines()) == len(names)


def test_copy_and_status(locale: dict[str, str], tmp_path: Path) -> None:
    mount = FakeMount(tmp_path / "mount")
    session = mount.session("20260511T080411Z_Süd_mp4_k3v9x2ma", files={NAME: b"bytes"})
    environment = {**locale, "XDG_STATE_HOME": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path)}
    commands = (
        ["copy", os.fspath(session), os.fspath(tmp_path / "käse")],
        ["status", os.fspath(mount.root)],
        ["wait", os.fspath(session)],
        ["--help"],
    )
    ways = [[*OURS, *commands[0]]]
    ways += [[sys.executable, "-c", AFTER_THE_START, *map("\n".join, commands[1:])]]
    for words in ways:
        result = subprocess.run(
            words, env=environment, capture_output=True, stdin=subprocess.DEVNULL, check=False
        )
        assert b"Traceback" not in result.stderr, (words, result.stderr)
        assert b"Unicode" not in result.stderr
        assert result.returncode == 0, (words, result)
    copies = list((tmp_path / "käse").rglob("*.mp4"))
    assert [path.name for path in copies] == [NAME]


def test_an_encoding_of_the_output_alone(locale: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "show.py").write_text(SHOW)
    result = subprocess.run(
        [sys.executable, tmp_path / "show.py", NAME],
        env={**locale, "PYTHONIOENCODING": "ascii:strict"},
        capture_output=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert b"Eingang" in result.stdout


def test_completion(locale: dict[str, str]) -> None:
    result = subprocess.run(
        OURS,
        env={
            **locale,
            "_AXXON_EXPORTFS_COMPLETE": "bash_complete",
            "COMP_WORDS": "axxon-exportfs mou",
            "COMP_CWORD": "1",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    assert result.stdout.splitlines() == ["plain,mount"]


def test_no_second_start_where_all_is_well(tmp_path: Path) -> None:
    """In a UTF-8 locale the interpreter is started once."""
    (tmp_path / "show.py").write_text(SHOW + "print(sys.flags.utf8_mode, sys.orig_argv[1])\n")
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith(("LC_", "LANG", "PYTHON"))
    }
    result = subprocess.run(
        [sys.executable, tmp_path / "show.py", "x"],
        env={**environment, "LC_ALL": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.splitlines()[-1] == f"0 {tmp_path / 'show.py'}"
