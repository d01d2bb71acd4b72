"""Reading against a model: whatever goes wrong, a read gives the file's bytes or an error, and ends in time."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from exportfs.content.reader import Reader
from exportfs.errors import ExportfsError, Unreachable
from tests.support.fake_source import ERRORS, KINDS, FakeSource, Trouble, content

pytestmark = pytest.mark.slow
KIB = 1024
TIMEOUT = 30.0
LONGEST = 4 * TIMEOUT
"""Of a read that brings a block now and then; the handler ends it after that."""
CACHES = [128 * KIB, 256 * KIB, 512 * KIB, 2048 * KIB, 4096 * KIB, 8192 * KIB]
"""Each makes `Chunks` begin with another size of block: 16, 32, 64, 256, 512 and 1024 KiB."""
READERS = 4
LARGEST = 6 << 20
"""Bytes of a file."""

SILENT = ("stall", "skip")
"""After which nothing may come: a server that skipped the only block that it may send waits for us, as we for it."""


@dataclass(frozen=True)
class Read:
    """Part of a file by one reader; sequential where `offset` is None."""

    reader: int
    offset: float | None
    length: int


troubles = st.builds(Trouble, st.sampled_from(KINDS), st.integers(0, 4), st.sampled_from(ERRORS))
reads = st.builds(
    Read,
    st.integers(0, READERS - 1),
    st.none() | st.floats(0, 1),
    st.sampled_from([1, 4096, 65536, 131072, 300_000, 1 << 20]),
)
steps = st.lists(reads, min_size=1, max_size=4) | troubles | st.floats(0, 20) | st.integers(0, READERS - 1)
round_trips = st.sampled_from([0.0, 0.0, 0.03, 0.3])
sizes = st.sampled_from([LARGEST, 1 << 20, 16 * KIB, 1, 0]) | st.integers(0, LARGEST)
Step = Sequence[Read] | Trouble | float | int


class Context:
    """A library over a fake server, and several readers of its file."""

    def __init__(self, source: FakeSource, cache: int, downloads: int, *, lenient: bool) -> None:
        self.source, self.lenient = source, lenient
        self.library = source.library(cache_size=cache, max_downloads=downloads, timeout=TIMEOUT)
        self.key = source.key("file")
        self.readers: list[Reader] = [self.library.open(self.key) for _ in range(READERS)]
        self.positions = [0] * READERS
        self.cache = cache
        self.downloads = downloads

    async def step(self, step: Step) -> None:
        if isinstance(step, Trouble):
            waiting = self.source.troubles
            # More could be too many for one read, and two silences are all of its time: a third of the timeout, and two
            # for a server that is slow to begin.
            twice = step.kind in SILENT and any(one.kind in SILENT for one in waiting)
            if len(waiting) < 2 and not twice:
                waiting.append(step)
                self.source.mend_fails = 1
        elif isinstance(step, float):
            await trio.sleep(step)
        elif isinstance(step, int):
            self.readers[step].close()
            self.readers[step] = self.library.open(self.key)
            self.positions[step] = 0
        else:
            async with trio.open_nursery() as nursery:
                for read in {read.reader: read for read in step}.values():
                    nursery.start_soon(self.read, read)
        assert self.source.running <= self.downloads + 8
        assert self.library.cache.used <= self.cache

    async def read(self, read: Read) -> None:
        size = self.key.size
        offset = self.positions[read.reader] if read.offset is None else int(read.offset * size)
        sent = self.source.sent
        try:
            with trio.fail_after(LONGEST):
                got = bytes(await self.readers[read.reader].read(offset, read.length))
        except ExportfsError:
            assert self.lenient, "a fault that passes was not mended"
        except trio.TooSlowError:
            assert self.lenient, "a fault that passes was not mended"
            assert self.source.sent > sent, "it waited although nothing came"
        else:
            assert got == content("file", offset, max(0, min(read.length, size - offset)))
            self.positions[read.reader] = offset + len(got)


async def play(
    cache: int,
    size: int,
    downloads: int,
    largest: int | None,
    story: list[Step],
    always: Trouble | None,
    round_trip: float,
    fast: bool = False,
) -> None:
    async with trio.open_nursery() as nursery:
        source = FakeSource(
            nursery, {"file": size}, refused=largest, always=always, round_trip=round_trip, fast=fast
        )
        context = Context(source, cache, downloads, lenient=always is not None)
        nursery.start_soon(context.library.reap)
        for step in story:
            await context.step(step)
        for reader in context.readers:
            reader.close()
        await trio.sleep(1)
        assert source.running == 0, "a download outlived its readers"
        nursery.cancel_scope.cancel()


def run(played: Callable[[], Awaitable[None]]) -> None:
    trio.run(played, clock=trio.testing.MockClock(autojump_threshold=0))


relaxed = settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    max_examples=60,
)


@pytest.mark.parametrize("cache", CACHES)
@relaxed
@given(
    size=sizes,
    downloads=st.integers(1, 4),
    largest=st.sampled_from([None, None, 64 * KIB, 16 * KIB]),
    story=st.lists(steps, min_size=10, max_size=50),
    round_trip=round_trips,
    fast=st.booleans(),
)
@example(
    size=LARGEST,
    downloads=1,
    largest=None,
    story=[Trouble("stall", 0, Unreachable), Trouble("skip", 0, Unreachable), [Read(0, None, 1)]],
    round_trip=0.0,
    fast=False,
)
def test_faults_that_pass(
    cache: int,
    size: int,
    downloads: int,
    largest: int | None,
    story: list[Step],
    round_trip: float,
    fast: bool,
) -> None:
    run(partial(play, cache, size, downloads, largest, story, None, round_trip, fast))


@pytest.mark.parametrize("cache", CACHES[::2])
@relaxed
@given(
    size=sizes,
    downloads=st.integers(1, 4),
    always=troubles,
    story=st.lists(steps, min_size=2, max_size=15),
    round_trip=round_trips,
    fast=st.booleans(),
)
def test_faults_that_stay(
    cache: int, size: int, downloads: int, always: Trouble, story: list[Step], round_trip: float, fast: bool
) -> None:
    run(partial(play, cache, size, downloads, None, story, always, round_trip, fast))
