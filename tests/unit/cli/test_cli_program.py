"""The group: lazy loading, exit codes, one line for a failure."""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner

from exportfs import __version__
from exportfs.cli import COMMANDS, Lazy, program
from exportfs.cli.failures import Failure
from exportfs.errors import Busy
from tests.support.harness import DEADLINE

PROGRAM = [sys.executable, "-m", "exportfs"]


def test_help_lists_every_command(run: Any) -> None:
    result = run("--help")
    assert result.exit_code == 0
    assert all((f"\n  {name} " in result.stdout) is not lazy.hidden for name, lazy in COMMANDS.items())
    assert run("-h").stdout == result.stdout


def test_version(run: Any) -> None:
    assert run("--version").stdout == f"axxon-exportfs, version {__version__}\n"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_says_what_the_command_says(name: str) -> None:
    try:
        command = program.get_command(click.Context(program), name)
    except Failure:
        pytest.skip(f"{name} is not here yet")
    assert command is not None
    assert command.get_short_help_str(limit=200) == COMMANDS[name].help
    assert (command.help or "").split("\n")[0].startswith(COMMANDS[name].help.rstrip("."))


@pytest.mark.parametrize(
    "words", [["--help"], ["stop", "--help"], ["stop", "/nowhere"], ["export", "--help"]]
)
def test_nothing_is_imported_in_vain(words: list[str]) -> None:
    code = (
        "import sys\nfrom exportfs.cli import program\n"
        f"try: program.main({words!r})\nexcept SystemExit: pass\n"
        "print([m for m in ('grpc', 'pyfuse3', 'trio', 'rich', 'google.protobuf', 'av') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_wrong_command_line_is_2(run: Any) -> None:
    assert run("exprot").exit_code == 2
    assert run("stop").exit_code == 2
    assert run("wait", "--timeout", "soon", "x").exit_code == 2
    assert run("status", "--nonsense").exit_code == 2


def raising(monkeypatch: pytest.MonkeyPatch, error: BaseException | int) -> None:
    @click.command()
    def stop() -> int:
        if isinstance(error, int):
            return error
        raise error

    monkeypatch.setattr(sys.modules[__name__], "stand_in", stop, raising=False)
    monkeypatch.setitem(COMMANDS, "stop", Lazy(f"{__name__}:stand_in", "x"))


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (Busy("wait a\nlittle \x1b[31m"), 1, "axxon-exportfs: wait a little \\x1b[31m\n"),
        (Failure("no"), 1, "axxon-exportfs: no\n"),
        (
            OSError(28, "x", "/disk/file"),
            1,
            "axxon-exportfs: /disk/file: the disk is full: make room and try again\n",
        ),
        (OSError(9999, "odd"), 1, "axxon-exportfs: odd\n"),
        (OSError("bare"), 1, "axxon-exportfs: bare\n"),
        (Busy(), 1, "axxon-exportfs: Busy\n"),
        (KeyboardInterrupt(), 130, "\n"),
        (3, 3, ""),
        (0, 0, ""),
    ],
)
def test_failures(
    run: Any, monkeypatch: pytest.MonkeyPatch, error: BaseException | int, code: int, line: str
) -> None:
    raising(monkeypatch, error)
    result = run("stop")
    assert (result.exit_code, result.stderr) == (code, line)


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    raising(monkeypatch, ZeroDivisionError("bug"))
    assert isinstance(CliRunner().invoke(program, ["stop"]).exception, ZeroDivisionError)


def test_missing_package_is_named(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(COMMANDS, "simulate", Lazy("exportfs_is_not_here:simulate", "x"))
    result = run("simulate")
    assert result.exit_code == 1
    assert "exportfs_is_not_here" in result.stderr
    assert "axxon-exportfs[simulator]" in result.stderr
    assert result.stderr.count("\n") == 1


def test_full_disk_on_stdout_is_said_once() -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([*PROGRAM, "--version"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 1
    assert done.stderr == "axxon-exportfs: the disk is full: make room and try again\n"


def test_reader_gone_is_no_traceback(mount: Any) -> None:
    words = ["status", "--json", "--watch", str(mount.root)]
    with subprocess.Popen(
        [*PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(DEADLINE) == 1


def test_ctrl_c_is_130(mount: Any) -> None:
    words = ["status", "--json", "--watch", str(mount.root)]
    with subprocess.Popen(
        [*PROGRAM, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        assert process.wait(DEADLINE) == 130
        assert "Traceback" not in process.stderr.read()


def test_completion_imports_no_command() -> None:
    items = ShellComplete(program, {}, "axxon-exportfs", "_X").get_completions([], "st")
    assert [item.value for item in items] == ["status", "stop"]
