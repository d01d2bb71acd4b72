"""What a program leaves behind when it reads elsewhere, or closes a file, over a line that is thin."""

import fcntl
import hashlib
import json
import mmap
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from exportfs.simulator import Config, LoginConfig, Proxy, Simulator, SimulatorServer
from tests.support.harness import MountProcess, eventually

pytestmark = [pytest.mark.mount, pytest.mark.slow]

KIB, MIB = 1 << 10, 1 << 20
STEP = 64 * KIB
SIZE = 64 * MIB
WINDOW = 128 * KIB
"""Bytes that the server has sent, at most, by the time that it hears that nobody wants them; with headers."""


@dataclass
class Scene:
    """A file behind a line of 1 MiB/s and 20 ms."""

    proxy: Proxy
    mount: MountProcess
    path: Path
    content: bytes = field(repr=False)

    def right(self, data: bytes, offset: int) -> bool:
        return data == self.content[offset : offset + len(data)]

    def settled(self) -> int:
        """Bytes that the line has carried, once no download goes on."""

        def ended() -> bool:
            status = json.loads((self.mount.mountpoint / ".status.json").read_bytes())
            return not status["downloads"]["running"]

        eventually(ended)
        return self.proxy.carried


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    simulator = Simulator(Config(login=LoginConfig(required=False)))
    with SimulatorServer(simulator) as server, Proxy(server.port) as proxy:
        proxy.latency, proxy.bandwidth = 0.02, MIB
        session_id = simulator.add_computed(SIZE)
        (file,) = simulator.files(session_id)
        mount = MountProcess(proxy.address, tmp_path, "--insecure", "--refresh", "60")
        try:
            mount.start()
            (path,) = mount.mountpoint.glob(f"sessions/*/{file.path}")
            yield Scene(proxy, mount, path, simulator.content(session_id, file.path))
            mount.check_log()
        finally:
            mount.clean_up()
    simulator.close()


def in_sequence(scene: Scene, file: int, start: int, end: int) -> None:
    for offset in range(start, end, STEP):
        data = os.pread(file, STEP, offset)
        assert len(data) == STEP
        assert scene.right(data, offset)


def test_a_jump(scene: Scene) -> None:
    file = os.open(scene.path, os.O_RDONLY)
    try:
        in_sequence(scene, file, 0, 2 * MIB)
        before = scene.proxy.carried
        in_sequence(scene, file, 48 * MIB, 48 * MIB + STEP)
        assert scene.settled() - before <= STEP + WINDOW
        # Whoever comes to it later reads it.
        in_sequence(scene, file, 2 * MIB, 2 * MIB + 8 * STEP)
    finally:
        os.close(file)


def test_a_close(scene: Scene) -> None:
    file = os.open(scene.path, os.O_RDONLY)
    in_sequence(scene, file, 0, 2 * MIB)
    before = scene.proxy.carried
    os.close(file)
    assert scene.settled() - before <= WINDOW
    with open(scene.path, "rb") as again:
        in_sequence(scene, again.fileno(), 2 * MIB, 2 * MIB + 8 * STEP)


def in_three_threads(work: Callable[[int], None], file: int) -> None:
    """Of a seed each; closes the file in the end."""
    try:
        with ThreadPoolExecutor(3) as threads:
            for done in [threads.submit(work, seed) for seed in range(3)]:
                done.result()
    finally:
        os.close(file)


def test_threads_that_share_a_descriptor(scene: Scene) -> None:
    """The jumps of one are no reason to refuse another what it waits for."""
    file = os.open(scene.path, os.O_RDONLY)

    def one(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(4):
            start = chance.randrange(SIZE // STEP - 5) * STEP
            in_sequence(scene, file, start, start + 5 * STEP)

    in_three_threads(one, file)


def directly(scene: Scene, file: int) -> Callable[[int], None]:
    """Reads of a descriptor past the kernel's cache, by a seed."""

    def one(seed: int) -> None:
        chance = random.Random(seed)
        with mmap.mmap(-1, STEP) as memory:
            for _ in range(6):
                start = chance.randrange(SIZE // STEP - 5) * STEP
                for offset in range(start, start + 5 * STEP, STEP):
                    assert os.preadv(file, [memory], offset) == STEP
                    assert scene.right(memory[:], offset)

    return one


@pytest.mark.parametrize("opener", ["a thread that stays", "a thread that has ended"])
def test_threads_that_read_past_the_kernels_cache(scene: Scene, opener: str) -> None:
    """As they may decide after the file was opened. They would see what the kernel's read-ahead is answered."""
    if opener == "a thread that stays":
        file = os.open(scene.path, os.O_RDONLY)
    else:
        with ThreadPoolExecutor(1) as threads:
            file = threads.submit(os.open, scene.path, os.O_RDONLY).result()
    fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_DIRECT)
    in_three_threads(directly(scene, file), file)


LOOP_SET_FD, LOOP_CLR_FD, LOOP_SET_DIRECT_IO, LOOP_CTL_GET_FREE = 0x4C00, 0x4C01, 0x4C08, 0x4C82
"""Of linux/loop.h."""


@pytest.fixture
def loop(scene: Scene) -> Iterator[Path]:
    """A loop device over the file that reads it directly, whose maker has kept the file open."""
    with ExitStack() as opened:
        try:
            control = opened.enter_context(Path("/dev/loop-control").open("rb"))
            place = Path(f"/dev/loop{fcntl.ioctl(control, LOOP_CTL_GET_FREE)}")
            device = opened.enter_context(place.open("rb"))
        except OSError as error:
            pytest.skip(f"no loop device: {error}")
        file = opened.enter_context(scene.path.open("rb", buffering=0))
        fcntl.ioctl(device, LOOP_SET_FD, file.fileno())
        opened.callback(fcntl.ioctl, device, LOOP_CLR_FD)
        try:
            fcntl.ioctl(device, LOOP_SET_DIRECT_IO, 1)
        except OSError as error:
            pytest.skip(f"it cannot read directly: {error}")
        yield place


@pytest.mark.alone  # as long as there is such a device nothing is refused by any mount
def test_a_loop_device_that_reads_past_the_kernels_cache(scene: Scene, loop: Path) -> None:
    file = os.open(loop, os.O_RDONLY | os.O_DIRECT)
    in_three_threads(directly(scene, file), file)


MAPPED = """
import hashlib, mmap, os, random, sys
file = os.open(sys.argv[1], os.O_RDONLY)
memory = mmap.mmap(file, 0, prot=mmap.PROT_READ)
memory.madvise(mmap.MADV_RANDOM if sys.argv[2] == "random" else mmap.MADV_NORMAL)
children = []
for seed in range(3):
    child = os.fork()
    if not child:
        chance = random.Random(seed)
        for _ in range(4):
            start = chance.randrange(len(memory) // 65536 - 5) * 65536
            for offset in range(start, start + 5 * 65536, 4096):
                digest = hashlib.sha256(memory[offset : offset + 4096]).hexdigest()
                os.write(1, f"{offset} {digest}\\n".encode())
        os._exit(0)
    children.append(child)
sys.exit(max(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children))
"""


@pytest.mark.parametrize("access", ["random", "normal"])
def test_processes_that_share_the_file_in_their_memory(scene: Scene, access: str) -> None:
    """What cannot be read of it would end them with SIGBUS."""
    words = [sys.executable, "-c", MAPPED, os.fspath(scene.path), access]
    told = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    assert len(told) == 3 * 4 * 5 * 16
    for line in told:
        offset, digest = line.split()
        page = scene.content[int(offset) : int(offset) + 4 * KIB]
        assert digest == hashlib.sha256(page).hexdigest()


def test_descriptors_that_are_closed_beside_a_reader(scene: Scene) -> None:
    """As children of a shell do that inherit the file which it reads."""
    file = os.open(scene.path, os.O_RDONLY)
    try:
        for number in range(20):
            os.close(os.dup(file))
            in_sequence(scene, file, number * 2 * STEP, (number + 1) * 2 * STEP)
    finally:
        os.close(file)
