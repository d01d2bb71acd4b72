"""What is measured, one fresh mount for each: our own cache is as cold as the kernel's.

Each measure gives a flat dictionary of numbers. Whatever was read is compared with what the server holds,
outside the timed part; wrong bytes fail the measure.
"""

import contextlib
import os
import random
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from pathlib import Path
from statistics import median, quantiles

from bench.content import GIB, KIB, MIB
from bench.processes import Failed, cpu_seconds, drop_caches, peak_rss_mib
from bench.setup import PARTS, Setup
from bench.subjects import Bare, BareSeek, Mounted, MountSubject, Subject, run_bare

READ = 64 * KIB
CONNECTIONS = 4  # of the bare loop that shares a file's stripes over a long line
Numbers = dict[str, float]


def percentiles(seconds: list[float]) -> tuple[float, float]:
    """p50 and p99 in milliseconds."""
    cuts = quantiles(seconds, n=100, method="inclusive")
    return cuts[49] * 1e3, cuts[98] * 1e3


def offsets(setup: Setup, size: int, count: int, align: int) -> list[int]:
    return [random.randrange(0, (size - READ) // align) * align for _ in range(count)]


@contextlib.contextmanager
def cold(subject: MountSubject, setup: Setup, line: bool) -> Iterator[Mounted]:
    with subject.mount(setup, line) as mount:
        drop_caches()
        setup.settled()
        setup.server.ask("reset")
        yield mount


class Sent:
    """Payload bytes sent for what is read meanwhile."""

    def __init__(self, mount: Mounted) -> None:
        self.mount = mount
        self.before = mount.sent() if mount.sent else 0

    def per(self, read: int) -> Numbers:
        return {"sent": (self.mount.sent() - self.before) / read} if self.mount.sent else {}


def dd(path: Path, *more: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        ["dd", f"if={path}", "of=/dev/null", "bs=1M", "status=none", *more],
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def run(processes: list[subprocess.Popen[bytes]]) -> None:
    try:
        for process in processes:
            _, errors = process.communicate()
            if process.returncode:
                raise Failed(errors.decode(errors="replace").strip()[-200:])
    finally:
        for process in processes:
            process.kill()


def timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def check(setup: Setup, name: str, copy: Path) -> None:
    if wrong := setup.contents[name].difference(copy):
        raise Failed(f"WRONG BYTES: {wrong}")


def sequential(subject: Subject, setup: Setup, line: bool, name: str | None = None) -> Numbers:
    name = name or ("line.mp4" if line else "big.mp4")
    size = setup.contents[name].size
    if isinstance(subject, Bare):
        server = cpu_seconds(setup.server.pid)
        result, stats = run_bare(setup, subject.job(setup, line, "loop", files=[name]))
        if result["bytes"] != size:
            raise Failed(f"{result['bytes']} bytes instead of {size}")
        per_gib = GIB / size
        return {
            "dd": size / 1e6 / result["seconds"],
            "cpu": result["cpu"] * per_gib,
            "server_cpu": (cpu_seconds(setup.server.pid) - server) * per_gib,
            "sent": stats["bytes"] / size,
        }
    assert isinstance(subject, MountSubject)
    with cold(subject, setup, line) as mount:
        path = mount.path(name)
        sent = Sent(mount)
        cpu = cpu_seconds(mount.child.pid)
        seconds = timed(lambda: run([dd(path)]))
        cpu = cpu_seconds(mount.child.pid) - cpu
        numbers = {"dd": size / 1e6 / seconds, "cpu": cpu * GIB / size} | sent.per(size)
        if mount.ours:
            numbers["downloads"] = setup.stats()["downloads"]
        if not line:  # a second read does not show the line, and a slow peer takes as long again
            # A tenth of a second from the page cache: one disturbance would be the result.
            numbers["warm"] = size / 1e6 / median(timed(lambda: run([dd(path)])) for _ in range(3))
        check(setup, name, path)
        numbers["rss_one"] = peak_rss_mib(mount.child.pid)
        return numbers


def copy(subject: Subject, setup: Setup, line: bool) -> Numbers:
    name = "line.mp4" if line else "big.mp4"
    target = setup.copies / name
    target.unlink(missing_ok=True)
    try:
        if isinstance(subject, Bare):
            job = subject.job(setup, line, "loop", files=[name], into=str(setup.copies))
            seconds = run_bare(setup, job)[0]["seconds"]
        else:
            assert isinstance(subject, MountSubject)
            with cold(subject, setup, line) as mount:
                command = ["cp", str(mount.path(name)), str(target)]
                start = time.perf_counter()
                run([subprocess.Popen(command, stderr=subprocess.PIPE, start_new_session=True)])
                seconds = time.perf_counter() - start
        check(setup, name, target)
        return {"cp": setup.contents[name].size / 1e6 / seconds}
    finally:
        target.unlink(missing_ok=True)


def seeks(subject: Subject, setup: Setup, line: bool) -> Numbers:
    """Random 64 KiB reads of a file that nobody read yet."""
    name = "line.mp4" if line else "big.mp4"
    content = setup.contents[name]
    count = setup.plan.line_reads if line else setup.plan.reads
    if isinstance(subject, BareSeek):
        align = setup.plan.align if subject.any_offset else subject.block
        ranges = [[[offset, READ]] for offset in offsets(setup, content.size, count, align)]
        result, stats = run_bare(setup, subject.job(setup, line, "seek", files=[name], ranges=ranges))
        p50, p99 = percentiles(result["times"])
        return {"p50": p50, "p99": p99, "sent_random": stats["bytes"] / (count * READ)}
    assert isinstance(subject, MountSubject)
    with cold(subject, setup, line) as mount:
        sent = Sent(mount)
        descriptor = os.open(mount.path(name), os.O_RDONLY)
        try:
            times, got = [], []
            for offset in offsets(setup, content.size, count, setup.plan.align):
                start = time.perf_counter()
                data = os.pread(descriptor, READ, offset)
                times.append(time.perf_counter() - start)
                got.append((offset, data))
        finally:
            os.close(descriptor)
        numbers = sent.per(count * READ)
        for offset, data in got:
            if len(data) != READ or not content.matches(data, offset):
                raise Failed(f"WRONG BYTES: {name} at {offset}")
    p50, p99 = percentiles(times)
    return {"p50": p50, "p99": p99} | ({"sent_random": numbers["sent"]} if numbers else {})


def ends(subject: Subject, setup: Setup, line: bool) -> Numbers:
    """The last 64 KiB after open, and the first, then the last: what a player does. Four files for each."""
    if isinstance(subject, BareSeek):
        size = setup.plan.part_size
        ranges = [[[size - READ, READ]]] * 4 + [[[0, READ], [size - READ, READ]]] * 4
        result, _ = run_bare(setup, subject.job(setup, line, "seek", files=["part0.mp4"], ranges=ranges))
        return _ends(result["times"])
    assert isinstance(subject, MountSubject)
    times, sent_mb, got = [], [], []
    with cold(subject, setup, line) as mount:
        os.listdir(mount.root)
        for numbers in (range(4), range(4, PARTS)):
            sent = Sent(mount)
            for number in numbers:
                name = f"part{number}.mp4"
                end = setup.contents[name].size - READ
                path, wanted = mount.path(name), [end] if number < 4 else [0, end]
                start = time.perf_counter()
                descriptor = os.open(path, os.O_RDONLY)
                try:
                    found = [os.pread(descriptor, READ, offset) for offset in wanted]
                    times.append(time.perf_counter() - start)
                finally:
                    os.close(descriptor)
                got += [(name, offset, data) for offset, data in zip(wanted, found, strict=True)]
            sent_mb.append(sent.per(len(numbers) * 10**6).get("sent"))
        # Only now, as with the bare calls: who is made to wait in between has gone to sleep.
        for name, offset, data in got:
            if len(data) != READ or not setup.contents[name].matches(data, offset):
                raise Failed(f"WRONG BYTES: {name} at {offset}")
    last, first_last = sent_mb
    more = (
        {"last_mb": last, "first_last_mb": first_last} if last is not None and first_last is not None else {}
    )
    return _ends(times) | more


def _ends(times: list[float]) -> Numbers:
    def middle(some: list[float]) -> float:
        return sum(sorted(some)[1:3]) / 2 * 1e3

    return {"last": middle(times[:4]), "first_last": middle(times[4:])}


def parallel(subject: Subject, setup: Setup, line: bool, readers: int = PARTS) -> Numbers:
    names = [f"part{number}.mp4" for number in range(readers)]
    size = readers * setup.plan.part_size
    if isinstance(subject, Bare):
        result, _ = run_bare(setup, subject.job(setup, line, "loop", files=names))
        return {"par": size / 1e6 / result["seconds"]}
    assert isinstance(subject, MountSubject)
    with cold(subject, setup, line) as mount:
        sent = Sent(mount)
        seconds = timed(lambda: run([dd(mount.path(name)) for name in names]))
        numbers = {"par": size / 1e6 / seconds}
        if mount.sent:
            numbers["par_sent"] = sent.per(size)["sent"]
        for name in names:
            check(setup, name, mount.path(name))
        numbers["rss"] = peak_rss_mib(mount.child.pid)
        return numbers


def places(subject: Subject, setup: Setup, line: bool) -> Numbers:
    """One file by eight readers, each from its own eighth on."""
    assert isinstance(subject, MountSubject)
    size = setup.plan.size
    starts = [size * number // PARTS for number in range(PARTS + 1)]
    with cold(subject, setup, line) as mount:
        path = mount.path("big.mp4")
        parts = [
            ("iflag=skip_bytes,count_bytes", f"skip={start}", f"count={end - start}")
            for start, end in pairwise(starts)
        ]
        sent = Sent(mount)
        cpu = cpu_seconds(mount.child.pid)
        seconds = timed(lambda: run([dd(path, *part) for part in parts]))
        cpu = cpu_seconds(mount.child.pid) - cpu
        numbers = {"places": size / 1e6 / seconds, "places_cpu": cpu * GIB / size}
        if mount.sent:
            numbers["places_sent"] = sent.per(size)["sent"]
        check(setup, "big.mp4", path)
        numbers["rss_places"] = peak_rss_mib(mount.child.pid)
        return numbers


def fairness(subject: Subject, setup: Setup, line: bool) -> Numbers:
    """What others feel while readers keep the mount busy, and what runs on after a reader left."""
    if isinstance(subject, BareSeek):
        return _bare_fairness(subject, setup, line)
    assert isinstance(subject, MountSubject)
    with cold(subject, setup, line) as mount:
        alone = [_first(setup, mount, f"part{number}.mp4") for number in range(4)]
        with reading(mount, ["big.mp4"]):
            beside = [_first(setup, mount, f"part{number}.mp4") for number in range(4, PARTS)]
    numbers = {"alone": median(alone) * 1e3, "beside": median(beside) * 1e3}
    found: dict[str, list[float]] = {"stat": [], "ls": []}
    for _ in range(4):  # one run gives some sixty looks: too few for one in a hundred
        with cold(subject, setup, line) as mount:
            with reading(mount, [f"part{number}.mp4" for number in range(PARTS)]) as busy:
                _look_around(mount, busy, found)
            if mount.ours:
                numbers["most_active"] = max(numbers.get("most_active", 0), setup.stats()["most_active"])
                numbers["abandoned"] = _abandoned(setup, mount)
    return numbers | {what: percentiles(times)[1] for what, times in found.items() if len(times) > 1}


def _bare_fairness(subject: BareSeek, setup: Setup, line: bool) -> Numbers:
    """First blocks without a mount, alone and beside a bare loop: what the server and the cores make of it."""
    first = subject.job(setup, line, "seek", files=["part0.mp4"], ranges=[[[0, READ]]] * 4)
    loop = subject.job(setup, line, "loop", files=["big.mp4"]) | {"block": MIB, "options": []}
    alone, beside = run_bare(setup, first)[0], run_bare(setup, first, beside=loop)[0]
    return {"alone": median(alone["times"]) * 1e3, "beside": median(beside["times"]) * 1e3}


def _look_around(mount: Mounted, busy: list[subprocess.Popen[bytes]], found: dict[str, list[float]]) -> None:
    """Times `stat` and `ls` for as long as the readers run."""
    while any(process.poll() is None for process in busy):
        # A name that is not there is asked of the mount each time; the kernel may keep what is.
        missing = mount.root / f"missing{len(found['stat'])}"
        found["stat"].append(timed(partial(_stat_missing, missing)))
        found["ls"].append(timed(partial(os.listdir, mount.root)))
        time.sleep(0.002)


@contextlib.contextmanager
def reading(mount: Mounted, names: list[str]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Readers in full swing: they have until the end of the block, and then as long as they need."""
    busy = [dd(mount.path(name)) for name in names]
    try:
        time.sleep(0.05)
        yield busy
    finally:
        run(busy)


def _first(setup: Setup, mount: Mounted, name: str) -> float:
    """Seconds from open to the first 64 KiB of a file that nobody read yet."""
    start = time.perf_counter()
    with open(mount.path(name), "rb", buffering=0) as file:
        data = os.pread(file.fileno(), READ, 0)
        seconds = time.perf_counter() - start
    if len(data) != READ or not setup.contents[name].matches(data, 0):
        raise Failed(f"WRONG BYTES: {name} at 0")
    time.sleep(0.02)
    return seconds


def _stat_missing(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        path.stat()


def _abandoned(setup: Setup, mount: Mounted) -> float:
    """Seconds from a reader's close in mid-file until the server sees no download any more."""
    with open(mount.path("big.mp4"), "rb", buffering=0) as file:
        for _ in range(16):
            file.read(MIB)
    start = time.perf_counter()
    while setup.stats()["active"] and time.perf_counter() - start < 15:
        time.sleep(0.05)
    return time.perf_counter() - start


def long_read(subject: Subject, setup: Setup, line: bool) -> Numbers:
    """A big file through the long line, where more than one connection pays."""
    size = setup.plan.size
    if isinstance(subject, Bare):
        one = run_bare(setup, subject.job(setup, line, "loop", files=["big.mp4"]))[0]["seconds"]
        job = subject.job(setup, line, "share", files=["big.mp4"], size=size, connections=CONNECTIONS)
        return {"long": size / 1e6 / one, "long_shared": size / 1e6 / run_bare(setup, job)[0]["seconds"]}
    assert isinstance(subject, MountSubject)
    with cold(subject, setup, line) as mount:
        path = mount.path("big.mp4")
        seconds = timed(lambda: run([dd(path)]))
        check(setup, "big.mp4", path)
    return {"long": size / 1e6 / seconds}


def size_curve(subject: Subject, setup: Setup, line: bool) -> Numbers:
    names = [name for name in setup.contents if name.startswith("small")] + ["part0.mp4", "big.mp4"]
    found: Numbers = {}
    for name in sorted(names, key=lambda name: setup.contents[name].size):
        found[f"size_{setup.contents[name].size // MIB}"] = sequential(subject, setup, line, name)["dd"]
    return found


def reader_curve(subject: Subject, setup: Setup, line: bool) -> Numbers:
    return {f"readers_{count}": parallel(subject, setup, line, count)["par"] for count in (1, 2, 4, PARTS)}
