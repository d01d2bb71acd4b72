"""python -m bench --line: a thin line, our mount and sshfs beside it. See README.md."""

import argparse
import contextlib
import getpass
import json
import math
import os
import platform
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median

from bench import thin_measures
from bench.content import GIB, KIB, MIB, Content, make_file
from bench.goals import OURS, Goal, Results
from bench.processes import Child, Failed, drop_caches, mounted, python
from bench.report import cell, failures, goals_table, table
from bench.security import Security, security
from bench.setup import RUN_SSHD, remove, start_sshd
from bench.thin_line import Kind, Line, kind, thin_line
from bench.thin_measures import Numbers, Stand

SSHFS, BARE = "sshfs", "one bare connection"
RANDOM_FILES = (
    "player",
    "seeks",
    "copy",
    "copy2",
    "beside",
    "head",
    "player1",
    "player2",
    "player3",
    "held",
    "kind",
)
WHOLE_SECONDS = 8
"""Of the line, for the file that is read as a whole."""
FILE_MOST = 512 * MIB
"""Of the other files, on the fastest lines."""
PACKET, PACKETS_DATA = 1514, 1448
"""Bytes of a full packet on an Ethernet, and what of it is data."""
Say = Callable[[str], None]


@dataclass
class ThinPlan:
    """What is done over one kind of line. seconds: for which something goes on."""

    kind: Kind
    rounds: int = 3
    seconds: float = 5.0
    file_size: int = 64 * MIB
    whole_size: int | None = None
    videos: int = 0
    sessions: int = 1
    cache_size: str = "256M"
    measures: list[str] = field(default_factory=list)
    """Parts of names; none: all but those by request."""
    peers: bool = True
    proxied: bool = False
    tls: bool = False

    def wants(self, name: str) -> bool:
        if self.measures:
            return any(part in name for part in self.measures)
        return name not in thin_measures.BY_REQUEST


def arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench --line",
        description="Our mount and sshfs over a thin line: rates and round trips.",
    )
    parser.add_argument("kinds", nargs="*", type=kind, metavar="RATE[,RTT]", help="10mbit 2mbit 100mbit,20ms")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5, help="for which something goes on (5)")
    parser.add_argument(
        "--whole", type=float, metavar="MB", help="of the file read as a whole (8 s of the line)"
    )
    parser.add_argument("--videos", type=int, default=100, help="of which thumbnails are made (100)")
    parser.add_argument("--sessions", type=int, default=1, help="on the server (1)")
    parser.add_argument("--cache-size", default="256M", help="of our mount (256M)")
    parser.add_argument(
        "--measure",
        action="append",
        default=[],
        metavar="NAME",
        help="part of a measure's name; repeatable; thumbnails, mpv and file only so: they take minutes",
    )
    parser.add_argument("--no-peers", action="store_true", help="without sshfs")
    parser.add_argument("--tls", action="store_true", help="to our server, also from the bare connection")
    parser.add_argument("--proxy", action="store_true", help="through the proxy, even as root")
    parser.add_argument("--out", type=Path, help="a file for every number of every round, as JSON")
    return parser.parse_args(argv)


def plans(options: argparse.Namespace) -> list[ThinPlan]:
    return [
        ThinPlan(
            one,
            options.rounds,
            options.seconds,
            # A jump goes to three quarters of it, and half is streamed before. They are in memory.
            min(max(ThinPlan.file_size, int(2 * one.rate * options.seconds)), FILE_MOST),
            whole_size=None if options.whole is None else int(options.whole * 1e6),
            videos=options.videos if any("thumb" in name for name in options.measure) else 0,
            sessions=options.sessions,
            cache_size=options.cache_size,
            measures=options.measure,
            peers=not options.no_peers,
            proxied=options.proxy,
            tls=options.tls,
        )
        for one in options.kinds or [kind("10mbit"), kind("2mbit")]
    ]


def make_files(plan: ThinPlan, data: Path) -> None:
    """All of one content but for the one that is read as a whole, so they are one file under many names."""
    make_file(data / "player.mp4", plan.file_size)
    for name in RANDOM_FILES[1:]:
        os.link(data / "player.mp4", data / f"{name}.mp4")
    whole = plan.whole_size or min(300 * 10**6, max(MIB, int(plan.kind.rate * WHOLE_SECONDS)))
    make_file(data / "whole.mp4", whole)
    if shutil.which("ffmpeg") and any(plan.wants(name) for name in ("heads", "thumbnails", "mpv")):
        video(data / "front.mp4")
        for number in range(plan.videos):
            os.link(data / "front.mp4", data / f"video{number}.mp4")


def video(path: Path) -> None:
    """A minute of H.264 with sound, 30 MB, its index in front."""
    picture = ["-f", "lavfi", "-i", "testsrc2=s=640x360:r=25:d=60"]
    sound = ["-f", "lavfi", "-i", "sine=f=440:d=60"]
    codec = [
        "-vf",
        "noise=alls=40:allf=t",
        "-c:v",
        "libx264",
        "-preset",
        "ultrafast",
        "-b:v",
        "4M",
        "-g",
        "50",
    ]
    more = ["-pix_fmt", "yuv420p", "-c:a", "aac", "-movflags", "+faststart", str(path)]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *picture, *sound, *codec, *more], check=True)


@dataclass
class Servers:
    """What the mounts connect to, as they reach it."""

    line: Line
    work: Path
    data: Path
    server: Child
    ports: dict[str, int]
    security: Security

    def command(self, subject: str, mountpoint: Path, plan: ThinPlan) -> list[str]:
        if subject == OURS:
            server = f"{self.line.host}:{self.ports[OURS]}"
            options = [*self.security.mount(), "--foreground", "--cache-size", plan.cache_size]
            return self.line.client(python("exportfs", "mount", server, str(mountpoint), *options))
        options = ["ro", "kernel_cache", "max_conns=4", f"IdentityFile={self.work}/user_key", "BatchMode=yes"]
        options += ["UserKnownHostsFile=/dev/null", "StrictHostKeyChecking=no", "IdentitiesOnly=yes"]
        source = f"{getpass.getuser()}@{self.line.host}:{self.data}"
        words = ["sshfs", "-f", "-F", "/dev/null", "-p", str(self.ports[SSHFS]), source, str(mountpoint)]
        return self.line.client([*words, "-o", ",".join(options)])


@contextlib.contextmanager
def servers(plan: ThinPlan, results: Results) -> Iterator[Servers]:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="exportfs-line-")))
        kept = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="exportfs-line-", dir=memory)))
        data = kept / "data"
        data.mkdir()
        make_files(plan, data)
        line = stack.enter_context(thin_line(plan.kind, work, proxied=plan.proxied))
        secured = security(work, plan.tls)
        words = ["--host", line.host, "--sessions", str(plan.sessions), *secured.server()]
        server = Child(
            line.server(python("bench.server", str(data), *words)), work / "server.log", pipes=True
        )
        stack.callback(server.stop)
        ports = {OURS: line.reach(int(server.line()))}
        if plan.peers:
            if os.geteuid() == 0 and not RUN_SSHD.exists():
                stack.callback(remove, RUN_SSHD)
            try:
                if shutil.which("sshfs") is None:
                    raise Failed("sshfs is not installed")
                sshd, port = start_sshd(work, line.host, line.server)
                stack.callback(sshd.stop)
                ports[SSHFS] = line.reach(port)
            except Failed as error:
                results.skipped[SSHFS] = str(error)
        yield Servers(line, work, data, server, ports, secured)


def results_folder(subject: str, mountpoint: Path) -> Path:
    if subject != OURS:
        return mountpoint
    for folder in sorted((mountpoint / "sessions").iterdir()):
        if folder.is_dir() and (folder / "whole.mp4").exists():
            return folder
    raise Failed("no result of the bench server is listed under sessions/")


def measure(plan: ThinPlan, results: Results, say: Say) -> str:
    """Round by round, and subject by subject within a round. Gives what kind of line it was."""
    place = str(plan.kind)
    with servers(plan, results) as made:
        contents = {path.name: Content(path) for path in made.data.iterdir()}
        for number in range(plan.rounds):
            for subject in made.ports:
                mountpoint = made.work / f"mnt-{number}-{subject}"
                drop_caches()
                command = made.command(subject, mountpoint, plan)
                with mounted(command, mountpoint, made.work / "mount.log", 3600) as child:
                    root = results_folder(subject, mountpoint)
                    stand = Stand(made.line, plan.kind.rate, root, child.pid, contents, plan.seconds)
                    for name, work in thin_measures.MEASURES:
                        if plan.wants(name):
                            one(
                                results,
                                place,
                                subject,
                                name,
                                partial(served, made, work, stand, subject),
                                say,
                            )
            if plan.wants("whole"):
                one(results, place, BARE, "whole", partial(bare, made, plan, contents), say)
        return f"{made.line.about}, {made.security}"


def served(made: Servers, work: Callable[[Stand], Numbers], stand: Stand, subject: str) -> Numbers:
    """With what our server handed to gRPC for a file that was read as a whole."""
    made.server.ask("reset")
    numbers = work(stand)
    if subject == OURS and work is thin_measures.whole:
        size = stand.contents["whole.mp4"].size
        numbers["whole file: payload sent for each byte"] = made.server.ask("stats")["bytes"] / size
    return numbers


def bare(made: Servers, plan: ThinPlan, contents: dict[str, Content]) -> Numbers:
    """A loop over DownloadFile without a mount."""
    size = contents["whole.mp4"].size
    job = {
        "what": "loop",
        "target": f"{made.line.host}:{made.ports[OURS]}",
        "data": str(made.data),
        "block": 256 * KIB,
        "options": [],
        "stub": False,
        "tls": made.security.bare(),
        "files": ["whole.mp4"],
    }
    child = Child(made.line.client(python("bench.bare", json.dumps(job))), made.work / "bare.log", pipes=True)
    try:
        child.line()
        before = thin_measures.settle(made.line)
        child.say("go")
        result = json.loads(child.line())
    finally:
        child.stop()
    return {
        "whole file: sent for each byte": (thin_measures.settle(made.line) - before) / size,
        "whole file: part of the line's rate, %": 100 * size / result["seconds"] / plan.kind.rate,
    }


def one(results: Results, place: str, subject: str, name: str, work: Callable[[], Numbers], say: Say) -> None:
    try:
        found = work()
    except (Failed, OSError, subprocess.TimeoutExpired) as error:
        results.fail(subject, f"{place}, {name}", str(error))
        say(f"{place}, {name}, {subject}: FAILED: {error}")
        return
    results.add(place, subject, found)
    say(f"{place}, {name}, {subject}: " + "; ".join(f"{key} {value:.4g}" for key, value in found.items()))


def rows(results: Results, place: str) -> str:
    """Measures by subject."""
    subjects = results.rounds.get(place, {})
    names = list(dict.fromkeys(name for metrics in subjects.values() for name in metrics))
    lines = [[place, *subjects]]
    lines += [[name, *(cell(subjects[one].get(name, [])) for one in subjects)] for name in names]
    return table(lines)


def goals(results: Results, plan: ThinPlan) -> list[Goal]:
    """Where nothing was measured for a goal it is left out."""
    place, rate, found = str(plan.kind), plan.kind.rate, []

    def value(
        metric: str, text: str, limit: float, unit: str = "", *, by: float = 1, at_least: bool = False
    ) -> None:
        values = [one / by for one in results.values(place, OURS, metric)]
        if values:
            found.append(Goal(text, limit, at_least, median(values), min(values), max(values), unit))

    def ratio(
        metric: str, other: str, limit: float, *, than: str | None = None, at_least: bool = False
    ) -> None:
        ours, theirs = results.values(place, OURS, metric), results.values(place, other, than or metric)
        if ours and theirs and all(theirs):
            each = [a / b for a, b in zip(ours, theirs, strict=False)]
            text = f"{metric.rpartition(',')[0] or metric} / {than or other}"
            found.append(Goal(text, limit, at_least, median(ours) / median(theirs), min(each), max(each)))

    data = rate * PACKETS_DATA / PACKET / KIB
    value("streaming, KiB/s", "streaming / what the line carries of data", 0.95, by=data, at_least=True)
    ratio("streaming, KiB/s", SSHFS, 1, at_least=True)
    ratio("jump after streaming, ms", SSHFS, 1.1)
    if plan.kind.round_trip:
        value("jump after streaming, ms", "jump after streaming", 1.5 * plan.kind.round_trip * 1e3, "ms")
    own = MIB / rate * 1e3
    value(
        "1 MiB in sequence after a jump, ms",
        "1 MiB in sequence after a jump / the line's own time",
        1.15,
        by=own,
    )
    ratio("random 64 KiB p50, ms", SSHFS, 1.25)
    value("random: sent for each byte", "random 64 KiB: sent for each byte", 1.5)
    value("sent after the reader left, KiB", "sent after the reader left", 200, "KiB")
    ratio("head of 4 KiB by Python, ms", SSHFS, 1.3)
    ratio("ffprobe of an MP4, ms", SSHFS, 1.3)
    ratio("`file`, ms", SSHFS, 1.3)
    alone = results.values(place, OURS, "player alone: a read, mean ms")
    beside = results.values(place, OURS, "beside a player and a copy: a read, mean ms")
    if alone and beside:
        each = [a / b for a, b in zip(beside, alone, strict=False)]
        text = "a player's reads beside another and a copy / alone"
        found.append(Goal(text, 2, False, median(each), min(each), max(each)))
    value("idle, bytes/s", "idle", min(1000, rate / 100), "bytes/s")
    value("128 KiB read, held open: sent, KiB", "128 KiB read, held open: sent", 1, "MB", by=1e6 / KIB)
    value("memory and socket buffers, MiB", "memory and socket buffers", cache_mib(plan) + 96, "MiB")
    value("whole file: payload sent for each byte", "whole file: payload sent for each byte", 1.02)
    ratio("whole file: part of the line's rate, %", BARE, 1, at_least=True)
    for metric in results.rounds.get(place, {}).get(OURS, {}):
        if metric.endswith("thumbnails, s"):
            ratio(metric, SSHFS, 1.5)
        if metric.endswith("thumbnails: sent, MB"):
            value(metric, metric.removesuffix(", MB"), 100, "MB")
    value("mpv, 20 jumps: sent for each byte read", "mpv, 20 jumps: sent for each byte read", 3)
    return found


def cache_mib(plan: ThinPlan) -> float:
    units = {"K": KIB, "M": MIB, "G": GIB}
    return float(plan.cache_size[:-1]) * units[plan.cache_size[-1].upper()] / MIB


def markdown(results: Results, made: list[tuple[ThinPlan, str]], seconds: float) -> str:
    facts = [
        f"- {platform.system()} {platform.release()}, {os.cpu_count()} cores, Python {platform.python_version()}; "
        f"load {os.getloadavg()[0]:.1f}; took {math.ceil(seconds / 60)} minutes",
        "- medians of the rounds, with the least and the most; bytes are what the line carried, headers included",
    ]
    facts += [f"- not measured: {name}: {reason}" for name, reason in results.skipped.items()]
    facts += [f"- FAILED: {text}" for text in failures(results)]
    parts = ["# Thin lines", "\n".join(facts)]
    for plan, about in made:
        parts += [f"## {plan.kind}", about, rows(results, str(plan.kind)), goals_table(goals(results, plan))]
    return "\n\n".join(parts) + "\n"


def main(argv: list[str], say: Say) -> int:
    options, results, begun = arguments(argv), Results(), time.monotonic()
    made: list[tuple[ThinPlan, str]] = []
    stopped = False
    try:
        for plan in plans(options):
            made.append((plan, "stopped before its end"))
            made[-1] = plan, measure(plan, results, say)
    except KeyboardInterrupt:
        stopped = True
    print(markdown(results, made, time.monotonic() - begun))
    if options.out is not None:
        options.out.write_text(json.dumps(results.rounds, indent=1) + "\n")
    if stopped:
        return 130
    bad = any(subject == OURS or "WRONG BYTES" in error for subject, error in results.errors)
    return 1 if bad else 0
