"""Reading a result: what is asked of the server for it, and what happens when the server errs."""

import contextlib
import logging
import re
from collections.abc import Callable
from mmap import PAGESIZE

import pytest
import trio
import trio.testing
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from exportfs.config import KIB, MIB
from exportfs.content.download import FileKey
from exportfs.content.library import Library
from exportfs.content.reader import Reader
from exportfs.content.tuning import GUESS_AMONG, GUESS_SECONDS, REAP_EVERY, SILENT_SECONDS, UNANSWERED_IDLE
from exportfs.errors import (
    AccessDenied,
    Busy,
    Corrupt,
    Exhausted,
    ExportfsError,
    Gone,
    Interrupted,
    InvalidArgument,
    NotFound,
    OutOfRange,
    TimedOut,
    Unreachable,
    Unsupported,
    Unwanted,
)
from exportfs.retry import PatienceConfig
from tests.support.fake_source import FakeDownload, FakeSource, Trouble, content

KERNEL = 128 * KIB


async def read_all(reader: Reader, size: int, step: int = KERNEL, start: int = 0) -> None:
    """Reads to the end as the kernel would, and compares every byte."""
    for offset in range(start, size, step):
        data = await reader.read(offset, step)
        assert bytes(data) == content(reader.key.file_id, offset, min(step, size - offset)), offset


async def test_sequential_reading_costs_two_calls(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    size = 40 * MIB + 777
    source = FakeSource(nursery, {"f": size})
    reader = source.library().open(source.key("f"))
    await read_all(reader, size)
    reader.close()
    assert len(source.fetches) == 2
    assert source.sent < size * 1.02


async def test_a_random_read_costs_what_it_asks_for(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    source = FakeSource(nursery, {"f": 100 * MIB}, fast=False)
    reader = source.library().open(source.key("f"))
    for offset in (90 * MIB + 5, 10 * MIB, 55 * MIB + 100):
        assert bytes(await reader.read(offset, 64 * KIB)) == content("f", offset, 64 * KIB)
    assert len(source.fetches) == 3
    assert all(fetch.stop and not fetch.wide for fetch in source.fetches)
    assert source.sent <= 3 * 5 * 16 * KIB
    assert source.running == 0


async def test_the_first_file_of_an_unknown_line_brings_its_head(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """What is fetched to get to know the line is what the reader gets: nothing is asked for twice."""
    source = FakeSource(nursery, dict.fromkeys("abcd", 10 * MIB), fast=False)
    library = source.library()
    for name in "abcd":
        reader = library.open(source.key(name))
        await library.measure(reader)
        assert len(source.fetches) == 1  # this source never says how fast it was, but it was there at once
        assert source.sent <= 48 * KIB
    assert library.line.kernel_ahead == MIB
    await reader.read(0, 16 * KIB)
    assert len(source.fetches) == 2
    first = library.open(source.key("a"))
    assert bytes(await first.read(0, 16 * KIB)) == content("a", 0, 16 * KIB)
    assert len(source.fetches) == 2


async def test_a_server_that_gives_nothing_is_not_measured_for_ever(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    always = Trouble("error", error=AccessDenied)
    source = FakeSource(nursery, dict.fromkeys("abcde", 10 * MIB), fast=False, always=always)
    library = source.library()
    for name in "abcde":
        await library.measure(library.open(source.key(name)))
    assert library.line.unknown
    assert len({fetch.file_id for fetch in source.fetches}) == 3


@pytest.mark.parametrize("trouble", ["small", "fast", "far", "silent", "failing"])
async def test_opening_waits_no_longer_than_a_moment_for_a_first_block(
    autojump_clock: MockClock, nursery: trio.Nursery, trouble: str
) -> None:
    source = FakeSource(nursery, {"f": 10 * MIB if trouble != "small" else 1000}, fast=trouble == "fast")
    library = source.library()
    if trouble == "far":
        source.round_trip = 0.02
        library.line.round_trip_took(0.02)
    if trouble == "silent":
        source.always = Trouble("stall")
    if trouble == "failing":
        source.always = Trouble("error", error=InvalidArgument)
    begun = trio.current_time()
    await library.measure(library.open(source.key("f")))
    assert trio.current_time() - begun <= 0.008 + 1e-9
    assert bool(source.fetches) == (trouble in ("far", "silent", "failing"))
    # What was late is known to be slow, and the next file does not wait.
    assert library.line.unknown == (trouble in ("small", "failing"))
    assert library.line.kernel_ahead == {"fast": 1024, "far": 128, "silent": 128}.get(trouble, 256) * KIB


async def test_many_readers_of_one_block_share_one_call(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    source = FakeSource(nursery, {"f": 10 * MIB})
    library = source.library()

    async def one() -> None:
        reader = library.open(source.key("f"))
        assert bytes(await reader.read(5 * MIB, 100)) == content("f", 5 * MIB, 100)
        reader.close()

    async with trio.open_nursery() as readers:
        for _ in range(50):
            readers.start_soon(one)
    assert len(source.fetches) == 1


async def test_never_more_downloads_than_allowed(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    names = [f"f{number}" for number in range(9)]
    source = FakeSource(nursery, dict.fromkeys(names, 3 * MIB))
    library = source.library(max_downloads=2)

    async def one(name: str) -> None:
        reader = library.open(source.key(name))
        await read_all(reader, 3 * MIB)
        reader.close()

    async with trio.open_nursery() as readers:
        for name in names:
            readers.start_soon(one, name)
    assert source.most_running <= 2


async def test_an_idle_download_is_given_up(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    source = FakeSource(nursery, {"f": 100 * MIB})
    library = source.library()
    nursery.start_soon(library.reap)
    reader = library.open(source.key("f"))
    await read_all(reader, 5 * MIB)
    await trio.sleep(1)
    assert source.running == 1
    await trio.sleep(4)
    assert source.running == 0
    await read_all(reader, 7 * MIB, start=5 * MIB)
    nursery.cancel_scope.cancel()


async def test_closing_ends_the_download(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    source = FakeSource(nursery, {"f": 100 * MIB})
    reader = source.library().open(source.key("f"))
    await read_all(reader, 5 * MIB)
    reader.close()
    await trio.testing.wait_all_tasks_blocked()
    assert source.running == 0


@pytest.mark.parametrize("spoilt", ["short", "index", "twice", "stall", "end"])
@pytest.mark.parametrize("often", [1, 2])
async def test_a_spoilt_block_is_fetched_again(
    spoilt: str, often: int, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    left = {6: often}

    def fault(download: FakeDownload, index: int) -> str | None:
        place = index * download.fetch.chunk_size // MIB
        if left.get(place):
            left[place] -= 1
            return spoilt
        return None

    source = FakeSource(nursery, {"f": 12 * MIB}, fault=fault)
    reader = source.library().open(source.key("f"))
    await read_all(reader, 12 * MIB)
    assert left[6] < often
    nursery.cancel_scope.cancel()


async def test_what_a_slow_read_met_is_logged(
    autojump_clock: MockClock, nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "exportfs.content")
    left = [Interrupted("reset"), Interrupted("reset again")]
    source = FakeSource(nursery, {"f": MIB}, fault=lambda download, index: left.pop(0) if left else None)
    reader = source.library().open(source.key("f"))
    await reader.read(64 * KIB, KIB)
    lines = [line for line in caplog.messages if "the block at 65536" in line]
    head = f"session {reader.key.session_id}, file 'f': the block at 65536, attempt"
    line = r" \(window \d+ KiB, rate \d+ KiB/s\)"
    assert len(lines) == 2
    assert re.fullmatch(f"{head} 1, failed in blocks of 32 KiB: reset after .* s{line}", lines[0])
    assert re.fullmatch(f"{head} 2, failed in blocks of 16 KiB: reset again after .* s{line}", lines[1])
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("spoilt", ["short", "index", "twice", "end"])
async def test_a_block_that_stays_wrong_is_an_error(
    spoilt: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    source = FakeSource(nursery, {"f": MIB}, fault=lambda download, index: spoilt)
    reader = source.library().open(source.key("f"))
    with pytest.raises(Corrupt):
        await reader.read(0, 64 * KIB if spoilt != "twice" else MIB)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (NotFound("gone"), Gone),
        (Busy("FAILED_PRECONDITION"), Busy),
        (Exhausted("RESOURCE_EXHAUSTED"), Exhausted),
        (Unreachable("down"), Unreachable),
        (Interrupted("reset"), Interrupted),
    ],
)
async def test_lasting_failures(
    failure: ExportfsError, raised: type[Exception], autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    source = FakeSource(nursery, {"f": MIB}, fault=lambda download, index: failure)
    reader = source.library(timeout=10).open(source.key("f"))
    begun = trio.current_time()
    with pytest.raises(raised):
        await reader.read(0, KERNEL)
    assert trio.current_time() - begun <= 10
    nursery.cancel_scope.cancel()


async def test_a_server_that_is_silent(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    source = FakeSource(nursery, {"f": MIB}, fault=lambda download, index: "stall")
    reader = source.library(timeout=30).open(source.key("f"))
    begun = trio.current_time()
    with pytest.raises(TimedOut):
        await reader.read(0, KERNEL)
    assert trio.current_time() - begun <= 30.1
    assert source.suspected >= 2
    nursery.cancel_scope.cancel()


async def test_a_server_that_refuses_large_blocks(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    def fault(download: FakeDownload, index: int) -> InvalidArgument | None:
        return InvalidArgument("chunk_size_kb") if download.fetch.chunk_size > 64 * KIB else None

    source = FakeSource(nursery, {"f": 8 * MIB}, fault=fault)
    reader = source.library().open(source.key("f"))
    await read_all(reader, 8 * MIB)
    assert {fetch.chunk_size for fetch in source.fetches} == {32 * KIB, 64 * KIB, 256 * KIB, 512 * KIB, MIB}
    nursery.cancel_scope.cancel()


REFUSALS: list[ExportfsError] = [
    InvalidArgument("INVALID_ARGUMENT: chunk_size_kb"),
    Interrupted("INTERNAL: buffer too small"),
    Interrupted("UNKNOWN: Exception calling application"),
    Exhausted("RESOURCE_EXHAUSTED: Sent message larger than max (1048590 vs. 524288)"),
    Exhausted("RESOURCE_EXHAUSTED"),
    Busy("FAILED_PRECONDITION"),
    NotFound("NOT_FOUND"),
    OutOfRange("OUT_OF_RANGE: encoded message length too large"),
    Unsupported("UNIMPLEMENTED"),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=str)
@pytest.mark.parametrize(
    "works",
    [lambda size: size <= 16 * KIB, lambda size: size <= 64 * KIB, lambda size: size >= 256 * KIB],
    ids=["16 KiB", "at most 64 KiB", "at least 256 KiB"],
)
async def test_a_block_size_may_be_refused_with_anything(
    refusal: ExportfsError,
    works: Callable[[int], bool],
    autojump_clock: MockClock,
    nursery: trio.Nursery,
) -> None:
    """Another size is found at once, and after two files the server is known."""

    def fault(download: FakeDownload, index: int) -> ExportfsError | None:
        return None if works(download.fetch.chunk_size) else refusal

    source = FakeSource(nursery, dict.fromkeys("fgh", 4 * MIB), fault=fault)
    library = source.library()
    for name in "fg":
        begun = trio.current_time()
        await read_all(library.open(source.key(name)), 4 * MIB)
        assert trio.current_time() - begun < 2
    source.fetches.clear()
    reader = library.open(source.key("h"))
    assert bytes(await reader.read(3 * MIB, KERNEL)) == content("h", 3 * MIB, KERNEL)
    await read_all(reader, 4 * MIB)
    assert all(works(fetch.chunk_size) for fetch in source.fetches)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("failure", [Interrupted("INTERNAL"), Exhausted("RESOURCE_EXHAUSTED")])
async def test_one_failure_does_not_make_blocks_smaller(
    failure: ExportfsError, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    failures = [failure]

    def fault(download: FakeDownload, index: int) -> ExportfsError | None:
        return failures.pop() if failures and download.fetch.chunk_size == MIB else None

    source = FakeSource(nursery, dict.fromkeys("fg", 8 * MIB), fault=fault)
    library = source.library()
    await read_all(library.open(source.key("f")), 8 * MIB)
    assert not failures
    source.fetches.clear()
    await read_all(library.open(source.key("g")), 8 * MIB)
    assert MIB in {fetch.chunk_size for fetch in source.fetches}
    nursery.cancel_scope.cancel()


async def test_a_session_that_is_gone_is_soon_known(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """No size served yet, so each is tried; none twice."""
    source = FakeSource(nursery, {"f": 8 * MIB}, fault=lambda download, index: NotFound("no such session"))
    reader = source.library().open(source.key("f"))
    begun = trio.current_time()
    with pytest.raises(Gone):
        await reader.read(0, KERNEL)
    assert trio.current_time() - begun < 0.1
    assert len(source.fetches) == len({fetch.chunk_size for fetch in source.fetches}) == 6
    nursery.cancel_scope.cancel()


async def test_a_full_server_is_not_taken_for_one_that_refuses_a_size(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    source = FakeSource(nursery, dict.fromkeys("fghij", 8 * MIB), at_most=2, delay=0.01)
    library = source.library()
    nursery.start_soon(library.reap)
    async with trio.open_nursery() as readers:
        for name in "fghij":
            readers.start_soon(read_all, library.open(source.key(name)), 8 * MIB)
    assert {fetch.chunk_size for fetch in source.fetches} == {32 * KIB, MIB}
    nursery.cancel_scope.cancel()


async def test_blocks_without_bytes_are_none(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Before, between and after the others, whatever number they bear."""

    def fault(download: FakeDownload, index: int) -> str | None:
        for number in (0, index, index + 1, 1 << 60):
            download.sink.block(number, memoryview(b""))
        return None

    source = FakeSource(nursery, {"f": 3 * MIB, "g": 3 * MIB + 1}, fault=fault, empty_end=True)
    begun = trio.current_time()
    for name, size in source.sizes.items():
        await read_all(source.library().open(source.key(name)), size)
    assert trio.current_time() - begun < 1
    nursery.cancel_scope.cancel()


async def test_numbers_that_begin_at_zero_in_every_call(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Refused, never read as right: the bytes of one place would be taken for those of another."""
    source = FakeSource(nursery, {"f": 8 * MIB}, fault=lambda download, index: "from zero")
    reader = source.library().open(source.key("f"))
    with pytest.raises(Corrupt):
        await reader.read(5 * MIB, KERNEL)
    nursery.cancel_scope.cancel()


async def test_a_server_that_sends_larger_blocks(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """It has a smallest size, and goes by that also for the place to begin."""
    source = FakeSource(nursery, {"f": 8 * MIB + 5}, smallest=64 * KIB)
    reader = source.library().open(source.key("f"))
    assert bytes(await reader.read(5 * MIB, KERNEL)) == content("f", 5 * MIB, KERNEL)
    await read_all(reader, 8 * MIB + 5)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(
    ("size", "smallest", "offset"), [(448, 128, 231), (320, 128, 154), (416, 64, 204), (100, 64, 37)]
)
@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.promise("R6")
async def test_the_end_of_a_file_is_not_taken_for_another_place(
    autojump_clock: MockClock, nursery: trio.Nursery, size: int, smallest: int, offset: int, fast: bool
) -> None:
    """All in KiB. As such a server numbers, a block that we ask for is what is left at the end, and as long as ours."""
    source = FakeSource(nursery, {"f": size * KIB}, smallest=smallest * KIB, fast=fast)
    reader = source.library().open(source.key("f"))
    assert bytes(await reader.read(offset * KIB, 1)) == content("f", offset * KIB, 1)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("index", "more"), [(1, 1), (2, 1), (5, 0)])
async def test_what_is_proved_costs_a_moment_once(
    autojump_clock: MockClock, nursery: trio.Nursery, index: int, more: int
) -> None:
    """Where a first block might be the end in larger ones, the next one tells by its first bytes."""
    source = FakeSource(nursery, {"f": 20 * 16 * KIB, "g": 20 * 16 * KIB}, fast=False)
    library = source.library()
    for name in "fg":
        await library.open(source.key(name)).read(index * 16 * KIB, 16 * KIB)
    ends = [None if fetch.end is None else fetch.end - (index + 1) * 16 * KIB for fetch in source.fetches]
    assert ends == [more, 0]
    nursery.cancel_scope.cancel()


@settings(max_examples=60)
@given(
    size=st.integers(1, 300).map(lambda number: number * 16 * KIB) | st.integers(1, 5 * MIB),
    limit=st.sampled_from(["smallest", "largest"]),
    block=st.sampled_from([16, 32, 64, 128, 256, 512, 1024]) | st.integers(16, 1024),
    places=st.lists(
        st.tuples(st.floats(0, 1), st.sampled_from([1, 64 * KIB, KERNEL])), min_size=1, max_size=5
    ),
    fast=st.booleans(),
)
# Our last block, in place of which the end of a larger one comes.
@example(size=272 * KIB, limit="smallest", block=257, places=[(1.0, 1)], fast=False)
@pytest.mark.promise("R6")
def test_whatever_blocks_a_server_makes_of_ours(
    size: int, limit: str, block: int, places: list[tuple[float, int]], fast: bool
) -> None:
    """Wherever one begins to read: never another place's bytes, and an error only where all sizes are wrong."""
    usable = limit == "smallest" or block in (16, 32, 64, 256, 512, 1024)

    async def read_all() -> None:
        async with trio.open_nursery() as nursery:
            source = FakeSource(nursery, {"f": size}, fast=fast)
            setattr(source, limit, block * KIB)
            reader = source.library().open(source.key("f"))
            for place, length in places:
                offset = int(place * (size - 1))
                with contextlib.nullcontext() if usable else contextlib.suppress(Corrupt):
                    data = bytes(await reader.read(offset, length))
                    assert data == content("f", offset, min(length, size - offset))
            nursery.cancel_scope.cancel()

    trio.run(read_all, clock=MockClock(autojump_threshold=0))


async def test_a_server_that_sends_smaller_blocks(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    def fault(download: FakeDownload, index: int) -> str | None:
        return "short" if download.fetch.chunk_size > 64 * KIB else None

    source = FakeSource(nursery, {"f": 8 * MIB}, fault=fault)
    reader = source.library().open(source.key("f"))
    await read_all(reader, 8 * MIB)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("fast", [True, False])
async def test_a_whole_file_is_sent_once(
    fast: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    size = 40 * MIB + 777
    source = FakeSource(nursery, {"f": size}, fast=fast)
    reader = source.library().open(source.key("f"))
    await read_all(reader, size)
    assert source.sent <= size + 64 * KIB
    assert any(fetch.wide for fetch in source.fetches) is fast
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("places", [(0, KERNEL), (KERNEL, 0)])
@pytest.mark.parametrize("start", [28 * KIB, 896 * KIB, 7 * MIB + 12 * KIB])
async def test_reading_from_anywhere_is_sent_once(
    start: int, places: tuple[int, int], autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """As ffmpeg reads an AVI file, from behind its header, with two requests of the kernel at a time. The wide download
    begins where the exact one ends, and that one, whose small blocks come sooner, is not asked for what follows."""
    size = 40 * MIB
    source = FakeSource(nursery, {"f": size}, rate=100.0 * MIB)
    reader = source.library().open(source.key("f"))
    for offset in range(start, size, 2 * KERNEL):
        async with trio.open_nursery() as requests:
            for place in places:
                requests.start_soon(reader.read, offset + place, KERNEL)
                await trio.testing.wait_all_tasks_blocked()
    assert any(fetch.wide for fetch in source.fetches)
    assert source.sent <= size - start + 256 * KIB
    nursery.cancel_scope.cancel()


async def test_a_line_that_proves_fast_gets_a_wide_stream_soon(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Also while the reader always waits for the next block."""
    size = 64 * MIB
    source = FakeSource(nursery, {"f": size}, fast=False, delay=0.01)
    library = source.library()
    line = library.line
    reader = library.open(source.key("f"))
    line._window = 8.0 * MIB
    await read_all(reader, 4 * MIB)
    line.round_trip_took(0.0002)
    line.granted(0.0, 4 * MIB)
    line.arrived(0.01, 4 * MIB)
    assert line.fast
    await read_all(reader, size, start=4 * MIB)
    wide = [fetch for fetch in source.fetches if fetch.wide]
    assert len(wide) == 1
    assert wide[0].first * MIB <= 8 * MIB
    assert source.sent <= size + MIB
    nursery.cancel_scope.cancel()


async def test_many_requests_at_once_do_not_keep_a_wide_stream_away(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Of what `cp` reads the kernel has up to nine requests of a MiB under way, none at the beginning of a block of a
    wide stream: the exact one that brought them was asked for the next ones, again and again."""
    size = 64 * MIB
    source = FakeSource(nursery, {"f": size}, fast=False, delay=0.01)
    library = source.library()
    line, reader = library.line, library.open(source.key("f"))
    line.round_trip_took(0.0002)
    line.granted(0.0, MIB)
    line.arrived(0.1, MIB)
    await reader.read(0, 256 * KIB)
    asked = iter(range(256 * KIB, size, MIB))

    async def read() -> None:
        for offset in asked:
            assert bytes(await reader.read(offset, MIB)) == content("f", offset, min(MIB, size - offset))
            if offset == 20 * MIB + 256 * KIB:
                line.granted(0.0, 4 * MIB)
                line.arrived(0.01, 4 * MIB)
                assert line.fast

    async with trio.open_nursery() as reading:
        for _ in range(6):
            reading.start_soon(read)
    wide = [fetch for fetch in source.fetches if fetch.wide]
    assert len(wide) == 1
    assert wide[0].first * MIB <= 40 * MIB
    assert source.sent <= size + MIB
    reader.close()


HEAD = [(0, KERNEL), (KERNEL, 2 * KERNEL), (3 * KERNEL, 4 * KERNEL)]
"""The kernel's requests for somebody who reads the first 290 KB in small pieces."""
SEEN = 3 * KERNEL
NEXT = 7 * KERNEL


async def look(
    source: FakeSource, reader: Reader, nursery: trio.Nursery
) -> Callable[[], bytes | Exception | None]:
    """Has the requests of HEAD made. Gives what became of the last one, which is the kernel's guess."""
    answers: list[bytes | Exception] = []

    async def guess() -> None:
        try:
            answers.append(bytes(await reader.read(*HEAD[2])))
        except Unwanted as error:
            answers.append(error)

    for offset, length in HEAD[:2]:
        await reader.read(offset, length)
    nursery.start_soon(guess)
    await trio.testing.wait_all_tasks_blocked()
    return lambda: answers[0] if answers else None


def near(source: FakeSource, max_downloads: int = 4) -> Library:
    """With a server that is nearby, of a line that is fast, as the kernel's requests of a MiB show."""
    library = source.library(max_downloads=max_downloads)
    assert library.line.quick
    assert library.line.kernel_ahead == MIB
    return library


async def test_what_the_kernel_guesses_is_not_sent_where_the_reader_goes_elsewhere(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    source = FakeSource(nursery, {"f": 30 * MIB})
    reader = near(source).open(source.key("f"))
    answer = await look(source, reader, nursery)
    assert answer() is None
    assert bytes(await reader.read(3 * MIB, 32 * KIB)) == content("f", 3 * MIB, 32 * KIB)
    await trio.testing.wait_all_tasks_blocked()
    assert isinstance(answer(), Unwanted)
    assert source.sent == SEEN + 32 * KIB
    # Whoever comes to it later gets it.
    assert bytes(await reader.read(*HEAD[2])) == content("f", *HEAD[2])
    nursery.cancel_scope.cancel()


async def test_nor_where_the_file_is_closed(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    source = FakeSource(nursery, {"f": 30 * MIB})
    reader = near(source).open(source.key("f"))
    answer = await look(source, reader, nursery)
    reader.flushed()
    await trio.testing.wait_all_tasks_blocked()
    assert isinstance(answer(), Unwanted)
    assert source.sent == SEEN
    nursery.cancel_scope.cancel()


async def test_it_is_sent_at_once_where_the_reader_comes_to_it(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """The kernel's next request tells so; and what it guessed before comes first, in the same call."""
    source = FakeSource(nursery, {"f": 30 * MIB})
    reader = near(source).open(source.key("f"))
    answer = await look(source, reader, nursery)
    before = trio.current_time()
    assert bytes(await reader.read(NEXT, MIB)) == content("f", NEXT, MIB)
    assert trio.current_time() - before < GUESS_SECONDS
    assert answer() == content("f", *HEAD[2])
    assert len(source.fetches) == 1
    nursery.cancel_scope.cancel()


async def test_it_is_sent_after_a_moment_where_nothing_tells(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    source = FakeSource(nursery, {"f": 30 * MIB})
    reader = near(source).open(source.key("f"))
    answer = await look(source, reader, nursery)
    await trio.sleep(GUESS_SECONDS + 1)
    assert answer() == content("f", *HEAD[2])
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("why", ["distant", "direct", "congested"])
async def test_what_may_be_waited_for_is_sent_at_once(
    why: str, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    source = FakeSource(nursery, {"f": 30 * MIB, **{f"other{n}": 30 * MIB for n in range(GUESS_AMONG)}})
    library = near(source, 2 * GUESS_AMONG)
    if why == "distant":
        library.line._round_trips.clear()
        library.line.round_trip_took(0.02)
    reader = library.open(source.key("f"), guesses=why != "direct")
    others = [library.open(source.key(f"other{number}")) for number in range(GUESS_AMONG)]
    for one in (reader, *others):
        for offset, length in HEAD[:2]:
            await one.read(offset, length)
    if why == "congested":
        for other in others:
            nursery.start_soon(other.read, *HEAD[2])
        await trio.testing.wait_all_tasks_blocked()
    begun = trio.current_time()
    await reader.read(*HEAD[2])
    assert trio.current_time() - begun < GUESS_SECONDS
    nursery.cancel_scope.cancel()


async def test_seeks_near_a_fast_server_are_served_to_the_byte(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """From the first place to any other: no connection and no thread for each, and of its last block what is wanted."""
    source = FakeSource(nursery, {"f": 300 * MIB})
    reader = near(source).open(source.key("f"))
    for place in range(1, 9):
        await reader.read(place * 20 * MIB + 4 * KIB, 32 * KIB)
    assert [fetch.end for fetch in source.fetches] == [place * 20 * MIB + 36 * KIB for place in range(1, 9)]
    assert not any(fetch.wide for fetch in source.fetches)
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("fast", [True, False])
async def test_a_look_at_a_head_sends_no_more_than_that(
    fast: bool, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Also where the file stays open: four reads of 32 KiB are three requests of the kernel's read-ahead."""
    source = FakeSource(nursery, {"f": 1800 * MIB}, fast=fast)
    reader = source.library().open(source.key("f"))
    for offset in range(0, 3 * KERNEL, KERNEL):
        await reader.read(offset, KERNEL)
    await trio.sleep(2)
    assert source.sent == 3 * KERNEL
    assert len(source.fetches) == 1
    nursery.cancel_scope.cancel()


async def test_a_jump_ends_what_it_left(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    source = FakeSource(nursery, {"f": 100 * MIB}, fast=False)
    reader = source.library().open(source.key("f"))
    await read_all(reader, 5 * MIB)
    assert source.running == 1
    begun = len(source.fetches)
    async with trio.open_nursery() as reading:
        reading.start_soon(reader.read, 80 * MIB, KERNEL)
        await trio.testing.wait_all_tasks_blocked()
        assert source.running == 1
    assert len(source.fetches) == begun + 1
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("fast", "step", "block"), [(False, KERNEL, 16 * KIB), (True, MIB, MIB)])
@pytest.mark.parametrize("breaks", [False, True])
async def test_of_what_a_jump_left_only_what_was_asked_for_comes(
    breaks: bool, fast: bool, step: int, block: int, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Where the requests of before may be a program's own, they are answered; what was to come ahead of them does not
    come, also where they have to be made anew."""
    source = FakeSource(nursery, {"f": 100 * MIB}, fast=fast, delay=0.1)
    reader = source.library().open(source.key("f"), guesses=False)
    await read_all(reader, 5 * MIB, step)
    faults = list[ExportfsError]()
    async with trio.open_nursery() as reading:
        for number in range(4):
            reading.start_soon(reader.read, 5 * MIB + number * step, step)
        await trio.sleep(0.01)
        if breaks:
            faults.append(Interrupted("a fault"))
            source.fault = lambda download, index: faults.pop() if faults else None
        await reader.read(80 * MIB, 16 * KIB)
    await trio.sleep(10)
    assert not faults
    assert source.sent <= 5 * MIB + 4 * step + 2 * block
    nursery.cancel_scope.cancel()


class Story:
    """A reader of 5 MiB of a thin line's file; then requests of the kernel's for what follows are under way."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.source = FakeSource(nursery, {"f": 100 * MIB}, fast=False, delay=0.1)
        self.library = self.source.library()
        self.reader = self.library.open(self.source.key("f"))
        self.nursery = nursery
        self.next = 5 * MIB
        self.answers = list[bytes | None]()
        """Of what `ask` asked for; None where it was refused."""

    async def ask(self, offset: int | None = None, length: int = KERNEL) -> None:
        """Has the kernel ask for what follows, or for a place."""
        if offset is None:
            offset, self.next = self.next, self.next + length

        async def read(offset: int) -> None:
            try:
                data = bytes(await self.reader.read(offset, length))
                assert data == content("f", offset, length)
                self.answers.append(data)
            except Unwanted:
                self.answers.append(None)

        self.nursery.start_soon(read, offset)
        await trio.testing.wait_all_tasks_blocked()


async def test_what_the_kernel_asked_for_before_a_jump_is_refused(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Nobody waits for it: who jumps has come to none of it. So nothing of it is sent."""
    story = Story(nursery)
    await read_all(story.reader, 5 * MIB)
    await story.ask()
    await story.ask()
    before = story.source.sent
    assert await story.reader.read(80 * MIB, KERNEL) == content("f", 80 * MIB, KERNEL)
    assert story.answers == [None, None]
    await trio.sleep(10)
    assert story.source.sent == before + KERNEL
    # Who comes back gets it.
    await story.ask(5 * MIB)
    await trio.sleep(5)
    assert story.answers[2] is not None
    nursery.cancel_scope.cancel()


async def refused_by_a_jump(nursery: trio.Nursery) -> Story:
    """What the kernel read ahead at 5 MiB was refused, since its reader went elsewhere."""
    story = Story(nursery)
    await read_all(story.reader, 5 * MIB)
    await story.ask()
    await story.reader.read(80 * MIB, KERNEL)
    assert story.answers == [None]
    return story


@pytest.mark.parametrize("another", [False, True])
async def test_who_comes_back_to_it_gets_it_in_one(
    autojump_clock: MockClock, nursery: trio.Nursery, another: bool
) -> None:
    """The kernel asks page by page for what it was refused when it read it ahead: each block would take a round trip.
    So does who has opened the file anew meanwhile."""
    story = await refused_by_a_jump(nursery)
    reader = story.library.open(story.source.key("f")) if another else story.reader
    before = story.source.sent
    for place in range(2):
        offset = 5 * MIB + place * 16 * KIB
        assert await reader.read(offset, PAGESIZE) == content("f", offset, PAGESIZE)
    await trio.sleep(10)
    assert story.source.sent == before + KERNEL
    nursery.cancel_scope.cancel()


async def test_a_single_page_of_it_is_no_reason_for_the_rest(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """As who reads a file in his memory at random comes to it."""
    story = await refused_by_a_jump(nursery)
    before = story.source.sent
    await story.reader.read(5 * MIB + KERNEL // 2, PAGESIZE)
    await trio.sleep(10)
    assert story.source.sent - before <= 16 << 10
    nursery.cancel_scope.cancel()


async def test_what_a_read_began_with_is_never_refused(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Whatever reads at many places at once waits for each of them."""
    story = Story(nursery)
    for place in (5, 80, 20, 60):
        await story.ask(place * MIB)
    await trio.sleep(30)
    assert len(story.answers) == 4
    assert None not in story.answers
    nursery.cancel_scope.cancel()


async def test_a_thread_that_waits_is_refused_once(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """The kernel asks for the page once more, while the other thread still waits for its own."""
    story = Story(nursery)
    await read_all(story.reader, 5 * MIB)
    await story.ask()
    await story.ask(80 * MIB)
    assert story.answers == [None]
    await story.ask(5 * MIB, 4 * KIB)
    await story.ask(5 * MIB + 4 * KIB)
    for place in (20, 60):
        await story.ask(place * MIB)
    await trio.sleep(30)
    assert story.answers.count(None) == 1
    assert len(story.answers) == 6
    nursery.cancel_scope.cancel()


async def test_what_was_refused_is_not_refused_again(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Whoever waits for it may have waited for a core, until the jump was over: a page that the kernel asks for once
    more is its reader's answer, whatever else goes on."""
    story = Story(nursery)
    await read_all(story.reader, 5 * MIB)
    await story.ask()
    await story.ask(8 * MIB)
    await trio.sleep(5)
    assert story.answers == [None, content("f", 8 * MIB, KERNEL)]
    for number in range(3):
        await story.ask(5 * MIB + number * 8 * KIB, 8 * KIB)
    await story.ask(60 * MIB)
    await trio.sleep(30)
    assert story.answers.count(None) == 1
    assert len(story.answers) == 6
    nursery.cancel_scope.cancel()


async def test_single_pages_are_never_refused(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """The kernel reads none ahead: threads with the file in their memory, whose access is `random`, wait for each."""
    story = Story(nursery)
    for number in range(4):
        await story.reader.read(5 * MIB + number * PAGESIZE, PAGESIZE)
    await story.ask(5 * MIB + 4 * PAGESIZE, PAGESIZE)
    await story.ask(80 * MIB, PAGESIZE)
    await trio.sleep(30)
    assert len(story.answers) == 2
    assert None not in story.answers
    nursery.cancel_scope.cancel()


async def test_what_is_read_past_the_kernels_cache_is_never_refused(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """It reads whole pages ahead. What is not of whole pages a program asks for, and sees what it is answered."""
    story = Story(nursery)
    await read_all(story.reader, 5 * MIB)
    await story.ask(5 * MIB, KERNEL - 512)
    story.next = 5 * MIB + KERNEL - 512
    await story.ask()
    await story.ask(80 * MIB)
    await trio.sleep(30)
    assert len(story.answers) == 3
    assert None not in story.answers
    nursery.cancel_scope.cancel()


async def test_nothing_is_refused_to_who_has_been_given_the_descriptor(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """As a loop device: whether it reads past the kernel's cache cannot be seen."""
    story = Story(nursery)
    story.reader.flushed()
    await read_all(story.reader, 5 * MIB)
    await story.ask()
    await story.ask()
    await story.ask(80 * MIB)
    story.reader.flushed()
    await trio.sleep(30)
    assert len(story.answers) == 3
    assert None not in story.answers
    nursery.cancel_scope.cancel()


async def test_what_has_waited_long_is_not_refused(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    """Who does wait for it would have to wait for as long again as a read may."""
    story = Story(nursery)
    library, source = story.source.library(timeout=30), story.source
    story.reader = library.open(source.key("f"))
    await read_all(story.reader, 5 * MIB)
    source.fault = lambda download, index: "stall"
    await story.ask()
    await trio.sleep(library.scheduler._stall / 3)
    source.fault = None
    await story.ask(80 * MIB)
    await trio.sleep(30)
    assert len(story.answers) == 2
    assert None not in story.answers
    nursery.cancel_scope.cancel()


async def test_what_the_kernel_asked_for_before_a_close_is_refused(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    story = Story(nursery)
    await read_all(story.reader, 5 * MIB)
    await story.ask()
    await story.ask()
    before = story.source.sent
    story.reader.flushed()
    await trio.testing.wait_all_tasks_blocked()
    assert story.answers == [None, None]
    assert story.source.running == 0
    story.reader.close()
    await trio.sleep(10)
    assert story.source.sent == before
    nursery.cancel_scope.cancel()


async def test_who_has_another_descriptor_is_refused_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """`flush` comes for each one that is closed, as by the children of a shell that reads a file line by line."""
    story = Story(nursery)
    await read_all(story.reader, 5 * MIB)
    await story.ask()
    story.reader.flushed()
    await trio.testing.wait_all_tasks_blocked()
    assert story.answers == [None]
    for _ in range(3):
        await story.ask(5 * MIB)
        calls = len(story.source.fetches)
        story.reader.flushed()
        await trio.sleep(5)
        assert len(story.source.fetches) == calls
    assert story.answers.count(None) == 1
    nursery.cancel_scope.cancel()


async def test_a_flush_while_nothing_is_asked_for_ends_nothing(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    story = Story(nursery)
    await read_all(story.reader, 5 * MIB)
    assert story.source.running == 1
    story.reader.flushed()
    await trio.testing.wait_all_tasks_blocked()
    assert story.source.running == 1
    nursery.cancel_scope.cancel()


async def test_a_jump_of_one_reader_leaves_the_other_alone(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    source = FakeSource(nursery, {"f": 100 * MIB}, fast=False)
    library = source.library()
    copier, player = library.open(source.key("f")), library.open(source.key("f"))
    await read_all(copier, 5 * MIB)
    begun = len(source.fetches)
    for place in (80, 20, 60):
        await player.read(place * MIB, KERNEL)
    await read_all(copier, 8 * MIB, start=5 * MIB)
    assert len(source.fetches) == begun + 3
    nursery.cancel_scope.cancel()


async def test_a_tiny_cache(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    source = FakeSource(nursery, {"f": 6 * MIB, "g": 6 * MIB})
    library = source.library(cache_size=MIB)
    readers = [library.open(source.key(name)) for name in "fg"]
    async with trio.open_nursery() as both:
        for reader in readers:
            both.start_soon(read_all, reader, 6 * MIB)
    assert library.cache.used <= MIB
    nursery.cancel_scope.cancel()


async def test_a_precondition_is_not_waited_for(autojump_clock: MockClock, nursery: trio.Nursery) -> None:
    source = FakeSource(nursery, {"f": MIB}, fault=lambda download, index: Busy("FAILED_PRECONDITION"))
    reader = source.library(timeout=30).open(source.key("f"))
    begun = trio.current_time()
    with pytest.raises(Busy):
        await reader.read(0, KERNEL)
    assert trio.current_time() - begun < 1
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("largest", [16 * KIB, 64 * KIB, 256 * KIB])
async def test_a_server_that_cuts_blocks_short(
    largest: int, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    source = FakeSource(nursery, {"f": 8 * MIB + 5, "g": 2 * MIB}, largest=largest)
    library = source.library()
    reader = library.open(source.key("f"))
    assert bytes(await reader.read(0, KERNEL)) == content("f", 0, KERNEL)
    await read_all(reader, 8 * MIB + 5, start=KERNEL)
    source.fetches.clear()
    await read_all(library.open(source.key("g")), 2 * MIB)
    assert all(fetch.chunk_size <= largest for fetch in source.fetches)
    nursery.cancel_scope.cancel()


async def test_one_bad_file_does_not_make_blocks_smaller(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    def fault(download: FakeDownload, index: int) -> ExportfsError | str | None:
        return InvalidArgument("bad file id") if download.fetch.file_id == "bad" else None

    source = FakeSource(nursery, {"bad": 8 * MIB, "good": 8 * MIB}, fault=fault)
    library = source.library()
    with pytest.raises(InvalidArgument):
        await library.open(source.key("bad")).read(0, KERNEL)
    source.fetches.clear()
    await read_all(library.open(source.key("good")), 8 * MIB)
    assert {fetch.chunk_size for fetch in source.fetches} == {32 * KIB, MIB}
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("size", [MIB, 4 * MIB, 4 * MIB + 1])
async def test_an_empty_block_may_end_a_file(
    size: int, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    source = FakeSource(nursery, {"f": size}, empty_end=True)
    await read_all(source.library().open(source.key("f")), size)
    nursery.cancel_scope.cancel()


async def test_a_server_that_serves_fewer_downloads_than_we_may_start(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    names = [f"f{number}" for number in range(5)]
    source = FakeSource(nursery, dict.fromkeys(names, 40 * MIB), at_most=1, delay=0.01)
    library = source.library(timeout=10)
    nursery.start_soon(library.reap)

    async def one(name: str) -> None:
        reader = library.open(source.key(name))
        for offset in range(0, 40 * MIB, MIB):
            assert len(await reader.read(offset, MIB)) == MIB
        reader.close()

    async with trio.open_nursery() as readers:
        for name in names:
            readers.start_soon(one, name)
    nursery.cancel_scope.cancel()


async def test_a_server_that_lets_downloads_queue_behind_one_that_rests(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """As one with few threads does, or a proxy."""
    source = FakeSource(nursery, {"f": 64 * MIB, "g": MIB}, places=trio.Semaphore(1))
    library = source.library()
    nursery.start_soon(library.reap)
    await read_all(library.open(source.key("f")), 3 * MIB)
    begun = trio.current_time()
    await read_all(library.open(source.key("g")), MIB)
    assert trio.current_time() - begun < SILENT_SECONDS + REAP_EVERY + 0.2
    nursery.cancel_scope.cancel()


@pytest.mark.promise("E3")
async def test_a_server_that_lets_calls_queue_behind_players(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """A listing, or a keep-alive poll. Players leave their downloads idle, though never long enough to lose them."""
    source = FakeSource(nursery, {"f": 64 * MIB}, places=trio.Semaphore(1))
    assert source.places is not None
    library = source.library()
    nursery.start_soon(library.reap)
    reader = library.open(source.key("f"))
    await read_all(reader, 3 * MIB)

    async def play() -> None:
        for offset in range(3 * MIB, 64 * MIB, 64 * KIB):
            await read_all(reader, offset + 64 * KIB, 64 * KIB, offset)
            await trio.sleep(0.25)

    nursery.start_soon(play)
    await trio.sleep(5)
    source.called_at = trio.current_time()
    with trio.fail_after(PatienceConfig().stall * UNANSWERED_IDLE + 2 * REAP_EVERY):
        await source.places.acquire()
    nursery.cancel_scope.cancel()


async def test_a_server_that_lets_downloads_queue_behind_players(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """They bring something all the time; each of them rests all the same."""
    source = FakeSource(nursery, {"f": 256 * MIB, "g": 256 * MIB, "h": MIB}, places=trio.Semaphore(2))
    library = source.library()
    nursery.start_soon(library.reap)

    async def play(name: str) -> None:
        reader = library.open(source.key(name))
        await read_all(reader, 3 * MIB)
        for offset in range(3 * MIB, 256 * MIB, MIB):
            await read_all(reader, offset + MIB, start=offset)
            await trio.sleep(0.25)

    for name in "fg":
        nursery.start_soon(play, name)
    await trio.sleep(5)
    with trio.fail_after(PatienceConfig().stall * UNANSWERED_IDLE + 2 * REAP_EVERY):
        await read_all(library.open(source.key("h")), MIB)
    nursery.cancel_scope.cancel()


@pytest.mark.promise("E3")
async def test_a_server_that_lets_calls_queue_behind_copies(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Before the call is given up, one of them ends and queues in its turn."""
    source = FakeSource(nursery, {"f": 640 * MIB}, places=trio.Semaphore(1), delay=0.1)
    assert source.places is not None
    library = source.library()
    nursery.start_soon(library.reap)
    nursery.start_soon(read_all, library.open(source.key("f")), 640 * MIB)
    await trio.sleep(20)
    source.called_at = trio.current_time()
    with trio.fail_after(PatienceConfig().stall):
        await source.places.acquire()
    assert len(source.fetches) < 5
    nursery.cancel_scope.cancel()


async def test_a_server_that_lets_downloads_queue_behind_a_busy_one(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """They take turns, as where it refuses them."""
    source = FakeSource(nursery, {"f": 64 * MIB, "g": 64 * MIB}, places=trio.Semaphore(1), delay=3)
    library = source.library()
    nursery.start_soon(library.reap)
    with trio.CancelScope() as copying:
        nursery.start_soon(read_all, library.open(source.key("f")), 64 * MIB)
        await trio.sleep(10)
        await read_all(library.open(source.key("g")), 10 * MIB)
        copying.cancel()
    nursery.cancel_scope.cancel()


async def test_a_download_that_stalls_after_it_had_to_wait(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    stalled: list[int] = []

    def fault(download: FakeDownload, index: int) -> str | None:
        if download.fetch.file_id == "g" and not stalled:
            stalled.append(index)
            return "stall"
        return None

    source = FakeSource(nursery, {"f": 64 * MIB, "g": MIB}, fault=fault, delay=0.05)
    library = source.library(max_downloads=1, timeout=9)
    nursery.start_soon(library.reap)
    first, second = library.open(source.key("f")), library.open(source.key("g"))
    async with trio.open_nursery() as readers:
        readers.start_soon(read_all, first, 64 * MIB)
        await trio.sleep(0.2)
        readers.start_soon(read_all, second, MIB)
    assert stalled
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("begins", [1, 1.5, 2.5])
@pytest.mark.parametrize("delay", [1.0, 1.3])
async def test_what_comes_in_turns_is_waited_for(
    delay: float, begins: float, autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """For longer than the timeout, since it comes closer with each turn, in whichever of them that is over."""
    source = FakeSource(nursery, {"f": 8 * MIB, "g": 8 * MIB}, fast=False, delay=delay)
    library = source.library(max_downloads=1)
    nursery.start_soon(library.reap)
    first, second = library.open(source.key("f")), library.open(source.key("g"))
    nursery.start_soon(first.read, 0, 512 * KIB)
    nursery.start_soon(second.read, 0, MIB)
    await trio.sleep(begins)
    begun = trio.current_time()
    assert bytes(await first.read(300 * KIB, KIB)) == content("f", 300 * KIB, KIB)
    assert trio.current_time() - begun > PatienceConfig().timeout
    nursery.cancel_scope.cancel()


async def test_nothing_spins_when_all_is_done(
    autojump_clock: MockClock, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = [f"f{number}" for number in range(6)]
    source = FakeSource(nursery, dict.fromkeys(names, 40 * MIB))
    library = source.library(max_downloads=1)
    nursery.start_soon(library.reap)

    async def one(name: str) -> None:
        reader = library.open(source.key(name))
        for offset in range(0, 40 * MIB, MIB):
            await reader.read(offset, MIB)
        reader.close()

    async with trio.open_nursery() as readers:
        for name in names:
            readers.start_soon(one, name)
    looks = 0
    schedule = library.scheduler.schedule

    def counted() -> None:
        nonlocal looks
        looks += 1
        schedule()

    monkeypatch.setattr(library.scheduler, "schedule", counted)
    await trio.sleep(100)
    assert looks <= 101
    nursery.cancel_scope.cancel()


async def test_read_ahead_that_hangs_does_not_starve_others(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Nobody waits for it: so it has to go before another file's reader has lost patience."""

    def fault(download: FakeDownload, index: int) -> str | None:
        hangs = download.fetch.file_id != "g" and index * download.fetch.chunk_size >= 2 * MIB
        return "stall" if hangs else None

    names = ["a", "b", "c", "d"]
    source = FakeSource(nursery, dict.fromkeys(names, 64 * MIB) | {"g": MIB}, fault=fault, delay=0.002)
    library = source.library(max_downloads=len(names), timeout=5)
    nursery.start_soon(library.reap)
    for name in names:
        await read_all(library.open(source.key(name)), 3 * MIB // 2)
    await trio.sleep(0.1)
    assert source.running == len(names)
    assert bytes(await library.open(source.key("g")).read(0, KIB)) == content("g", 0, KIB)
    nursery.cancel_scope.cancel()


@pytest.mark.promise("E2")
@pytest.mark.parametrize("round_trip", [9, 12, 19])
async def test_a_server_that_takes_long_for_a_first_block(
    autojump_clock: MockClock, nursery: trio.Nursery, round_trip: float
) -> None:
    """One try costs a third of the timeout; the next has what is left, and so have those after it."""
    source = FakeSource(nursery, dict.fromkeys("fgh", MIB), round_trip=round_trip)
    library = source.library(timeout=30)
    for name in "fgh":
        begun = trio.current_time()
        assert bytes(await library.open(source.key(name)).read(0, KIB)) == content(name, 0, KIB)
        tries = 2 if name == "f" and round_trip > 10 else 1
        assert trio.current_time() - begun <= round_trip + 10 * (tries - 1) + 0.5
    nursery.cancel_scope.cancel()


async def test_a_silent_connection_is_given_up_though_the_server_was_slow_before(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Silence is borne for two thirds of the timeout once, and then for a third again."""
    source = FakeSource(nursery, {"f": MIB, "g": MIB}, round_trip=12)
    library = source.library(timeout=30)
    await library.open(source.key("f")).read(0, KIB)
    suspected = source.suspected
    source.always = Trouble("stall")
    for _ in range(3):
        begun = trio.current_time()
        with pytest.raises(TimedOut):
            await library.open(source.key("g")).read(0, KIB)
        assert trio.current_time() - begun <= 30
    assert source.suspected >= suspected + 4
    source.always, source.round_trip = None, 0.01
    assert bytes(await library.open(source.key("g")).read(0, KIB)) == content("g", 0, KIB)
    nursery.cancel_scope.cancel()


@pytest.mark.promise("E3")
async def test_the_kernels_second_asking_does_not_wait_again(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Where a read-ahead failed it asks for the one page again, and the caller waits for both."""
    source = FakeSource(nursery, {"f": 100 * MIB}, always=Trouble("stall"))
    reader = source.library(timeout=30).open(source.key("f"))
    begun = trio.current_time()
    for offset, length in ((50 * MIB, KERNEL), (50 * MIB + 8 * KIB, 4 * KIB)):
        with pytest.raises(TimedOut):
            await reader.read(offset, length)
    assert trio.current_time() - begun <= 30
    source.always = None
    await trio.sleep(1)
    assert bytes(await reader.read(50 * MIB, KIB)) == content("f", 50 * MIB, KIB)
    nursery.cancel_scope.cancel()


@pytest.mark.promise("E3")
async def test_nor_does_it_where_several_failed_together(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """What the kernel reads ahead are several requests, which end with the connection that they share."""
    source = FakeSource(nursery, {"f": 100 * MIB}, always=Trouble("stall"))
    reader = source.library(timeout=30).open(source.key("f"))

    async def fails(offset: int, length: int) -> None:
        with pytest.raises(TimedOut):
            await reader.read(offset, length)

    begun = trio.current_time()
    for length in (KERNEL, 4 * KIB):
        async with trio.open_nursery() as reads:
            for number in range(3):
                reads.start_soon(fails, 50 * MIB + number * KERNEL, length)
    assert trio.current_time() - begun < 31
    nursery.cancel_scope.cancel()


async def test_more_seeks_than_downloads_follow_one_another_at_once(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """One that had just brought its last block was taken for one that rests, and its place was kept free for the time
    in which a server may not have heard of that: eight seekers had a sixth of what four have."""
    source = FakeSource(nursery, {"f": 300 * MIB}, round_trip=0.001)
    library = source.library(max_downloads=2)

    async def seek(number: int) -> None:
        reader = library.open(source.key("f"))
        for place in range(5):
            await reader.read((8 * place + number + 1) * 4 * MIB, 32 * KIB)

    begun = trio.current_time()
    async with trio.open_nursery() as seekers:
        for number in range(8):
            seekers.start_soon(seek, number)
    assert trio.current_time() - begun < 8 * 5 / 2 * 3 * source.round_trip
    nursery.cancel_scope.cancel()


@pytest.mark.promise("E3")
async def test_the_second_asking_has_the_same_answer(
    autojump_clock: MockClock, nursery: trio.Nursery
) -> None:
    """Whatever that is: also one that says more than a sentence."""
    source = FakeSource(nursery, {"f": 100 * MIB}, always=Trouble("short"), round_trip=6)
    reader = source.library(timeout=30).open(source.key("f"))
    failures = []
    for _ in range(2):
        with pytest.raises(Corrupt) as failed:
            await reader.read(50 * MIB, KIB)
        failures.append(failed.value)
    assert str(failures[0]) == str(failures[1])
    assert type(failures[0]) is type(failures[1])
    nursery.cancel_scope.cancel()


@pytest.mark.parametrize("fast", [False, True])
async def test_what_is_announced_as_empty_is_proved_empty(
    autojump_clock: MockClock, nursery: trio.Nursery, fast: bool
) -> None:
    """A server that does not know a size says 0: what it holds would be copied as nothing."""
    source = FakeSource(nursery, {"empty": 0, "a": 1, "b": 10 * MIB}, fast=fast)
    library = source.library()
    reader = library.open(source.key("empty"))
    await reader.prove_empty()
    assert len(source.fetches) == 1
    for name in ("a", "b"):
        reader = library.open(FileKey("s", name, 0))
        with pytest.raises(Corrupt, match="longer than the 0 bytes"):
            await reader.prove_empty()
        assert source.running == 0
    assert source.sent < 500 * KIB
    asked = len(source.fetches)
    await library.open(source.key("a")).prove_empty()  # its size is known
    assert len(source.fetches) == asked


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OutOfRange, None),
        (InvalidArgument, None),
        (NotFound, None),
        (Interrupted, Interrupted),
        (Unreachable, Unreachable),
        (AccessDenied, AccessDenied),
    ],
)
async def test_whether_it_is_empty_may_not_be_told(
    autojump_clock: MockClock,
    nursery: trio.Nursery,
    error: type[ExportfsError],
    raised: type[ExportfsError] | None,
) -> None:
    """Some refuse to send what begins beyond the end; what was not answered proves nothing."""
    source = FakeSource(nursery, {"f": 1}, always=Trouble("error", error=error))
    reader = source.library().open(FileKey("s", "f", 0))
    begun = trio.current_time()
    with pytest.raises(raised) if raised else contextlib.nullcontext():
        await reader.prove_empty()
    assert trio.current_time() - begun <= 31
