"""Asking archives for footage, and how much of an interval there is."""

import itertools

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from exportfs.cameras.footage import (
    DAY,
    FRESH,
    HOUR,
    MINUTE,
    FootageReader,
    Zoom,
    coverage,
    joined,
    last_of,
    zoom,
)
from exportfs.errors import Interrupted, NotFound, TimedOut
from exportfs.site import Completeness, History, Interval
from tests.unit.cameras.fake_site import Answer, FakeSite, archive, camera

CAMERA = camera(detailed=True, archives=(archive("A", default=True), archive("B")))
COARSE = Zoom(exact=False, gap=0)


@pytest.mark.parametrize(
    ("length", "expected"),
    [
        (HOUR, Zoom(exact=True, gap=0)),
        (HOUR + 1, Zoom(exact=False, gap=MINUTE)),
        (2 * DAY, Zoom(exact=False, gap=MINUTE)),
        (2 * DAY + 1, Zoom(exact=False, gap=HOUR)),
    ],
)
def test_zoom(length: int, expected: Zoom) -> None:
    assert zoom(7, 7 + length) == expected


@pytest.mark.parametrize(
    ("intervals", "covered", "gaps"),
    [
        ([], 0.0, [(0, 100)]),
        ([(0, 100)], 1.0, []),
        ([(-50, 200)], 1.0, []),
        ([(0, 40), (60, 100)], 0.8, [(40, 60)]),
        ([(10, 20), (15, 50)], 0.4, [(0, 10), (50, 100)]),
        ([(200, 300)], 0.0, [(0, 100)]),
        ([(50, 50)], 0.0, [(0, 100)]),
    ],
)
def test_coverage(intervals: list[Interval], covered: float, gaps: list[Interval]) -> None:
    found = coverage(0, 100, intervals)
    assert found.covered == pytest.approx(covered)
    assert list(found.gaps) == gaps


INTERVALS = st.lists(st.tuples(st.integers(-20, 120), st.integers(0, 40)).map(lambda p: (p[0], p[0] + p[1])))


@given(INTERVALS)
def test_coverage_counts_each_millisecond(intervals: list[Interval]) -> None:
    there = {t for begin, end in intervals for t in range(max(0, begin), min(100, end))}
    found = coverage(0, 100, intervals)
    assert found.covered == pytest.approx(len(there) / 100)
    assert {t for begin, end in found.gaps for t in range(begin, end)} == set(range(100)) - there


@given(INTERVALS, st.integers(0, 10))
def test_joined_keeps_what_there_is(intervals: list[Interval], gap: int) -> None:
    result = joined(intervals, gap)
    assert all(a[1] + max(gap, 1) <= b[0] for a, b in itertools.pairwise(result))
    assert all(any(a <= begin and end <= b for a, b in result) for begin, end in intervals)


def test_the_last_minutes() -> None:
    assert last_of([], 5) is None
    assert last_of([(0, 10), (20, 100)], 30) == (70, 100)
    assert last_of([(0, 10), (98, 100)], 30) == (98, 100)


async def test_answers_are_remembered_for_a_minute(autojump_clock: MockClock) -> None:
    site = FakeSite()
    site.intervals = [(10, 20)]
    reader = FootageReader(site, timeout=30)
    for _ in range(3):
        assert (await reader.read(CAMERA, 0, 100, zoom=COARSE)).intervals == ((10, 20),)
    assert len(site.histories) == 1
    await trio.sleep(FRESH)
    await reader.read(CAMERA, 0, 100, zoom=COARSE)
    assert len(site.histories) == 2


async def test_partial_goes_on_at_the_end_of_the_last_interval(autojump_clock: MockClock) -> None:
    """Also where there were fewer than asked for; an interval that goes on stays one."""
    answers = iter(
        [
            History(Completeness.PARTIAL, ((0, 10),)),
            History(Completeness.PARTIAL, ((10, 30), (40, 50))),
            History(Completeness.FULL, ((60, 70),)),
        ]
    )
    site = FakeSite()
    site.answer = lambda *_: next(answers)
    found = await FootageReader(site, timeout=30).read(CAMERA, 0, 100, zoom=COARSE)
    assert found.intervals == ((0, 30), (40, 50), (60, 70))
    assert found.complete
    assert [begin for _, begin, *_ in site.histories] == [0, 10, 50]


@pytest.mark.parametrize(
    "answer",
    [
        History(Completeness.PARTIAL, ()),
        History(Completeness.PARTIAL, ((0, 10),)),
    ],
)
async def test_partial_that_does_not_go_on_is_cut(answer: History, autojump_clock: MockClock) -> None:
    site = FakeSite()
    site.answer = lambda *_: answer
    found = await FootageReader(site, timeout=30).read(CAMERA, 0, 100, zoom=COARSE)
    assert not found.complete
    assert found.intervals == answer.intervals


async def test_try_later_is_tried_later_but_not_for_ever(autojump_clock: MockClock) -> None:
    site = FakeSite()
    later = [History(Completeness.TRY_LATER, ())] * 3
    site.answer = lambda *_: later.pop() if later else History(Completeness.FULL, ((1, 2),))
    assert (await FootageReader(site, timeout=30).read(CAMERA, 0, 9, zoom=COARSE)).intervals == ((1, 2),)
    site.answer = lambda *_: History(Completeness.TRY_LATER, ())
    begun = trio.current_time()
    with pytest.raises(TimedOut):
        await FootageReader(site, timeout=30).read(CAMERA, 0, 8, zoom=COARSE)
    assert trio.current_time() - begun == pytest.approx(30)


async def test_an_archive_that_cannot_be_resolved_does_not_hide_the_next(autojump_clock: MockClock) -> None:
    def answer(track: str, begin: int, end: int, most: int) -> Answer:
        if "StorageA" in track.replace(".", ""):
            return Interrupted("the server answered INTERNAL")
        return History(Completeness.FULL, ((1, 2),))

    site = FakeSite()
    site.answer = answer
    found = await FootageReader(site, timeout=30).read(CAMERA, 0, 9, zoom=COARSE)
    assert found.archive.name == "B"


async def test_no_archive_at_all(autojump_clock: MockClock) -> None:
    with pytest.raises(NotFound, match="no archive"):
        await FootageReader(FakeSite(), timeout=30).read(camera(detailed=True), 0, 9, zoom=COARSE)
