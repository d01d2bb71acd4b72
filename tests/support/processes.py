"""The processes and mounts of a test: found by a mark in their environment, asked for their stacks, and ended.

Each test has a mark of its own, which whatever it starts inherits, daemons included. What a fixture of a wider scope
starts carries the mark of its worker.
"""

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

MARK = "EXPORTFS_TEST"
"""The environment variable; its value is `RUN:WORKER:NUMBER`, the number of the test or 0."""
ENDS_WITHIN = 20.0
"""Seconds that a process which was told to end may take beyond its test."""
ANSWERS_WITHIN = 3.0
"""Seconds for a process to write its stacks."""
KERNEL_THREAD = 0x00200000
"""PF_KTHREAD in the flags of /proc/PID/stat (linux/sched.h)."""
SOURCE = "fuse.axxon-exportfs"


@dataclass(frozen=True)
class Process:
    pid: int
    command: str

    def __str__(self) -> str:
        return f"{self.pid}: {self.command}"


def shared_mark() -> dict[str, str]:
    """The variable that marks what outlives the test that needs it first: not as that test's."""
    run, colon, _ = os.environ.get(MARK, "").rpartition(":")
    return {MARK: f"{run}:0;"} if colon else {}


def names_in_proc() -> set[str]:
    """Of the processes there are, and what else stands there, which is always the same and no number."""
    return set(os.listdir("/proc"))


def marked(mark: str, folder: Path | None = None, besides: Collection[str] = ()) -> list[Process]:
    """Processes with this mark, but for this one; `folder` tells those whose environment we may not read, mounts of an
    ordinary user among them: it is in their command line. `besides` need no look: they were there before."""
    wanted = f"\0{MARK}={mark}".encode()
    found = []
    for name in filter(str.isdecimal, names_in_proc().difference(besides, (str(os.getpid()),))):
        process = Path("/proc", name)
        with contextlib.suppress(OSError):
            words = _command_line(process)
            if not words:  # of the kernel, or ended and not waited for
                continue
            try:
                ours = wanted in b"\0" + process.joinpath("environ").read_bytes()
            except PermissionError:
                ours = folder is not None and os.fsencode(folder) + b"/" in words
            if ours:
                found.append(Process(int(name), words.replace(b"\0", b" ").decode(errors="replace").strip()))
    return found


def _command_line(process: Path) -> bytes:
    """Of a process that is just becoming another program, the new one's: in between it has none."""
    end = time.monotonic() + ANSWERS_WITHIN
    while True:
        words = process.joinpath("cmdline").read_bytes()
        if words or time.monotonic() > end:
            return words
        fields = process.joinpath("stat").read_text().rpartition(")")[2].split()
        if fields[0] in "ZX" or int(fields[6]) & KERNEL_THREAD:
            return b""


def ended(processes: list[Process], within: float) -> bool:
    """Whether all of them end in time. Zombies count as ended: their parent is at fault, and is ours."""
    end = time.monotonic() + within
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            descriptor = os.pidfd_open(process.pid)
            with os.fdopen(descriptor):
                if not select.select([descriptor], [], [], max(0.0, end - time.monotonic()))[0]:
                    return False
    return True


def kill(processes: list[Process]) -> None:
    """At once, whatever they do."""
    for process in processes:
        with contextlib.suppress(OSError):
            os.kill(process.pid, signal.SIGKILL)


def mounts_below(folder: Path) -> list[Path]:
    """Mount points of exportfs in this folder, innermost first. From the kernel's table: no mount is asked."""
    table = Path("/proc/self/mountinfo").read_bytes()
    places = []
    # Of bytes: a path may hold what else counts as the end of a line in text. Mostly there is none of ours.
    for line in map(os.fsdecode, table.split(b"\n") if SOURCE.encode() in table else ()):
        left, _, right = line.partition(" - ")
        if right.startswith(SOURCE):
            place = Path(_unescaped(left.split()[4]))
            if place.is_relative_to(folder):
                places.append(place)
    return sorted(places, key=lambda place: len(place.parts), reverse=True)


def _unescaped(field: str) -> str:
    for code, char in (("040", " "), ("011", "\t"), ("012", "\n"), ("134", "\\")):
        field = field.replace(f"\\{code}", char)
    return field


def unmount(places: list[Path]) -> None:
    """Lazily, so that it always succeeds."""
    for place in places:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = ["fusermount3", "-u", "-z", os.fspath(place)]
            subprocess.run(command, check=False, capture_output=True, timeout=ENDS_WITHIN)


def stacks(processes: list[Process]) -> str:
    """What those that explain themselves on SIGUSR1 write to their files on it; nothing is asked of the others."""
    asked = [process for process in processes if _catches(process.pid, signal.SIGUSR1)]
    before = {process.pid: dict(_logs(process)) for process in asked}
    for process in asked:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGUSR1)
    end = time.monotonic() + ANSWERS_WITHIN
    told: dict[int, str] = {}
    while asked and time.monotonic() < end:
        time.sleep(0.1)  # other processes write: there is nothing to await
        told = {process.pid: _grown(before[process.pid]) for process in asked}
        if all("Thread 0x" in text and "tasks:" in text for text in told.values()):
            break
    lines = []
    for process in processes:
        lines += [f"--- {process}", told.get(process.pid) or "    (says nothing)"]
    return "\n".join(lines)


def _catches(pid: int, number: int) -> bool:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("SigCgt:") and int(line.split()[1], 16) >> (number - 1) & 1:
                return True
    return False


def _logs(process: Process) -> Iterator[tuple[Path, int]]:
    """The logs that a process has open, and their sizes. Links only are followed, into no mount.

    Where only root may see what it has open (a mount is not dumpable), those beside the places it was started with.
    """
    paths: list[Path] = []
    folder = Path(f"/proc/{process.pid}/fd")
    try:
        for name in os.listdir(folder):
            with contextlib.suppress(OSError):
                paths.append(Path(os.readlink(folder / name)))
    except PermissionError:
        for place in filter(os.path.isabs, process.command.split()):
            with contextlib.suppress(OSError):
                beside = Path(place).parent
                paths += [beside / name for name in os.listdir(beside)]
    except OSError:
        return
    for path in paths:
        if path.suffix == ".log":
            with contextlib.suppress(OSError):
                yield path, path.stat().st_size


def _grown(sizes: dict[Path, int]) -> str:
    text = []
    for path, size in sizes.items():
        with contextlib.suppress(OSError), path.open("rb") as file:
            file.seek(size)
            text.append(file.read().decode(errors="replace"))
    return "".join(text)
