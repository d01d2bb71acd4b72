"""A team through Samba: clients that stay connected and seek, list, copy and drop requests, each for itself.
`python -m tests.gateway.load`, as root; not part of the test run.

The share is that of docs/gateway.md. Each client is a process with Samba's own library; what it reads is compared by
hash. Ends with 1 where a byte is wrong, a call fails or takes longer than twice the mount's timeout, a request starts
no or two exports, or memory grows beyond its bound.
"""

import argparse
import hashlib
import itertools
import random
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from exportfs.simulator import Config, LoginConfig, Simulator, SimulatorServer
from exportfs.simulator.media.content import Computed
from tests.gateway.conftest import REQUEST
from tests.gateway.machine import Machine, commands, machine
from tests.gateway.test_gateway import Connected, Failed, connected, samba
from tests.team import MIB, MOST_MEMORY, quantiles

SHARES = (("seek", 5), ("list", 4), ("copy", 3), ("request", 4))
"""Of sixteen clients."""
PAUSES = {"seek": 0.5, "list": 1.0, "copy": 0.0, "request": 4.0}
CLIPS, CLIP = 12, 24 * MIB
LONGEST = 10.0
"""Seconds: twice the timeout of the mount (5 s), as one call of a client is several of the mount."""


class Team:
    """All clients, and what they saw."""

    def __init__(self, clips: dict[str, str], digests: dict[str, str], end: float) -> None:
        self.clips = clips
        """Seeds by path."""
        self._digests = digests
        self._end = end
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.wrong: list[str] = []
        self._numbers = itertools.count()

    def work(self, number: int, kind: str, client: Connected) -> None:
        """One client until the time is over; in a thread of its own."""
        chance = random.Random(number)
        way: Callable[[Connected, random.Random, int], None] = getattr(self, kind)
        turn = number
        while time.monotonic() < self._end:
            begun = time.monotonic()
            try:
                way(client, chance, turn)
            except Failed as failure:
                self.wrong.append(f"{kind}: {failure}")
            self.seconds[kind].append(time.monotonic() - begun)
            turn += 1
            time.sleep(chance.uniform(0, 2 * PAUSES[kind]))

    def seek(self, client: Connected, chance: random.Random, turn: int) -> None:
        path, offset = chance.choice(list(self.clips)), chance.randrange(CLIP - 131072)
        expected = hashlib.sha256(Computed(self.clips[path], CLIP).read(offset, 131072)).hexdigest()
        if client("digest", f"axxon/{path}", offset, 131072) != expected:
            self.wrong.append(f"seek: {path} at {offset}")

    def list(self, client: Connected, chance: random.Random, turn: int) -> None:
        client("names", "axxon/sessions")
        client("names", f"axxon/{chance.choice(list(self.clips)).rpartition('/')[0]}")

    def copy(self, client: Connected, chance: random.Random, turn: int) -> None:
        path = list(self.clips)[turn % CLIPS]
        if client("digest", f"axxon/{path}", 0, CLIP) != self._digests[path]:
            self.wrong.append(f"copy: {path}")

    def request(self, client: Connected, chance: random.Random, turn: int) -> None:
        number = next(self._numbers)
        moment = 9 * 3600 + number  # an end that no other request has
        end = f"20260511T{moment // 3600:02d}{moment // 60 % 60:02d}{moment % 60:02d}"
        client("put", f"axxon/new/load-{number}.json", REQUEST.replace("20260511T080421", end))


def resident(made: Machine) -> int:
    """Bytes of the mount in memory."""
    assert made._mount is not None
    # setpriv and nsenter became the mount itself.
    status = Path(f"/proc/{made._mount.pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--minutes", type=float, default=2.5)
    given = parser.parse_args()
    kinds = [kind for kind, share in SHARES for _ in range(share * given.clients // 16)]
    simulator = Simulator(Config(login=LoginConfig(required=False), export_seconds=0.2))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="exportfs-load-")))
        folder.chmod(0o755)
        server = stack.enter_context(SimulatorServer(simulator))
        made = stack.enter_context(machine(folder, server.address))
        for user in ("ana", "ben"):
            made.run("sh", "-c", f"id {user} || useradd --create-home {user}")
        made.run("sh", "-e", input=commands("The mount"))
        ids = [simulator.add_computed(CLIP, seed=f"clip-{number}", expires=False) for number in range(CLIPS)]
        made.mount()
        names = {path.name: path for path in made.tree.glob("sessions/*/*.mp4")}
        clips, digests = {}, {}
        for number, session_id in enumerate(ids):
            path = names[simulator.files(session_id)[0].path]
            clips[f"sessions/{path.parent.name}/{path.name}"] = f"clip-{number}/0"
            digests[f"sessions/{path.parent.name}/{path.name}"] = simulator.digest(session_id, path.name)[1]
        stack.enter_context(samba(made))
        clients = [
            stack.enter_context(connected(made, "smb", "127.0.0.1", ("ana", "ben")[number % 2]))
            for number in range(len(kinds))
        ]
        team = Team(clips, digests, time.monotonic() + given.minutes * 60)
        threads = [
            threading.Thread(target=team.work, args=(number, kind, client), daemon=True)
            for number, (kind, client) in enumerate(zip(kinds, clients, strict=True))
        ]
        for thread in threads:
            thread.start()
        memory = 0
        while any(thread.is_alive() for thread in threads) and time.monotonic() < team._end + 120:
            memory = max(memory, resident(made))
            time.sleep(1)
        wrong = [*team.wrong, *("a client hangs" for thread in threads if thread.is_alive())]
        log = (folder / "mount.log").read_text()
    return judge(team, simulator, memory, wrong + ([log] if "Traceback" in log else []))


def judge(team: Team, simulator: Simulator, memory: int, wrong: list[str]) -> int:
    """Shows it; the exit code."""
    for kind, seconds in sorted(team.seconds.items()):
        p50, p99 = quantiles(seconds)
        times = f"p50 {p50 * 1000:8.1f} ms  p99 {p99 * 1000:8.1f} ms  longest {max(seconds) * 1000:8.1f} ms"
        print(f"{kind:8} {len(seconds):6} calls  {times}")
        if kind != "copy" and max(seconds) > LONGEST:
            wrong.append(f"{kind} took {max(seconds):.1f} s")
    exports, requests = simulator.log.count("StartSession"), len(team.seconds["request"])
    print(f"{exports} exports for {requests} requests, at most {memory >> 20} MiB")
    if exports != requests:
        wrong.append("not one export for each request")
    if {"StopSession", "DestroySession"} & set(simulator.log.counts()):
        wrong.append("an export was stopped or destroyed")
    if memory > MOST_MEMORY:
        wrong.append("too much memory")
    print("\n".join(wrong[:20]) or "nothing wrong")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
