"""python -m bench: everything, or a part of it; --line for thin lines. See README.md."""

import argparse
import os
import platform
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from bench import measures, report
from bench.content import GIB, MIB
from bench.goals import LINE, NEAR, Results, evaluate
from bench.line import main as thin_lines
from bench.processes import Failed, drop_caches
from bench.setup import Plan, Setup, build
from bench.subjects import Bare, BareSeek, Bridge, MountSubject, Ours, Rclone, Sshfs, Subject, all_subjects

Measure = Callable[[Subject, Setup, bool], measures.Numbers]
LOOPS, SEEKS, MOUNTS = "bare loops", "bare seeks", "mounts"

# Which measure is for whom, near and through the long line.
WORK: list[tuple[str, Measure, bool, set[str]]] = [
    ("sequential", measures.sequential, False, {LOOPS, MOUNTS}),
    ("copy", measures.copy, False, {LOOPS, MOUNTS}),
    ("random", measures.seeks, False, {SEEKS, MOUNTS}),
    ("ends", measures.ends, False, {SEEKS, MOUNTS}),
    ("parallel", measures.parallel, False, {LOOPS, MOUNTS}),
    ("places", measures.places, False, {MOUNTS}),
    ("fairness", measures.fairness, False, {SEEKS, MOUNTS}),
    ("sizes", measures.size_curve, False, {LOOPS, MOUNTS}),
    ("readers", measures.reader_curve, False, {LOOPS, MOUNTS}),
    ("line sequential", measures.sequential, True, {LOOPS, MOUNTS}),
    ("line random", measures.seeks, True, {SEEKS, MOUNTS}),
    ("line ends", measures.ends, True, {SEEKS, MOUNTS}),
    ("line big", measures.long_read, True, {LOOPS, MOUNTS}),
]


def size(text: str) -> int:
    units = {"K": 1 << 10, "M": MIB, "G": GIB}
    return int(text[:-1]) * units[text[-1].upper()] if text[-1:].upper() in units else int(text)


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Our mount against peers, in one run. With --line first: over thin lines (--line --help).",
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--size", type=size, default=GIB, help="of the big file (1G)")
    parser.add_argument("--line-size", type=size, default=128 * MIB, help="read through the long line (128M)")
    parser.add_argument(
        "--quick", action="store_true", help="128M, one round, fewer seeks: does it work at all?"
    )
    parser.add_argument(
        "--only", action="append", metavar="SUBJECT", help="part of a subject's name; repeatable"
    )
    parser.add_argument(
        "--measure", action="append", metavar="NAME", help="part of a measure's name; repeatable"
    )
    parser.add_argument("--no-peers", action="store_true", help="without rclone and sshfs")
    parser.add_argument("--no-delay", action="store_true", help="without the long line")
    parser.add_argument("--delay-only", action="store_true", help="nothing but the long line")
    parser.add_argument("--delay", type=float, default=20, metavar="MS", help="its round trip (20)")
    parser.add_argument("--align", type=int, default=1, help="of random offsets; 1 is any (1)")
    parser.add_argument("--cache-size", default="256M", help="of our mount (256M)")
    parser.add_argument(
        "--server", choices=["python", "cpp"], default="", help="what serves (C++ where it can be built)"
    )
    parser.add_argument("--tls", action="store_true", help="to our server, also from the bare loops")
    parser.add_argument("--out", type=Path, default=Path("bench/out"))
    return parser.parse_args(argv)


def plan(options: argparse.Namespace) -> Plan:
    made = Plan(
        options.size,
        options.line_size,
        align=options.align,
        delay_ms=options.delay,
        cache_size=options.cache_size,
        server=options.server,
        tls=options.tls,
        built=options.out / "server",
    )
    if options.quick:
        made.size, made.line_size = min(made.size, 128 * MIB), min(made.line_size, 32 * MIB)
        made.reads, made.line_reads = 50, 20
    return made


def wants(subject: Subject, name: str, line: bool, kinds: set[str]) -> bool:
    kind = SEEKS if isinstance(subject, BareSeek) else LOOPS if isinstance(subject, Bare) else MOUNTS
    if kind not in kinds or (line and not subject.line):
        return False
    if isinstance(subject, Bridge):
        return SEEKS in kinds and name != "fairness"
    if name == "line big":  # minutes for a peer that keeps little in flight, and no goal speaks of peers
        return isinstance(subject, Bare | Ours)
    if name in ("sizes", "readers"):
        return isinstance(subject, MountSubject) or subject.name == "bare loop, 1 MiB"
    return True


def chosen(options: argparse.Namespace) -> list[Subject]:
    found = all_subjects()
    if options.no_peers:
        found = [subject for subject in found if not isinstance(subject, Rclone | Sshfs)]
    if options.only:
        found = [subject for subject in found if any(part in subject.name for part in options.only)]
    return found


def measure_all(options: argparse.Namespace, setup: Setup, subjects: list[Subject], results: Results) -> None:
    """Round by round, measure by measure, and only then subject by subject: what is compared is adjacent."""
    for subject in list(subjects):
        if reason := subject.missing(setup):
            results.skipped[subject.name] = reason
            subjects.remove(subject)
    for number in range(options.rounds):
        for name, measure, line, kinds in WORK:
            if (options.no_delay and line) or (options.delay_only and not line):
                continue
            if options.measure and not any(part in name for part in options.measure):
                continue
            for subject in subjects:
                if not wants(subject, name, line, kinds):
                    continue
                try:
                    found = measure(subject, setup, line)
                except (Failed, OSError) as error:
                    results.fail(subject.name, name, str(error))
                    say(f"round {number + 1}, {name}, {subject.name}: FAILED: {error}")
                    continue
                results.add(LINE if line else NEAR, subject.name, found)
                numbers = " ".join(f"{key}={value:.4g}" for key, value in found.items())
                say(f"round {number + 1}, {name}, {subject.name}: {numbers}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def about(options: argparse.Namespace, made: Plan, dropped: bool, seconds: float) -> dict[str, object]:
    return {
        "machine": f"{platform.system()} {platform.release()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "rounds": options.rounds,
        "big file": f"{made.size // MIB} MiB, {made.line_size // MIB} MiB through the line",
        "long line": f"{made.delay_ms:g} ms round trip, 3 MiB in flight each way of a connection",
        "random reads": f"{made.reads} of 64 KiB near, {made.line_reads} through the line, "
        f"offsets multiples of {made.align}",
        "kernel caches": "dropped before each cold run" if dropped else "cold by a fresh mount (not root)",
        "load before": f"{os.getloadavg()[0]:.2f}",
        "took": f"{seconds / 60:.1f} minutes",
    }


def interrupted(number: int, frame: FrameType | None) -> None:
    # Once is enough: a second one would leave mounts and servers behind.
    for ours in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ours, signal.SIG_IGN)
    raise KeyboardInterrupt


def thin(argv: list[str]) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    return thin_lines(argv, say)


def main() -> int:
    if sys.argv[1:2] == ["--line"]:
        return thin(sys.argv[2:])
    options = arguments()
    if options.quick:
        options.rounds = min(options.rounds, 1)
    made = plan(options)
    subjects, results = chosen(options), Results()
    if not subjects:
        say("no subject has such a name")
        return 2
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, interrupted)
    colors = {subject.name: subject.color for subject in subjects}
    start, facts = time.monotonic(), about(options, made, drop_caches(), 0)
    stopped = False
    try:
        with build(made, not options.no_peers, not options.no_delay) as setup:
            facts["server"] = setup.served
            measure_all(options, setup, subjects, results)
    except Failed as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        stopped = True
        facts["interrupted"] = "yes: fewer rounds than said"
    facts["took"] = f"{(time.monotonic() - start) / 60:.1f} minutes"
    goals = evaluate(results, size(made.cache_size) / MIB, made.delay_ms)
    report.write(options.out, results, goals, facts, colors)
    print(report.markdown(results, goals, facts))
    say(f"written to {options.out}")
    if stopped:
        return 130
    bad = any(subject == Ours.name or "WRONG BYTES" in error for subject, error in results.errors)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
