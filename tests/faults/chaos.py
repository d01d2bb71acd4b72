"""Faults at random, for copies that must not notice: in the streams, and in the network and the server around them."""

import hashlib
import itertools
import os
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import ClassVar

import grpc

from exportfs.simulator import (
    Action,
    Call,
    Cut,
    LongBlock,
    Overrun,
    Proxy,
    RepeatBlock,
    ResetStream,
    ShortBlock,
    Simulator,
    SimulatorServer,
    SkipBlock,
    Slow,
    SwapBlocks,
    WrongIndex,
)
from exportfs.simulator.api.refusal import Refused
from exportfs.simulator.faults.actions import Block

MIB = 1 << 20
_CODES = (
    "UNAVAILABLE",
    "INTERNAL",
    "RESOURCE_EXHAUSTED",
    "ABORTED",
    "UNKNOWN",
    "CANCELLED",
    "DEADLINE_EXCEEDED",
)


@dataclass(frozen=True)
class StreamTrouble(Action):
    """Something else goes wrong with every download but one of twelve."""

    REFUSED: ClassVar = ("RESOURCE_EXHAUSTED", "UNAVAILABLE", "UNAUTHENTICATED")
    KINDS: ClassVar = frozenset(
        [kind.__name__ for kind in (Cut, ResetStream, ShortBlock, LongBlock, RepeatBlock, SkipBlock)]
        + [kind.__name__ for kind in (SwapBlocks, WrongIndex, Slow, Overrun)]
        + [*REFUSED]
    )
    """What `hits` may hold."""

    seed: int
    reach: int = 6 * MIB
    """Bytes within which it happens."""
    hits: list[str] = field(default_factory=list, compare=False)

    def before(self, call: Call) -> None:
        rng = random.Random(f"{self.seed} before {call.number}")
        if rng.random() < 0.15:
            code = rng.choice(self.REFUSED)
            self.hits.append(code)
            raise Refused(grpc.StatusCode[code], "a fault")

    def blocks(self, call: Call, blocks: Iterator[Block]) -> Iterator[Block]:
        rng = random.Random(f"{self.seed} {call.number}")
        place = rng.randrange(self.reach)
        block = place // max(1, call.chunk_size_kb * 1024)
        action = rng.choice(
            [
                None,
                Cut(place, rng.choice(_CODES)),
                Cut(place, ""),
                ResetStream(place),
                ShortBlock(block),
                LongBlock(block),
                RepeatBlock(block),
                SkipBlock(block),
                SwapBlocks(block),
                WrongIndex(block),
                Slow(20 * MIB),
                Overrun(),
            ]
        )
        if action is None:
            return blocks
        self.hits.append(type(action).__name__)
        return action.blocks(call, blocks)


class Surroundings:
    """Breaks connections, restarts the server and forgets logins, every so often."""

    def __init__(
        self, simulator: Simulator, server: SimulatorServer, proxy: Proxy, *, every: float, strand: bool
    ) -> None:
        self._every = every
        self._end = threading.Event()
        self.done: list[str] = []

        def restart_gracefully() -> None:
            server.stop(grace=0.2)
            server.start()

        kinds: dict[str, Callable[[], object]] = {
            "reset": proxy.reset,
            "close": proxy.disconnect,
            "revoke": simulator.accounts.revoke,
            "restart": partial(server.restart, forget_tokens=True),
            "graceful restart": restart_gracefully,
        }
        if strand:
            kinds["strand"] = proxy.strand
        self._kinds = kinds
        self.kinds = set(kinds)
        """What `done` may hold."""
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        for kind in itertools.cycle(self._kinds):
            if self._end.wait(self._every):
                return
            self._kinds[kind]()
            self.done.append(kind)

    def __enter__(self) -> "Surroundings":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()


def is_stream(call: Call) -> bool:
    """Whether it is the long download of sequential reading. First reads are short calls, cancelled when they have
    what they want: what is to happen late in a call never happens to them."""
    return call.chunk_size_kb * 1024 >= MIB


def digest(path: str | Path) -> tuple[int, str]:
    """Size and SHA-256 of what is read, through the system."""
    result, size = hashlib.sha256(), 0
    descriptor = os.open(path, os.O_RDONLY)
    try:
        while data := os.read(descriptor, MIB):
            result.update(data)
            size += len(data)
    finally:
        os.close(descriptor)
    return size, result.hexdigest()


def digests(paths: list[Path]) -> list[tuple[int, str]]:
    """Of all, read at the same time."""
    with ThreadPoolExecutor(len(paths)) as threads:
        return list(threads.map(digest, paths))


def results(root: Path) -> dict[str, Path]:
    """The results in a mount by file name."""
    return {path.name: path for path in root.glob("sessions/*/*") if not path.name.startswith(".")}
