"""A team on one mount: client processes that list, seek, copy and drop requests, as behind a gateway. `make team`; not
part of the test run.

First what one who seeks and lists waits for, alone and beside one who copies everything; then so many clients at once.
Each byte is compared, each call timed. Ends with 1 where a byte is wrong, a call fails or takes longer than the
mount's timeout, a request starts no or two exports, or memory grows beyond its bound.
"""

import argparse
import hashlib
import json
import math
import multiprocessing
import os
import random
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from exportfs.simulator import Config, LoginConfig, Proxy, Simulator, SimulatorServer
from exportfs.simulator.media.content import Computed
from tests.support.harness import ARCHIVE_REQUEST, MountProcess

MIB = 1 << 20
TIMEOUT = 30.0
CACHE = 256 * MIB
MOST_MEMORY = CACHE + 384 * MIB
"""Bytes that the mount may have, its cache included."""
SHARES = (("seek", 25), ("list", 14), ("copy", 5), ("request", 6))
"""Of fifty clients."""
PAUSES = {"seek": 0.5, "list": 1.0, "copy": 0.0, "haul": 0.0, "request": 4.0}
"""Seconds between two things that one client does, on average."""
CLIPS, CLIP = 48, 24 * MIB


@dataclass(frozen=True)
class Clip:
    path: Path
    seed: str
    size: int

    def matches(self, offset: int, data: bytes, length: int) -> bool:
        return data == Computed(self.seed, self.size).read(offset, length)


@dataclass
class Told:
    """What a client saw: seconds of each kind of call, and what went wrong."""

    seconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    wrong: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    copied: int = 0

    @contextmanager
    def timed(self, kind: str) -> Iterator[None]:
        begun = time.monotonic()
        try:
            yield
        except OSError as error:
            self.wrong.append(f"{kind}: {error}")
        self.seconds[kind].append(time.monotonic() - begun)


class Client:
    """One person at the mount, in a process of its own."""

    def __init__(self, number: int, root: Path, clips: list[Clip]) -> None:
        self.random = random.Random(number)
        self.number, self.root, self.clips = number, root, clips
        self.told = Told()
        self._turn = number
        self.end = math.inf

    def seek(self) -> None:
        """A jump in a player: 128 KiB somewhere."""
        clip = self.random.choice(self.clips)
        offset, data = self.random.randrange(clip.size - 131072), b""
        with self.told.timed("seek"), clip.path.open("rb", buffering=0) as file:
            file.seek(offset)
            while len(data) < 131072 and (piece := file.read(131072 - len(data))):
                data += piece
        if data and not clip.matches(offset, data, 131072):
            self.told.wrong.append(f"seek: {clip.path} at {offset}")

    def list(self) -> None:
        """A look into sessions/ and one session, as a file manager has it."""
        folder = self.random.choice(self.clips).path.parent
        with self.told.timed("list"):
            for path in (*(self.root / "sessions").iterdir(), *folder.iterdir()):
                path.stat()

    def copy(self) -> None:
        """The next clip, whole, where the copies of others end."""
        clip = self.clips[self._turn % len(self.clips)]
        self._turn += 1
        digest, size = hashlib.sha256(), 0
        with clip.path.open("rb", buffering=0) as file:
            while True:
                data = b""
                with self.told.timed("copy 1 MiB"):
                    data = file.read(MIB)
                if not data:
                    break
                digest.update(data)
                size += len(data)
        self.told.copied += size
        whole = hashlib.sha256(Computed(clip.seed, clip.size).read(0, clip.size)).digest()
        if (size, digest.digest()) != (clip.size, whole):
            self.told.wrong.append(f"copy: {clip.path}")

    def haul(self) -> None:
        """All clips, as fast as they come, to nowhere; the kernel keeps nothing of them, so each time anew."""
        for clip in self.clips:
            with clip.path.open("rb", buffering=0) as file:
                while data := file.read(MIB):
                    self.told.copied += len(data)
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            if time.monotonic() > self.end:
                return

    def request(self) -> None:
        """A request of its own; what it started is looked at."""
        name = f"team-{self.number}-{len(self.told.requests)}"
        end = f"20260511T{9 + self.number % 12:02d}{len(self.told.requests) % 60:02d}{self.number:02d}"
        archive = {**ARCHIVE_REQUEST["archive"], "endTimestamp": end}
        with self.told.timed("request"):
            (self.root / f"new/{name}.json").write_text(json.dumps({**ARCHIVE_REQUEST, "archive": archive}))
            (self.root / f"new/{name}").readlink()
        self.told.requests.append(name)


def run_client(number: int, kinds: tuple[str, ...], orders: Connection) -> None:
    """In the client's process: waits for its order, works until the time is over, tells."""
    root, clips, seconds = orders.recv()
    client = Client(number, root, clips)
    quick = 0.2 if len(kinds) > 1 else 1.0  # alone a minute is short
    works: list[tuple[Callable[[], None], float]] = [(getattr(client, kind), PAUSES[kind]) for kind in kinds]
    client.end = end = time.monotonic() + seconds
    while time.monotonic() < end:
        for work, pause in works:
            work()
            time.sleep(client.random.uniform(0, 2 * pause * quick))
    orders.send((dict(client.told.seconds), client.told.wrong, client.told.requests, client.told.copied))


class Team:
    """Client processes, forked before there is any thread."""

    def __init__(self, kinds: list[tuple[str, ...]]) -> None:
        fork = multiprocessing.get_context("fork")
        self._clients: list[tuple[BaseProcess, Connection]] = []
        for number, kind in enumerate(kinds):
            ours, theirs = fork.Pipe()
            process = fork.Process(target=run_client, args=(number, kind, theirs), daemon=True)
            process.start()
            self._clients.append((process, ours))

    def work(self, root: Path, clips: list[Clip], seconds: float, mount: MountProcess) -> tuple[Told, int]:
        """Lets them work for so long. Gives what all saw, and the most memory of the mount."""
        for _, orders in self._clients:
            orders.send((root, clips, seconds))
        most, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            status = Path(f"/proc/{mount.pid}/status").read_text()
            (line,) = (line for line in status.splitlines() if line.startswith("VmRSS"))
            most = max(most, int(line.split()[1]) * 1024)
            time.sleep(1)
        told = Told()
        for process, orders in self._clients:
            if not orders.poll(4 * TIMEOUT):
                told.wrong.append("a client hangs")
                process.kill()
                continue
            seen, wrong, requests, copied = orders.recv()
            for kind, each in seen.items():
                told.seconds[kind] += each
            told.wrong += wrong
            told.requests += requests
            told.copied += copied
        return told, most


def show(title: str, told: Told) -> None:
    print(f"{title}: {told.copied >> 20} MiB copied, {len(told.requests)} requests")
    for kind, seconds in sorted(told.seconds.items()):
        p50, p99 = quantiles(seconds)
        print(f"  {kind:12} {len(seconds):7} calls  p50 {p50 * 1000:8.1f} ms  p99 {p99 * 1000:8.1f} ms  "
              f"longest {max(seconds) * 1000:8.1f} ms", flush=True)  # fmt: skip
    for wrong in told.wrong[:20]:
        print(f"  WRONG {wrong}")


def quantiles(seconds: list[float]) -> tuple[float, float]:
    cuts = statistics.quantiles([*seconds, *seconds], n=100)
    return cuts[49], cuts[98]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--rate", type=float, help="MB/s of each connection to the server; else as it comes")
    given = parser.parse_args()
    kinds: list[tuple[str, ...]] = [
        (kind,) for kind, share in SHARES for _ in range(share * given.clients // 50)
    ]
    person: tuple[str, ...] = ("seek", "list")
    alone, beside, copier, everybody = Team([person]), Team([person]), Team([("haul",)]), Team(kinds)
    simulator = Simulator(Config(login=LoginConfig(required=False), export_seconds=0.2))
    with (
        tempfile.TemporaryDirectory(prefix="exportfs-team-") as folder,
        SimulatorServer(simulator) as server,
        Proxy(server.port) as line,
    ):
        line.bandwidth = given.rate and given.rate * 1e6
        seeds = [f"clip-{number}" for number in range(CLIPS)]
        ids = [simulator.add_computed(CLIP, seed=seed, expires=False) for seed in seeds]
        words = (
            "--insecure",
            "--timeout",
            str(TIMEOUT),
            "--cache-size",
            str(CACHE),
            "--log-level",
            "warning",
        )
        mount = MountProcess(line.address if given.rate else server.address, Path(folder), *words)
        try:
            mount.start()
            root = mount.mountpoint
            by_name = {path.name: path for path in root.glob("sessions/*/[!.]*")}
            clips = [
                Clip(by_name[simulator.files(session_id)[0].path], f"{seed}/0", CLIP)
                for session_id, seed in zip(ids, seeds, strict=True)
            ]
            return judge(simulator, mount, root, clips, given.minutes, (alone, beside, copier, everybody))
        finally:
            mount.clean_up()


def judge(
    simulator: Simulator,
    mount: MountProcess,
    root: Path,
    clips: list[Clip],
    minutes: float,
    teams: tuple[Team, Team, Team, Team],
) -> int:
    """All of it; the exit code."""
    alone, beside, copier, everybody = teams
    by_oneself, _ = alone.work(root, clips, minutes * 12, mount)
    show("one who seeks and lists, alone", by_oneself)
    # Started here and left alone: it copies in the background for as long.
    copier._clients[0][1].send((root, clips, minutes * 12))
    with_copier, _ = beside.work(root, clips, minutes * 12, mount)
    copied = copier._clients[0][1].recv()
    show(f"beside one who copies everything, {copied[3] / minutes / 12e6:.0f} MB/s", with_copier)
    for kind in ("seek", "list"):
        before, after = quantiles(by_oneself.seconds[kind]), quantiles(with_copier.seconds[kind])
        print(f"  {kind}: {after[0] / before[0]:.1f} times at p50, {after[1] / before[1]:.1f} times at p99")
    if not everybody._clients:
        return 0
    told, memory = everybody.work(root, clips, minutes * 60, mount)
    show(f"{len(everybody._clients)} clients for {minutes:g} min, at most {memory >> 20} MiB", told)
    wrong = [*by_oneself.wrong, *with_copier.wrong, *copied[1], *told.wrong]
    exports = simulator.log.count("StartSession")
    if exports != len(told.requests):
        wrong.append(f"{exports} exports for {len(told.requests)} requests")
    longest = max(max(seconds) for seconds in told.seconds.values())
    if longest > TIMEOUT:
        wrong.append(f"a call took {longest:.1f} s")
    if memory > MOST_MEMORY:
        wrong.append(f"{memory >> 20} MiB of memory")
    mount.check_log()
    print("\n".join(wrong[:20]) or "nothing wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
