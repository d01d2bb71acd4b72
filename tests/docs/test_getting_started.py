"""Pages of docs/, word by word: their console blocks, in one shell, against the simulator that they start."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness import DEADLINE

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```console( terminal)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def steps(block: str) -> Iterator[tuple[str, list[str]]]:
    """Each command of a block and the output that the page shows."""
    for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
        command, *shown = part.splitlines()
        yield command, shown


def matches(shown: list[str], printed: str) -> bool:
    """`...` alone stands for any lines, and within a line for anything; blanks count as one."""
    pattern = ""
    for line in shown:
        if line == "...":
            pattern += r"(?:.*\n)*"
            continue
        words = [re.escape(word) for word in line.split("...")]
        pattern += ".*".join(words).replace(r"\ ", " +") + r" *\n"
    return re.fullmatch(pattern, printed) is not None


def test_matching() -> None:
    assert matches(["a ... c", "..."], "a  b c\nanything\nelse\n")
    assert matches([], "")
    assert not matches(["a"], "b\n")
    assert not matches([], "b\n")


class Shell:
    """One bash for all commands, as a person has it."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            ["bash"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment,
        )

    def run(self, command: str) -> tuple[str, int]:
        """What it prints on either output, and its exit code."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f'{command}\necho "@@$?"\n')
        self.process.stdin.flush()
        printed = ""
        for line in self.process.stdout:
            before, mark, code = line.partition("@@")
            printed += before
            if mark:
                return printed, int(code)
        raise AssertionError(f"the shell ended: {printed}")


def run_beside_others(shell: Shell, command: str) -> tuple[str, int]:
    """Output and exit code. `doctor` looks at all mounts of the machine, and tests that run at the same time leave some
    dead for a moment, on purpose: those are waited for."""
    end = time.monotonic() + DEADLINE
    while True:
        printed, code = shell.run(command)
        if code == 0 or "\nfail  mount " not in printed or time.monotonic() > end:
            return printed, code


@pytest.mark.slow
@pytest.mark.mount
@pytest.mark.parametrize("document", ["getting-started.md", "a-day.md"])
def test_every_command_of_the_page(tmp_path: Path, document: str) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = str(listener.getsockname()[1])
    environment = {**os.environ, "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "EXPORTFS_PASSWORD"):
        environment.pop(name, None)
    terminals: list[subprocess.Popen[str]] = []
    shell = Shell(environment)
    page = (DOCS / document).read_text().replace("20109", port)
    blocks = BLOCK.findall(page)
    assert len(blocks) == page.count("```console") > 4
    try:
        for terminal, block in blocks:
            for command, shown in steps(block):
                if terminal:
                    other = subprocess.Popen(
                        ["bash", "-c", f"exec {command}"], stdout=subprocess.PIPE, text=True, env=environment
                    )
                    terminals.append(other)
                    assert other.stdout is not None
                    printed, code = "".join(other.stdout.readline() for _ in shown), 0
                else:
                    printed, code = run_beside_others(shell, command)
                assert code == 0, f"{command}\n{printed}"
                assert matches(shown, printed), f"{command}\n{printed}\ninstead of\n" + "\n".join(shown)
        for other in terminals:
            other.terminate()
            assert other.wait(DEADLINE) == 0
    finally:
        subprocess.run(["fusermount3", "-u", "-z", tmp_path / "vms"], check=False, capture_output=True)
        shell.process.kill()
        for process in (shell.process, *terminals):
            if process.poll() is None:
                process.kill()
            process.communicate()
