"""Processes that the benchmark starts, what they cost, and how they end."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

KINDS = ("CACHE", "CONFIG", "DATA", "STATE")
TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """A subject could not do what was asked. The run goes on, and says so."""


class Child:
    """A program in a session of its own, so that Ctrl-C reaches only us and we end it in order."""

    def __init__(self, command: list[str], log: Path, pipes: bool = False, home: Path | None = None) -> None:
        self.log = log
        end = subprocess.PIPE if pipes else subprocess.DEVNULL
        with log.open("ab") as errors:
            self.process = subprocess.Popen(
                command,
                stdin=end,
                stdout=end if pipes else errors,
                stderr=errors,
                text=True,
                start_new_session=True,
                env=os.environ | {f"XDG_{kind}_HOME": str(home) for kind in KINDS} if home else None,
            )
        self.pid = self.process.pid

    def line(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"ended without an answer: {self.last_words()}")
        return line.strip()

    def say(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()

    def ask(self, text: str) -> dict[str, Any]:
        self.say(text)
        answer: dict[str, Any] = json.loads(self.line())
        return answer

    def alive(self) -> bool:
        return self.process.poll() is None

    def last_words(self) -> str:
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1][:200] if lines else "it said nothing"

    def stop(self, patience: float = 5) -> None:
        # Its children first: an orphan would be nobody's to end.
        tree = [pid for pid in tree_of(self.pid) if pid != self.pid]
        self.process.terminate()
        try:
            self.process.wait(patience)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pid in tree:
            with contextlib.suppress(OSError):
                os.kill(pid, 9)
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()


def python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _stat(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def tree_of(root: int) -> list[int]:
    """A process, its descendants and what else is in its session: a mount's helpers are part of its cost.

    The session matters because some helpers detach themselves from their parent, as sshfs's ssh does.
    """
    children: dict[int, list[int]] = {}
    found = [root]
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                pid, (_, parent, _, session) = int(entry.name), _stat(int(entry.name))[:4]
                children.setdefault(int(parent), []).append(pid)
                if int(session) == root != pid:
                    found.append(pid)
    for pid in found:
        found.extend(child for child in children.get(pid, []) if child not in found)
    return found


def cpu_seconds(root: int) -> float:
    total = 0
    for pid in tree_of(root):
        with contextlib.suppress(OSError):
            total += sum(int(value) for value in _stat(pid)[11:15])  # with children that ended already
    return total / TICKS


def peak_rss_mib(root: int) -> float:
    """Memory that processes share is counted for each: an upper bound."""
    total = 0
    for pid in tree_of(root):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    total += int(line.split()[1])
    return total / 1024


def io_bytes(root: int, field: str) -> int:
    """What read and write calls moved (`rchar`, `wchar`), the network included."""
    total = 0
    for pid in tree_of(root):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/io").read_text().splitlines():
                if line.startswith(f"{field}:"):
                    total += int(line.split()[1])
    return total


def wait_for(what: str, ready: Callable[[], bool], alive: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        if not alive():
            raise Failed(f"{what}: ended early")
        if time.monotonic() > deadline:
            raise Failed(f"{what}: not ready after {seconds:.0f} s")
        time.sleep(0.02)


def unmount(mountpoint: Path) -> None:
    """Politely, and lazily when that is refused: nothing stays behind."""
    fusermount = shutil.which("fusermount3") or "fusermount"
    for flags in ("-u", "-uz"):
        if not os.path.ismount(mountpoint):
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run([fusermount, flags, str(mountpoint)], capture_output=True, timeout=10)
    time.sleep(0.05)


@contextlib.contextmanager
def mounted(command: list[str], mountpoint: Path, log: Path, patience: float = 300) -> Iterator[Child]:
    """A mounting program that stays in the foreground, gone again at the end.

    One that hangs is killed after `patience`, which fails the calls that wait for it.
    """
    mountpoint.mkdir(exist_ok=True)
    log.write_text("")
    # Nothing kept from an earlier mount, or configured by the user, may warm this one.
    home = Path(tempfile.mkdtemp(dir=log.parent))
    child = Child(command, log, home=home)
    watchdog = threading.Timer(patience, child.process.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        try:
            wait_for("mount", lambda: os.path.ismount(mountpoint), child.alive)
        except Failed as error:
            raise Failed(f"{error}: {child.last_words()}") from None
        yield child
    finally:
        watchdog.cancel()
        with contextlib.suppress(OSError):
            unmount(mountpoint)
        child.stop()
        with contextlib.suppress(OSError):
            if os.path.ismount(mountpoint):
                unmount(mountpoint)


def drop_caches() -> bool:
    """Only root may; a fresh mount has no cached pages of its own anyway."""
    os.sync()
    try:
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return False
    return True
