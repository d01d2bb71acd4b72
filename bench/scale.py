"""Listing at scale: many sessions on a simulated server in a process of its own, and a real mount of it.

    python -m bench.scale                         # 1,000 to 10,000 sessions, 3 results each; about 5 minutes
    python -m bench.scale --sessions 10000 --idle 10

prints a table in Markdown. Times are those of the tools, from start to end; CPU and memory are the mount's.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.processes import Child, cpu_seconds, mounted, peak_rss_mib, python, wait_for

RESULTS = 3
PAGE = 1000
"""Sessions that the mount asks for in a call."""
GOALS = "goals at 10,000: ls < 2 s, find < 10 s, idle < 5 %, memory < 200 MiB"
COLUMNS = (
    ("sessions", "sessions", "d"),
    ("mount", "mount, s", ".2f"),
    ("ls_first", "ls -l, first, s", ".2f"),
    ("ls", "ls -l, again, s", ".2f"),
    ("find_first", "find, first, s", ".2f"),
    ("find_cpu", "of it, mount's CPU, s", ".2f"),
    ("find", "find, again, s", ".2f"),
    ("stat", "find -size, s", ".2f"),
    ("calls", "calls but ListSessions", "d"),
    ("idle", "idle, % of a core", ".1f"),
    ("refresh", "a refresh, CPU ms", ".0f"),
    ("memory", "peak memory, MiB", ".0f"),
)


def serve(count: int, results: int) -> None:
    """The server: prints its address, answers each line on stdin with its counts of calls, ends with stdin."""
    from exportfs.simulator import Config, LoginConfig, Simulator, SimulatorServer

    simulator = Simulator(Config(login=LoginConfig(required=False)))
    for _ in range(count):
        simulator.add_computed(*[1 << 20] * results, expires=False)
    with SimulatorServer(simulator) as server:
        print(server.address, flush=True)
        for _ in sys.stdin:
            print(json.dumps(simulator.log.counts()), flush=True)
    simulator.close()


def timed(*command: str) -> tuple[float, int]:
    """Seconds that a tool took, and how many lines it printed."""
    begun = time.monotonic()
    result = subprocess.run(command, capture_output=True, check=True)
    return time.monotonic() - begun, result.stdout.count(b"\n")


def measure(server: Child, address: str, count: int, idle: float, folder: Path) -> dict[str, float]:
    """One row of the table."""
    mountpoint = folder / f"mnt{count}"
    sessions = str(mountpoint / "sessions")
    command = python("exportfs", "mount", address, str(mountpoint), "--insecure", "--foreground")
    row: dict[str, float] = {"sessions": count}
    begun = time.monotonic()
    with mounted(command, mountpoint, folder / "mount.log") as mount:
        row["mount"] = time.monotonic() - begun
        before = server.ask("stats")
        row["ls_first"], lines = timed("ls", "-l", sessions)
        assert lines == count + 1, f"ls shows {lines} lines"
        row["ls"], _ = timed("ls", "-l", sessions)
        files = ("find", sessions, "-name", "*.mp4")
        cpu = cpu_seconds(mount.pid)
        row["find_first"], lines = timed(*files)
        row["find_cpu"] = cpu_seconds(mount.pid) - cpu
        assert lines == count * RESULTS, f"find shows {lines} results"
        row["find"], _ = timed(*files)
        row["stat"], lines = timed(*files, "-size", "+1k")
        assert lines == count * RESULTS, f"find shows {lines} results of this size"
        after = server.ask("stats")
        row["calls"] = sum(after.values()) - sum(before.values()) - _lists(after) + _lists(before)
        wait_for("caches to grow old", _after(2), mount.alive)
        begun, cpu, lists = time.monotonic(), cpu_seconds(mount.pid), _lists(server.ask("stats"))
        wait_for("idle time", _after(idle), mount.alive, idle + 30)
        spent = cpu_seconds(mount.pid) - cpu
        row["idle"] = 100 * spent / (time.monotonic() - begun)
        refreshes = max(1, _lists(server.ask("stats")) - lists) / pages(count)
        row["refresh"] = 1000 * spent / refreshes
        row["memory"] = peak_rss_mib(mount.pid)
    return row


def pages(count: int) -> int:
    """Calls that one listing takes."""
    return -(-count // PAGE)


def _lists(counts: dict[str, int]) -> int:
    return counts.get("ListSessions", 0)


def _after(seconds: float) -> Callable[[], bool]:
    end = time.monotonic() + seconds
    return lambda: time.monotonic() > end


def table(rows: list[dict[str, float]]) -> str:
    lines = [
        "| " + " | ".join(title for _, title, _ in COLUMNS) + " |",
        "| " + " | ".join("---:" for _ in COLUMNS) + " |",
    ]
    for row in rows:
        cells = (
            format(int(row[key]) if form == "d" else row[key], ",d" if form == "d" else form)
            for key, _, form in COLUMNS
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--sessions", type=int, action="append", help="how many; may be given several times")
    parser.add_argument("--idle", type=float, default=40, help="seconds for which idle CPU is measured")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        serve(arguments.serve, RESULTS)
        return
    rows = []
    with tempfile.TemporaryDirectory(prefix="exportfs-scale-") as name:
        folder = Path(name)
        for count in arguments.sessions or (1000, 2500, 5000, 10_000):
            server = Child(python("bench.scale", "--serve", str(count)), folder / "server.log", pipes=True)
            try:
                rows.append(measure(server, server.line(), count, arguments.idle, folder))
            finally:
                server.stop()
    print(table(rows))
    print(f"\n{RESULTS} results each; {GOALS}")


if __name__ == "__main__":
    main()
