"""The suite while its processes are stopped at random, each for a moment: what depends on who is first shows sooner
than under load. `make stops`; further arguments are pytest's. Some limits are real seconds, and a stop longer than they
allow proves nothing."""

import argparse
import contextlib
import os
import random
import secrets
import signal
import subprocess
import sys
import threading
from pathlib import Path

MARK = "EXPORTFS_STOPS"
SPARED = (b"tests.support.hanging",)
"""Words in the command lines of processes that tests themselves stop, and let go on."""
LEFT_OUT = ("tests/mount/cli/test_stopped_mount.py",)
"""Tests that look at stopped mounts."""


def running(mark: bytes) -> list[int]:
    """Processes of the run that could go on."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if mark not in b"\0" + (entry / "environ").read_bytes() or any(
                word in (entry / "cmdline").read_bytes() for word in SPARED
            ):
                continue
            if (entry / "stat").read_text().rpartition(")")[2].split()[0] in "RSD":
                found.append(int(entry.name))
    return found


def stop_some(mark: bytes, longest: float, over: threading.Event) -> None:
    """One after another, until it is over."""
    while not over.wait(random.uniform(0, 0.05)):
        for pid in random.sample(found := running(mark), min(1, len(found))):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                over.wait(random.uniform(0.02, longest))
                os.kill(pid, signal.SIGCONT)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--at-once", type=int, default=8, help="processes that are stopped at a time (8)")
    parser.add_argument("--longest", type=float, default=0.5, help="seconds that one is stopped (0.5)")
    given, words = parser.parse_known_args()
    token = secrets.token_hex(8)
    over = threading.Event()
    command = [sys.executable, "-m", "pytest", *(f"--deselect={path}" for path in LEFT_OUT), *words]
    with subprocess.Popen(command, env={**os.environ, MARK: token}) as suite:
        mark = f"\0{MARK}={token}\0".encode()
        stoppers = [
            threading.Thread(target=stop_some, args=(mark, given.longest, over)) for _ in range(given.at_once)
        ]
        for stopper in stoppers:
            stopper.start()
        try:
            return suite.wait()
        finally:
            over.set()
            for stopper in stoppers:
                stopper.join()


if __name__ == "__main__":
    sys.exit(main())
