"""What readers feel on a thin line: the whole reading path against a model of server, line and kernel."""

import random
from bisect import bisect_right
from collections.abc import Callable
from statistics import mean, median

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from exportfs.config import KIB, MIB
from exportfs.content.line import Line
from exportfs.content.reader import Reader
from exportfs.content.tuning import SAMPLE_UNMEASURED
from exportfs.errors import Unwanted
from tests.support.fake_source import content
from tests.support.modelled_line import PACKETS, KernelFile, ModelledLine

MBIT = 125_000
READ, SEEK = 128 * KIB, 64 * KIB
FILES = dict.fromkeys(("warm", "alone", "player", "another", "copy", "whole"), 64 * MIB)


async def stream(file: KernelFile, seconds: float = float("inf")) -> int:
    """Reads as fast as it comes; gives the bytes."""
    offset = 0
    with trio.move_on_after(seconds):
        while offset < file.reader.key.size:
            await file.read(offset, READ)
            offset += READ
    return offset


async def play(file: KernelFile, pace: float, seconds: float) -> list[float]:
    """Reads at a pace; gives how long each read took."""
    begun, times = trio.current_time(), list[float]()
    while (offset := len(times) * SEEK) < pace * seconds:
        times.append(await file.read(offset, SEEK))
        await trio.sleep_until(begun + (offset + SEEK) / pace)
    return times


async def settle(line: ModelledLine) -> None:
    before = -1.0
    while line.carried != before:
        before = line.carried
        await trio.sleep(1)


async def used(
    nursery: trio.Nursery, rate: float, round_trip: float = 0.0002, busy: Callable[[], float] = lambda: 0.0
) -> ModelledLine:
    """A line that is known by what was read over it before."""
    line = ModelledLine(nursery, FILES, rate, round_trip, line=Line(busy))
    file = line.open("warm")
    await stream(file, 5)
    file.reader.close()
    await settle(line)
    return line


class Choppy:
    """A thread that works and waits for a core in turns of so many seconds on average."""

    def __init__(self, working: float, away: float) -> None:
        self._working, self._away = working, away
        self._chance, self._ends, self._now = random.Random(1), [0.0], 0.0

    def late(self, moment: float) -> float:
        """When it gets to what comes at that moment."""
        place = self._place(moment)
        return moment if place % 2 else self._ends[place]

    def busy(self) -> float:
        """Seconds for which it has waited so far, or worked: two in five of the rest."""
        now = trio.current_time()
        place = self._place(now)
        waits = zip(self._ends[1:place:2], self._ends[2:place:2], strict=False)
        current = 0.0 if place % 2 else now - self._ends[place - 1]
        waited = sum(end - begin for begin, end in waits) + current
        return waited + 0.4 * (now - waited)

    def _place(self, moment: float) -> int:
        while self._now <= moment:
            for seconds in (self._working, self._away):
                self._now += self._chance.expovariate(1 / seconds)
                self._ends.append(self._now)
        return bisect_right(self._ends, moment)


async def test_each_time_that_the_kernel_asks_takes_one_round_trip(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Of a new mount's first file, far away: for 128 KiB, then for twice as much."""
    rate, round_trip = 50 * MBIT, 0.04
    line = ModelledLine(nursery, FILES, rate, round_trip)
    file, begun = line.open("alone"), trio.current_time()
    for offset in range(0, 3 * READ, READ):
        await file.read(offset, READ)
    took = trio.current_time() - begun
    assert took <= 2 * round_trip + line.think + 1.02 * 3 * READ * PACKETS / rate
    file.reader.close()


@pytest.mark.parametrize(
    ("size", "mbit", "downloads"), [(400_000, 50, 1), (3_200_000, 50, 2), (3_200_000, 10, 2)]
)
async def test_a_distant_file_is_read_as_fast_as_the_line_carries_it(
    size: int, mbit: float, downloads: int, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """It does not rest while the kernel asks for the next part, nor where larger blocks take over."""
    line = await used(nursery, mbit * MBIT, 0.04)
    line.sizes = {"small": size}
    started = line.library.scheduler.started
    file, begun, before = line.open("small"), trio.current_time(), line.carried
    await stream(file)
    assert (
        trio.current_time() - begun
        <= line.round_trip + line.think + 1.05 * size * PACKETS / line.rate + 0.022
    )
    assert line.carried - before <= 1.002 * size * PACKETS
    assert line.library.scheduler.started - started == downloads
    file.reader.close()


@pytest.mark.parametrize("steps", [(32 * KIB, 128 * KIB), (128 * KIB, 32 * KIB)])
@pytest.mark.parametrize(("mbit", "after"), [(150, 0.01), (50, 0.1), (50, 0.2), (10, 0.3)])
async def test_what_two_read_along_is_sent_once(
    mbit: float, after: float, steps: tuple[int, int], autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """One a moment behind the other, also where larger blocks take over from those that the other read last."""
    line = await used(nursery, mbit * MBIT, 0.04)
    line.sizes = {"small": 6 * MIB}
    before = line.carried

    async def one(step: int) -> None:
        file = line.open("small")
        for offset in range(0, line.sizes["small"], step):
            await file.read(offset, step)

    async with trio.open_nursery() as readers:
        for step in steps:
            readers.start_soon(one, step)
            await trio.sleep(after)
    assert line.carried - before <= 1.002 * line.sizes["small"] * PACKETS
    nursery.cancel_scope.cancel()


async def test_who_reads_little_of_a_distant_file_gets_little(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """As a player or a thumbnailer begins: what the kernel makes of it, and nothing ahead of that."""
    line = await used(nursery, 50 * MBIT, 0.04)
    file, before = line.open("whole"), line.carried
    for offset in range(0, 128 * KIB, 32 * KIB):
        await file.read(offset, 32 * KIB)
    await settle(line)
    assert line.carried - before <= 1.01 * PACKETS * sum(length for _, length in file.requests)
    file.reader.close()


@pytest.mark.parametrize("mbit", [10, 2])
async def test_players_beside_a_copy(mbit: float, autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """A second apart. They wait for what is on its way already, and for nothing else of the copy's."""
    line = await used(nursery, mbit * MBIT)
    pace = mbit * MBIT / 8
    file = line.open("alone")
    alone = await play(file, pace, 10)
    file.reader.close()
    await settle(line)
    times: list[list[float]] = []

    async def one(name: str, after: float) -> None:
        await trio.sleep(after)
        times.append(await play(line.open(name), pace, 10))

    copy = line.open("copy")
    before = line.carried
    with trio.CancelScope() as copying:
        nursery.start_soon(stream, copy)
        async with trio.open_nursery() as players:
            players.start_soon(one, "player", 1)
            players.start_soon(one, "another", 2)
        copying.cancel()
    assert max(mean(each) for each in times) <= 1.9 * mean(alone)
    assert max(each[number] for each in times for number in range(1, len(alone))) == 0
    assert line.carried - before >= 0.97 * mbit * MBIT * 12
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("mbit", "round_trip", "most"), [(10, 0.0002, 0.1), (2, 0.0002, 0.4), (50, 0.04, 0.058)]
)
async def test_a_stream_fills_the_line_and_a_jump_does_not_wait_for_it(
    mbit: float, round_trip: float, most: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    line = ModelledLine(nursery, FILES, mbit * MBIT, round_trip)
    file = line.open("whole")
    got = await stream(file, 5)
    data = mbit * MBIT / PACKETS * 5
    assert got >= 0.95 * data - READ
    assert await file.read(FILES["whole"] // 4 * 3, SEEK) <= most
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("mbit", "round_trip", "share"), [(50, 0.04, 0.86), (10, 0.0002, 0.98), (100, 0.02, 0.9)]
)
async def test_who_waits_for_a_core_fills_the_line_all_the_same(
    mbit: float, round_trip: float, share: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """And does not take it for fast since much comes at once."""
    thread = Choppy(0.01, 0.01)
    line = await used(nursery, mbit * MBIT, round_trip, thread.busy)
    line.late = thread.late
    got = await stream(line.open("whole"), 5)
    assert got >= share * mbit * MBIT / PACKETS * 5
    assert not line.line.fast
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("mbit", [10, 2])
async def test_what_a_jump_left_hardly_delays_what_follows(
    mbit: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """The kernel's read-ahead from before is refused: nobody waits for it any more."""
    line = await used(nursery, mbit * MBIT)
    file, size = line.open("whole"), FILES["whole"]
    end, offset = trio.current_time() + 5, 0
    while trio.current_time() < end:
        await file.read(offset, READ)
        offset += READ
    first, second = await file.read(size // 4 * 3, SEEK), await file.read(size // 8 * 5, SEEK)
    assert first <= 1.5 * SEEK * PACKETS / (mbit * MBIT) + 0.02
    assert second <= 1.05 * SEEK * PACKETS / (mbit * MBIT)
    begun = trio.current_time()
    for place in range(size // 2, size // 2 + MIB, READ):
        await file.read(place, READ)
    assert trio.current_time() - begun <= 1.03 * MIB * PACKETS / (mbit * MBIT)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("mbit", [50, 10])
async def test_of_what_a_jump_left_nothing_is_sent_but_what_is_on_its_way(
    mbit: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """By the time that the server hears of it that is half of a window."""
    line = await used(nursery, mbit * MBIT, 0.04)
    file = line.open("whole")
    await stream(file, 3)
    before, on_its_way = line.carried, line.line.window / 2
    await file.read(FILES["whole"] // 4 * 3, SEEK)
    await settle(line)
    assert line.carried - before <= 1.01 * PACKETS * (on_its_way + SEEK)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("mbit", "round_trip", "share"), [(1, 0.04, 0.7), (0.5, 0.04, 0.6), (0.5, 0.0002, 0.6), (2, 0.04, 0.85)]
)
async def test_more_readers_than_downloads_share_the_line(
    mbit: float, round_trip: float, share: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Where each turn leaves something on the way for the next one to wait for, that is little."""
    line = ModelledLine(nursery, FILES, mbit * MBIT, round_trip)
    got = list[int]()

    async def one(name: str) -> None:
        reader = line.open(name).reader
        for offset in range(0, FILES[name], READ):
            got.append(len(await reader.read(offset, READ)))

    with trio.move_on_after(60):
        async with trio.open_nursery() as readers:
            for name in FILES:
                readers.start_soon(one, name)
    assert sum(got) >= share * mbit * MBIT / PACKETS * 60 - len(FILES) * READ
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("mbit", [10, 2])
async def test_random_reads_take_what_they_read(
    mbit: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Up to the page, in blocks of which only the first is read from its beginning."""
    line = await used(nursery, mbit * MBIT)
    file, chance, times = line.open("whole"), random.Random(3), list[float]()
    before = line.carried
    for _ in range(40):
        times.append(await file.read(chance.randrange(FILES["whole"] - SEEK), SEEK))
        await trio.sleep(0.1)
    assert (line.carried - before) / (len(times) * SEEK) <= 1.24
    assert median(times) <= 1.2 * SEEK * PACKETS / (mbit * MBIT)
    nursery.cancel_scope.cancel()


@settings(max_examples=40)
@given(
    reads=st.lists(
        st.tuples(st.integers(0, 400 * KIB), st.integers(1, 100 * KIB), st.floats(0, 0.2), st.integers(0, 1)),
        min_size=1,
        max_size=12,
    ),
    rate=st.sampled_from([0.25 * MIB, MIB, 100 * MIB]),
)
def test_whatever_is_read_is_what_the_server_has(
    reads: list[tuple[int, int, float, int]], rate: float
) -> None:
    """Places that overlap, of which some blocks are here in part, at once and one after the other, by two readers."""

    async def read_all() -> None:
        async with trio.open_nursery() as nursery:
            line = ModelledLine(nursery, {"whole": 300 * KIB + 77}, rate)
            readers = [line.open("whole").reader for _ in range(2)]

            async def one(offset: int, length: int, reader: Reader) -> None:
                size = reader.key.size
                try:
                    data = await reader.read(offset, length)
                except Unwanted:  # the kernel asks once more for who waits
                    data = await reader.read(offset, length)
                assert bytes(data) == content("whole", offset, max(0, min(length, size - offset)))

            with trio.fail_after(60):
                async with trio.open_nursery() as reading:
                    for offset, length, pause, number in reads:
                        reading.start_soon(one, offset, length, readers[number])
                        await trio.sleep(pause)
            nursery.cancel_scope.cancel()

    trio.run(read_all, clock=MockClock(autojump_threshold=0))


@settings(max_examples=30)
@given(
    threads=st.lists(
        st.lists(st.tuples(st.integers(0, 60), st.integers(1, 6)), min_size=1, max_size=4),
        min_size=1,
        max_size=4,
    ),
    pauses=st.lists(st.floats(0, 1), min_size=4, max_size=4),
    mbit=st.sampled_from([2, 10, 50]),
)
def test_threads_that_share_a_descriptor_get_all_that_they_read(
    threads: list[list[tuple[int, int]]], pauses: list[float], mbit: float
) -> None:
    """What one of them waits for is not refused again and again since another one jumps."""

    async def read_all() -> None:
        async with trio.open_nursery() as nursery:
            line = ModelledLine(nursery, {"whole": 64 * MIB}, mbit * MBIT, 0.04)
            file = line.open("whole")

            async def one(runs: list[tuple[int, int]], pause: float) -> None:
                await trio.sleep(pause)
                for place, count in runs:
                    for number in range(count):
                        await file.read(place * MIB + number * READ, READ)

            with trio.fail_after(300):
                async with trio.open_nursery() as reading:
                    for runs, pause in zip(threads, pauses, strict=False):
                        reading.start_soon(one, runs, pause)
            assert file.in_vain < len(threads)
            nursery.cancel_scope.cancel()

    trio.run(read_all, clock=MockClock(autojump_threshold=0))


@settings(max_examples=30)
@given(
    parts=st.lists(
        st.tuples(
            st.sampled_from([0, 0, MIB, 2 * MIB + 4 * KIB, 5 * MIB]), st.integers(1, 24), st.floats(0, 0.3)
        ),
        min_size=1,
        max_size=5,
    ),
    mbit=st.sampled_from([10, 50, 150]),
    round_trip=st.sampled_from([0.01, 0.04]),
)
def test_whatever_is_read_in_bulk_is_what_a_distant_server_has(
    parts: list[tuple[int, int, float]], mbit: float, round_trip: float
) -> None:
    """Parts of one file, at once, each from its own page cache on: read ahead, and in blocks that grow meanwhile."""

    async def read_all() -> None:
        async with trio.open_nursery() as nursery:
            line = ModelledLine(nursery, {"whole": 6 * MIB + 777}, mbit * MBIT, round_trip)

            async def one(start: int, count: int) -> None:
                file = line.open("whole")
                for offset in range(start, min(start + count * READ, file.reader.key.size), READ):
                    await file.read(offset, READ)  # which compares
                file.reader.close()

            with trio.fail_after(60):
                async with trio.open_nursery() as reading:
                    for start, count, pause in parts:
                        reading.start_soon(one, start, count)
                        await trio.sleep(pause)
            nursery.cancel_scope.cancel()

    trio.run(read_all, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize(("mbit", "round_trip"), [(10, 0.0002), (2, 0.0002), (10, 0.04), (50, 0.04)])
async def test_what_is_sent_after_the_reader_has_left(
    mbit: float, round_trip: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """What is on its way, and nothing of what the kernel still has asked for."""
    line = await used(nursery, mbit * MBIT, round_trip)
    file = line.open("copy")
    await stream(file, 5)
    before, on_its_way = line.carried, line.line.window / 2
    file.reader.flushed()
    file.reader.close()
    await settle(line)
    assert line.carried - before <= 1.01 * PACKETS * on_its_way
    nursery.cancel_scope.cancel()


async def test_a_busy_start_makes_no_server_distant(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """The first pings of a mount measure its own start, too."""
    line = ModelledLine(nursery, FILES, 1000 * MBIT, 0.004)
    await line.library.measure(line.open("whole").reader)
    assert line.line.kernel_ahead == MIB
    for _ in range(4):
        line.line.round_trip_took(0.004)
    assert not line.line.near
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("least", "ahead"), [(0.00003, MIB), (0.011, 128 * KIB)])
async def test_nor_does_one_that_is_busier(
    least: float, ahead: int, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """It was late by itself, unless the kernel says that the line is as long."""
    known = Line()
    known.round_trip_took(0.012, ours=0.011, least=least)
    line = ModelledLine(nursery, FILES, 1000 * MBIT, 0.011, line=known)
    line.round_trip = max(0.0002, least)
    await line.library.measure(line.open("whole").reader)
    assert line.line.kernel_ahead == ahead
    nursery.cancel_scope.cancel()


async def test_nor_does_a_server_that_waits_for_a_core(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """It answered the first pings late, which tells less than a first block that is soon there."""
    line = ModelledLine(nursery, FILES, 1000 * MBIT, 0.02)
    line.line.round_trip_took(0.02)
    assert not line.line.near
    line.round_trip = 0.0002
    await line.library.measure(line.open("whole").reader)
    assert line.line.kernel_ahead == MIB
    nursery.cancel_scope.cancel()


async def test_opening_waits_for_no_distant_server(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    line = ModelledLine(nursery, FILES, 1000 * MBIT, 0.04)
    begun, file = trio.current_time(), line.open("whole")
    await line.library.measure(file.reader)
    assert trio.current_time() - begun <= SAMPLE_UNMEASURED + 1e-6
    assert line.line.kernel_ahead == 128 * KIB
    await file.read(0, 4 * KIB)  # which is on its way
    assert trio.current_time() - begun <= 0.042
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("burst", [0, 16 * KIB])
@pytest.mark.parametrize(("mbit", "ahead"), [(2, 128), (10, 128), (50, 128), (1000, 1024)])
async def test_a_near_server_that_thinks_first_makes_no_line_thin(
    mbit: float, ahead: int, burst: int, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """It waits for a core, or for its disk, and sends nothing meanwhile; a thin line brings bit by bit."""
    line = ModelledLine(nursery, FILES, mbit * MBIT, think=0.02, burst=burst)
    await line.library.measure(line.open("whole").reader)
    assert line.line.kernel_ahead == ahead * KIB
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("away", [0.012, 0.025])
async def test_opening_the_first_file_waits_for_a_core(
    away: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """What came meanwhile is there all at once."""
    begun = trio.current_time()
    line = ModelledLine(nursery, FILES, 1000 * MBIT, late=lambda moment: max(moment, begun + away))
    await line.library.measure(line.open("whole").reader)
    assert line.line.kernel_ahead == MIB
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("mbit", "most", "ahead"), [(2, 0.014, 128), (10, 0.005, 128), (50, 0.005, 128), (1000, 0.002, 1024)]
)
async def test_opening_the_first_file_waits_no_longer_than_a_thin_line_takes_to_show(
    mbit: float, most: float, ahead: int, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """What passes a shaper at once tells nothing; what follows does, by not being there at once."""
    line = ModelledLine(nursery, FILES, mbit * MBIT)
    begun, file = trio.current_time(), line.open("whole")
    await line.library.measure(file.reader)
    assert line.line.kernel_ahead == ahead * KIB
    await file.read(0, 4 * KIB)
    assert trio.current_time() - begun <= most
    file.reader.close()
    await settle(line)
    assert line.carried <= (36 if mbit <= 10 else 54) * KIB  # two blocks of 16 KiB tell, or three
    nursery.cancel_scope.cancel()
