"""Pages of docs/, word by word: their console blocks, in one shell, against the simulator that they start."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.harness import DEADLINE
from tests.support.namespace import without_copies
from tests.support.ports import reserved

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


def without_others(printed: str, folder: Path) -> str:
    """What `doctor` printed, without what it says of mounts elsewhere: it looks at all of the machine, and there tests
    that run at the same time, or were killed, leave dead ones."""
    kept, ours = [], True
    for line in printed.splitlines(keepends=True):
        if not line.startswith(" "):
            about = re.match(r"\w+ +mount (/\S+)", line)
            ours = about is None or Path(about[1]).is_relative_to(folder)
        if ours:
            kept.append(line)
    return "".join(kept)


def test_mounts_elsewhere() -> None:
    ours = "ok    mount /here/mnt  answers\nfail  mount path  is not set\n      -> do so\n"
    theirs = "fail  mount /there/mnt  left behind by a crash\n      -> unmount it\nok    mount /hereafter  answers\n"
    assert without_others(theirs + ours + theirs, Path("/here")) == ours


@pytest.mark.slow
@pytest.mark.mount
@pytest.mark.parametrize("document", ["getting-started.md", "a-day.md"])
def test_every_command_of_the_page(tmp_path: Path, document: str) -> None:
    with reserved() as port:
        run_page(tmp_path, document, port)


def run_page(tmp_path: Path, document: str, port: int) -> None:
    """With this port in place of the simulator's own."""
    environment = {**os.environ, "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    environment["PATH"] = f"{Path(sys.executable).parent}:{environment['PATH']}"
    for name in ("XDG_STATE_HOME", "XDG_CONFIG_HOME", "EXPORTFS_PASSWORD"):
        environment.pop(name, None)
    terminals: list[subprocess.Popen[str]] = []
    shell = Shell(environment)
    page = (DOCS / document).read_text().replace("20109", str(port))
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
                    printed, code = shell.run(command)
                if "umount" in command:
                    printed = without_copies(printed)
                if "doctor" in command:
                    printed = without_others(printed, tmp_path)
                    code = code and int("\nfail " in printed)
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
