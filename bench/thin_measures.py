"""What a reader feels over a thin line, and what the line carries for it: each function gives numbers by name.

Names that end in "ms" are milliseconds, "KiB" and "MB" bytes of the line. What was read is compared with what the
server holds, outside the timed part.
"""

import os
import random
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

from bench.content import KIB, MIB, Content
from bench.processes import Failed, tree_of
from bench.thin_line import Line, run

READ = 128 * KIB
SEEK = 64 * KIB
RANDOM_READS = 10
LEFT_SECONDS = 5.0
PATIENCE = 240.0
Numbers = dict[str, float]


@dataclass
class Stand:
    """A fresh mount, the line before it, and what its files hold."""

    line: Line
    rate: float
    """Bytes a second."""
    root: Path
    """The directory with the files."""
    pid: int
    """Of the mount."""
    contents: dict[str, Content]
    seconds: float
    """For which something goes on."""

    def path(self, name: str) -> Path:
        return self.root / name

    def matches(self, name: str, offset: int, data: bytes) -> None:
        """Raises Failed."""
        if not self.contents[name].matches(data, offset):
            raise Failed(f"WRONG BYTES: {name} at {offset}")


class Reader(threading.Thread):
    """Reads a file in sequence until it is told to stop: as fast as it comes, or at a pace, as a player does."""

    def __init__(self, stand: Stand, name: str, pace: float | None = None) -> None:
        super().__init__(daemon=True)
        self.stand, self.file, self.pace = stand, name, pace
        self.got = 0
        self.times: list[float] = []
        self.error: Exception | None = None
        self._stop_reading = threading.Event()
        self.start()

    def run(self) -> None:
        try:
            descriptor = os.open(self.stand.path(self.file), os.O_RDONLY)
            try:
                self._read(descriptor)
            finally:
                os.close(descriptor)
        except (OSError, Failed) as error:
            self.error = error

    def _read(self, descriptor: int) -> None:
        size, begun = READ if self.pace is None else SEEK, time.perf_counter()
        while not self._stop_reading.is_set():
            start = time.perf_counter()
            data = os.read(descriptor, size)
            self.times.append(time.perf_counter() - start)
            if not data:
                return
            self.stand.matches(self.file, self.got, data)
            self.got += len(data)
            if self.pace is not None:
                self._stop_reading.wait(begun + self.got / self.pace - time.perf_counter())

    def leave(self) -> None:
        """Raises Failed where its reading has failed."""
        self._stop_reading.set()
        self.join(PATIENCE)
        if self.error is not None or self.is_alive():
            raise Failed(f"a reader of {self.file}: {self.error or 'hangs'}")


def timed(action: Callable[[], object]) -> float:
    """Milliseconds."""
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1e3


def pread(stand: Stand, name: str, descriptor: int, offset: int, size: int) -> float:
    """Milliseconds for all of it."""
    got = bytearray()
    start = time.perf_counter()
    while len(got) < size and (data := os.pread(descriptor, min(READ, size - len(got)), offset + len(got))):
        got += data
    took = time.perf_counter() - start
    if len(got) != size:
        raise Failed(f"{name}: {len(got)} bytes instead of {size}")
    stand.matches(name, offset, bytes(got))
    return took * 1e3


def settle(line: Line, quiet: float = 0.3, most: float = 20.0) -> int:
    """What the line has carried, once it carries next to nothing more."""
    last, end = line.carried(), time.monotonic() + most
    while time.monotonic() < end:
        time.sleep(quiet)
        now = line.carried()
        if now - last < 4 * KIB:
            return now
        last = now
    return last


def player(stand: Stand) -> Numbers:
    """Streams, jumps, jumps again, and reads on from a third place."""
    name, size = "player.mp4", stand.contents["player.mp4"].size
    with open(stand.path(name), "rb", buffering=0) as file:
        descriptor, got, begun = file.fileno(), 0, time.perf_counter()
        while time.perf_counter() - begun < stand.seconds and got < size // 2:
            got += len(os.read(descriptor, READ))
        numbers = {"streaming, KiB/s": got / KIB / (time.perf_counter() - begun)}
        numbers["jump after streaming, ms"] = pread(stand, name, descriptor, size // 4 * 3, SEEK)
        numbers["second jump, ms"] = pread(stand, name, descriptor, size // 8 * 5, SEEK)
        numbers["1 MiB in sequence after a jump, ms"] = pread(stand, name, descriptor, size // 2, MIB)
    return numbers


def seeks(stand: Stand) -> Numbers:
    """Random reads of a file that nobody has read yet."""
    name, chance = "seeks.mp4", random.Random(7)
    before = settle(stand.line)
    with open(stand.path(name), "rb", buffering=0) as file:
        places = [chance.randrange(stand.contents[name].size - SEEK) for _ in range(RANDOM_READS)]
        times = [pread(stand, name, file.fileno(), place, SEEK) for place in places]
    carried = settle(stand.line) - before
    return {
        "random 64 KiB p50, ms": median(times),
        "random: sent for each byte": carried / (RANDOM_READS * SEEK),
    }


def beside_a_copy(stand: Stand) -> Numbers:
    """Names and another file's bytes while a copy runs, and what the line carries when the copy is ended."""
    copy = Reader(stand, "copy.mp4")
    time.sleep(stand.seconds)
    numbers = {"`ls` beside a copy, ms": timed(lambda: os.listdir(stand.root))}
    with open(stand.path("beside.mp4"), "rb", buffering=0) as file:
        numbers["64 KiB beside a copy, ms"] = pread(stand, "beside.mp4", file.fileno(), 0, SEEK)
    time.sleep(1)
    copy.leave()
    before = stand.line.carried()
    time.sleep(LEFT_SECONDS)
    return numbers | {"sent after the reader left, KiB": (stand.line.carried() - before) / KIB}


def heads(stand: Stand) -> Numbers:
    """Python's head of a file, and the programs' that are installed."""
    numbers: Numbers = {}
    before = settle(stand.line)

    def python() -> None:
        with open(stand.path("head.mp4"), "rb") as file:
            stand.matches("head.mp4", 0, file.read(4096))

    numbers["head of 4 KiB by Python, ms"] = timed(python)
    numbers["head by Python: sent, KiB"] = (settle(stand.line) - before) / KIB
    if "front.mp4" in stand.contents and shutil.which("ffprobe"):
        before = settle(stand.line)
        command = ["ffprobe", "-v", "error", str(stand.path("front.mp4"))]
        numbers["ffprobe of an MP4, ms"] = timed(lambda: ended(command))
        numbers["ffprobe: sent, KiB"] = (settle(stand.line) - before) / KIB
    return numbers


def file_kind(stand: Stand) -> Numbers:
    """`file` of a file whose kind it does not know."""
    if not shutil.which("file"):
        return {}
    before = settle(stand.line)
    took = timed(lambda: ended(["file", str(stand.path("kind.mp4"))]))
    return {"`file`, ms": took, "`file`: sent, KiB": (settle(stand.line) - before) / KIB}


def two_players_and_a_copy(stand: Stand) -> Numbers:
    """Players take an eighth of the line each, alone and then with all three: a second apart, as people start them."""
    pace = stand.rate / 8
    alone = Reader(stand, "player1.mp4", pace)
    time.sleep(2 * stand.seconds)
    alone.leave()
    settle(stand.line)
    copy = Reader(stand, "copy2.mp4")
    time.sleep(1)
    players = [Reader(stand, "player2.mp4", pace)]
    time.sleep(1)
    players.append(Reader(stand, "player3.mp4", pace))
    begun, had = time.monotonic(), copy.got
    time.sleep(2 * stand.seconds)
    share = (copy.got - had) / (time.monotonic() - begun) / stand.rate
    for reader in (*players, copy):
        reader.leave()
    return {
        "player alone: a read, mean ms": mean(alone.times) * 1e3,
        "player alone: the slowest, ms": max(alone.times) * 1e3,
        "beside a player and a copy: a read, mean ms": max(mean(one.times) for one in players) * 1e3,
        "beside a player and a copy: the slowest, ms": max(max(one.times) for one in players) * 1e3,
        "beside a player and a copy: had of its pace, %": 100
        * min(one.got for one in players)
        / (2 * stand.seconds * pace),
        "the copy's share of the line, %": 100 * share,
    }


def held_open(stand: Stand) -> Numbers:
    """128 KiB read from the start of a file that stays open; and what the mount holds in memory meanwhile."""
    before = settle(stand.line)
    with open(stand.path("held.mp4"), "rb", buffering=0) as file:
        for place in range(0, READ, READ // 4):
            pread(stand, "held.mp4", file.fileno(), place, READ // 4)
        time.sleep(2)
        carried = stand.line.carried() - before
        memory = rss(stand.pid) + socket_buffers(stand.line)
    return {
        "128 KiB read, held open: sent, KiB": carried / KIB,
        "memory and socket buffers, MiB": memory / MIB,
    }


def whole(stand: Stand) -> Numbers:
    """A whole file in sequence, as `cmp` reads it."""
    size, before = stand.contents["whole.mp4"].size, settle(stand.line)
    reader = Reader(stand, "whole.mp4")
    begun = time.monotonic()
    reader.join(PATIENCE)
    took = time.monotonic() - begun
    reader.leave()
    if reader.got != size:
        raise Failed(f"whole.mp4: {reader.got} bytes instead of {size}")
    return {
        "whole file: sent for each byte": (settle(stand.line) - before) / size,
        "whole file: part of the line's rate, %": 100 * size / took / stand.rate,
    }


def idle(stand: Stand) -> Numbers:
    """Nobody looks."""
    settle(stand.line, 2)
    before = stand.line.carried()
    time.sleep(6 * stand.seconds)
    return {"idle, bytes/s": (stand.line.carried() - before) / (6 * stand.seconds)}


def thumbnails(stand: Stand) -> Numbers:
    """Four at once, of every video, as a file manager does."""
    names = [name for name in stand.contents if name.startswith("video")]
    if not names or not shutil.which("ffmpegthumbnailer"):
        return {}
    before = settle(stand.line)

    def one(name: str, pictures: str) -> None:
        picture = f"{pictures}/{name}.png"
        ended(["ffmpegthumbnailer", "-i", str(stand.path(name)), "-o", picture, "-c", "png"])

    def all_of_them() -> None:
        with tempfile.TemporaryDirectory() as pictures, ThreadPoolExecutor(4) as pool:
            list(pool.map(one, names, [pictures] * len(names)))

    seconds = timed(all_of_them) / 1e3
    return {
        f"{len(names)} thumbnails, s": seconds,
        f"{len(names)} thumbnails: sent, MB": (settle(stand.line) - before) / 1e6,
    }


JUMPS, JUMP_EVERY = 20, 0.85
SCRIPT = """
local step = 0
local function jump()
    step = step + 1
    if step > %d then mp.commandv("quit", 0) return end
    mp.commandv("seek", (step * 37) %% 97, "absolute-percent")
end
mp.add_periodic_timer(%f, jump)
"""


def mpv(stand: Stand) -> Numbers:
    """Twenty jumps in 17 s."""
    if "front.mp4" not in stand.contents or not shutil.which("mpv"):
        return {}
    script = Path(stand.contents["front.mp4"].path).parent.parent / "jumps.lua"
    script.write_text(SCRIPT % (JUMPS, JUMP_EVERY))
    trace = script.with_suffix(".strace") if shutil.which("strace") else None
    before = settle(stand.line)
    quiet = [
        "--no-config",
        "--vo=null",
        "--ao=null",
        "--no-input-terminal",
        "--hwdec=no",
        f"--script={script}",
    ]
    traced = ["strace", "-f", "-e", "trace=read", "-yy", "-o", str(trace)] if trace else []
    ended([*traced, "mpv", *quiet, str(stand.path("front.mp4"))])
    carried = settle(stand.line) - before
    numbers = {"mpv, 20 jumps: sent, MB": carried / 1e6}
    if trace is not None:
        read = read_of("front.mp4", trace.read_text(errors="replace"))
        trace.unlink()
        numbers["mpv, 20 jumps: sent for each byte read"] = carried / read
    return numbers


def read_of(name: str, trace: str) -> int:
    """Bytes that reads of a file gave, in what strace -yy has written; what it wrote in two parts, too."""
    total, unfinished = 0, set[str]()
    for line in trace.splitlines():
        pid, _, rest = line.partition(" ")
        mine = f"/{name}>" in rest and " = " in rest
        if f"/{name}>" in rest and "<unfinished" in rest:
            unfinished.add(pid)
        elif "read resumed" in rest and pid in unfinished:
            unfinished.discard(pid)
            mine = True
        if mine and (count := rest.rpartition(" = ")[2].split()[0]).isdigit():
            total += int(count)
    return total


def ended(command: list[str]) -> None:
    """Raises Failed where the program fails."""
    done = subprocess.run(
        command, capture_output=True, stdin=subprocess.DEVNULL, check=False, timeout=PATIENCE
    )
    if done.returncode:
        raise Failed(
            f"{command[0]}: {done.returncode}: {done.stderr.decode(errors='replace').strip()[-200:]}"
        )


def rss(root: int) -> int:
    """Bytes, the most so far, of a process and its helpers."""
    total = 0
    for pid in tree_of(root):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                total += int(line.split()[1]) * KIB
    return total


def socket_buffers(line: Line) -> int:
    """Bytes that the kernel holds for the TCP connections at the mount's end; 0 where that cannot be told apart."""
    if not shutil.which("ss") or line.client([]) == []:
        return 0
    return buffered(run(*line.client(["ss", "-tmnH"])))


def buffered(listing: str) -> int:
    """The `r` of each skmem:(r...,rb...,...) in what `ss -m` says."""
    return sum(int(part.split(",")[0]) for part in listing.split("skmem:(r")[1:])


MEASURES: list[tuple[str, Callable[[Stand], Numbers]]] = [
    ("player", player),
    ("seeks", seeks),
    ("beside", beside_a_copy),
    ("heads", heads),
    ("players", two_players_and_a_copy),
    ("held", held_open),
    ("whole", whole),
    ("file", file_kind),
    ("thumbnails", thumbnails),
    ("mpv", mpv),
    ("idle", idle),
]
BY_REQUEST = ("file", "thumbnails", "mpv")
"""They take minutes over a thin line."""
