"""The soak: copies under faults for a long time, and a look at what grows. `make soak`; not part of the test run.

First 2 GiB by four readers under random faults, then half an hour of copying, listing and exporting while
connections break, logins expire and the server restarts. Ends with 1 where a hash is wrong, a call fails, or
memory, threads, descriptors or connections grow.
"""

import argparse
import errno
import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from exportfs.simulator import Config, LoginConfig, Proxy, Simulator, SimulatorServer
from tests.faults.chaos import StreamTrouble, Surroundings, digests, results
from tests.support.harness import ARCHIVE_REQUEST, MountProcess, eventually

MIB = 1 << 20
CACHE = 64 * MIB
GROWTH = {"memory": 48 * MIB, "threads": 24, "descriptors": 12, "sockets": 8}
"""What the last look may show more than that after a third of the time, when caches and the allocator are full."""


@dataclass
class Soak:
    """A mount under faults, and what was seen of it."""

    simulator: Simulator
    mount: MountProcess
    readers: int = 4

    def copy(self, size: int) -> int:
        """Copies new files of `size` bytes at once, compares, destroys them. Gives the bytes."""
        ids = [self.simulator.add_computed(size) for _ in range(self.readers)]
        files = [self.simulator.files(session_id)[0].path for session_id in ids]
        root = self.mount.mountpoint
        found = eventually(lambda: (r := results(root)).keys() >= set(files) and r, within=60)
        paths = [found[name] for name in files]
        truth = [self.simulator.digest(*pair) for pair in zip(ids, files, strict=True)]
        if digests(paths) != truth:
            raise SystemExit("a copy differs from the original")
        for path in paths:
            (path.parent / ".control").write_text("destroy\n")
        return size * self.readers

    def export(self, number: int) -> None:
        """One request, and away with what it gave."""
        request = self.mount.mountpoint / f"new/soak-{number}.json"
        self.ask(request)
        session = (self.mount.mountpoint / f"new/soak-{number}").resolve()
        os.unlink(request)
        (session / ".control").write_text("destroy\n")
        others = [path.name for path in session.parent.iterdir()]
        if others:
            raise SystemExit(f"a second session was started: {others}")

    def ask(self, request: Path) -> None:
        """Writes it as a person would: where the answer was lost, again, which must start no second one.

        It may have to wait until the mount is certain that the first one started nothing.
        """
        deadline = time.monotonic() + 120
        while True:
            try:
                request.write_text(json.dumps(ARCHIVE_REQUEST))
                return
            except OSError as error:
                if (
                    error.errno not in (errno.EIO, errno.ENOTCONN, errno.ETIMEDOUT)
                    or time.monotonic() > deadline
                ):
                    raise
                reason = request.with_name(f"{request.name}.error").read_text(errors="replace").strip()
                print(f"{request.name}: {error.strerror}: {reason}", flush=True)
                time.sleep(1)

    def look(self) -> dict[str, int]:
        """What the mount's process uses now."""
        process = Path(f"/proc/{self.mount.pid}")
        status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
        descriptors = list((process / "fd").iterdir())
        sockets = 0
        for descriptor in descriptors:
            try:
                sockets += os.readlink(descriptor).startswith("socket:")
            except FileNotFoundError:
                continue
        return {
            "memory": int(status["VmRSS"].split()[0]) * 1024,
            "threads": int(status["Threads"]),
            "descriptors": len(descriptors),
            "sockets": sockets,
        }


def soak(minutes: float, size: int, folder: Path) -> int:
    """Runs all of it; the exit code."""
    simulator = Simulator(Config(login=LoginConfig(token_life=20), export_seconds=0.2))
    with SimulatorServer(simulator) as server, Proxy(server.port) as proxy:
        mount = MountProcess(
            proxy.address, folder, "--insecure", "--user", "demo", "--refresh", "1", "--timeout", "15",
            "--cache-size", str(CACHE), "--log-level", "warning", env={"EXPORTFS_PASSWORD": "demo"},
        )  # fmt: skip
        try:
            run = Soak(simulator, mount.start())
            trouble = StreamTrouble(seed=int(time.time()))
            simulator.faults.add("DownloadFile", trouble, times=None)
            with Surroundings(simulator, server, proxy, every=2.0, strand=True) as around:
                copied = run.copy(size // run.readers)
                print(f"{copied >> 20} MiB by {run.readers} readers: {len(trouble.hits)} faults in streams, "
                      f"{len(around.done)} around them", flush=True)  # fmt: skip
                looks = watch(run, minutes)
            mount.check_log()
        finally:
            mount.clean_up()
    simulator.close()
    return judge(looks)


def watch(run: Soak, minutes: float) -> list[dict[str, int]]:
    """Goes on for so long; a look about every tenth of the time, and at least ten."""
    begun, looks, number = time.monotonic(), [run.look()], 0
    while (passed := time.monotonic() - begun) < minutes * 60 or len(looks) < 10:
        number += 1
        run.copy(24 * MIB)
        run.export(number)
        if passed >= len(looks) * minutes * 6 or minutes == 0:
            looks.append(run.look())
            print(f"{passed / 60:5.1f} min  {looks[-1]}", flush=True)
    return looks


def judge(looks: list[dict[str, int]]) -> int:
    """1 where something has grown since the first third."""
    settled, end = looks[len(looks) // 3], looks[-1]
    grown = {
        what: end[what] - settled[what] for what, most in GROWTH.items() if end[what] - settled[what] > most
    }
    print(f"grown: {grown}" if grown else "nothing has grown")
    return 1 if grown else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--size", type=int, default=2048, help="MiB of the first copy")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="exportfs-soak-") as folder:
        return soak(given.minutes, given.size * MIB, Path(folder))


if __name__ == "__main__":
    sys.exit(main())
