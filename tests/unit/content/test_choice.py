"""What serves a read, as a table."""

import pytest

from exportfs.config import KIB, MIB
from exportfs.content.choice import Choice, Means, Underway, ahead, choose
from exportfs.content.read_ahead import Plan

SIZE = 1000 * MIB
THIN = Means(fast=False, reach=0, exact_block=16 * KIB, wide_block=MIB)
FAR = Means(fast=False, reach=48 * KIB, exact_block=64 * KIB, wide_block=MIB)
FAST = Means(fast=True, reach=48 * KIB, exact_block=256 * KIB, wide_block=MIB)
RANDOM = Plan(proven=False, lingering=False, run=64 * KIB, jumped=True)
NEXT = Plan(proven=False, lingering=True, run=256 * KIB, jumped=False)
SEQUENCE = Plan(proven=True, lingering=True, run=2 * MIB, jumped=False)


def exact(offset: int, limit: int, *, chunk: int = 16 * KIB, stop: bool = False) -> Underway:
    return Underway(offset, limit, chunk, stop=stop)


def wide(offset: int, limit: int, *, within: int = 4 * MIB) -> Underway:
    return Underway(offset, limit, MIB, wide=True, within=within)


@pytest.mark.parametrize(
    ("offset", "plan", "underway", "means", "choice"),
    [
        # nothing under way
        (5 * MIB, RANDOM, [], THIN, Choice(None, stop=True)),
        (5 * MIB, NEXT, [], THIN, Choice(None)),
        (5 * MIB, SEQUENCE, [], THIN, Choice(None, sequential=True)),
        (5 * MIB, SEQUENCE, [], FAST, Choice(None, wide=True, sequential=True)),
        (SIZE - 100 * KIB, SEQUENCE, [], FAST, Choice(None, sequential=True)),  # the little rest
        (5 * MIB - 128 * KIB, SEQUENCE, [wide(5 * MIB, 9 * MIB)], FAST, Choice(None, sequential=True)),
        # what goes on here goes on
        (MIB, NEXT, [exact(MIB, MIB)], THIN, Choice(0)),
        (MIB, NEXT, [exact(0, MIB)], THIN, Choice(0)),  # what lies between is to come anyway
        (MIB, SEQUENCE, [exact(0, MIB)], THIN, Choice(0)),
        (MIB, RANDOM, [exact(0, 2 * MIB)], THIN, Choice(0)),
        (MIB, RANDOM, [exact(0, 2 * MIB, stop=True)], THIN, Choice(0)),
        (MIB, NEXT, [exact(0, MIB, stop=True)], THIN, Choice(None)),  # that one ends there
        # a detour costs a line that is thin more than a call
        (MIB + 32 * KIB, NEXT, [exact(0, MIB)], THIN, Choice(None)),
        (MIB + 32 * KIB, NEXT, [exact(0, MIB)], FAR, Choice(0)),
        (MIB + 64 * KIB, NEXT, [exact(0, MIB)], FAR, Choice(None)),
        (MIB - 1, NEXT, [exact(MIB, 2 * MIB)], FAR, Choice(None)),  # it is past that
        # the nearest one
        (2 * MIB, NEXT, [exact(0, 3 * MIB), exact(MIB, 3 * MIB)], THIN, Choice(1)),
        # larger blocks and wide streams take over, but not from what is to come anyway
        (MIB, SEQUENCE, [exact(0, MIB)], FAR, Choice(None, sequential=True)),
        (MIB + 16 * KIB, SEQUENCE, [exact(0, MIB + 16 * KIB)], FAR, Choice(0)),  # not within a block
        (MIB, SEQUENCE, [exact(0, MIB)], FAST, Choice(None, wide=True, sequential=True)),
        (MIB, SEQUENCE, [exact(0, MIB + KIB)], FAST, Choice(0)),
        (MIB + 256 * KIB, SEQUENCE, [exact(0, MIB + 256 * KIB)], FAST, Choice(0)),  # not within a block
        (
            MIB + 256 * KIB,
            SEQUENCE,
            [exact(0, MIB + 192 * KIB)],
            FAST,
            Choice(None, wide=True, sequential=True),
        ),
        # wide streams
        (3 * MIB, SEQUENCE, [wide(0, MIB)], FAST, Choice(0)),
        (9 * MIB, SEQUENCE, [wide(0, MIB)], FAST, Choice(None, wide=True, sequential=True)),
        (3 * MIB, SEQUENCE, [wide(0, MIB, within=MIB)], FAST, Choice(None, wide=True, sequential=True)),
        (3 * MIB, SEQUENCE, [wide(0, MIB)], THIN, Choice(None, sequential=True)),
        (0, SEQUENCE, [wide(0, MIB)], THIN, Choice(0)),
    ],
)
def test_choice(offset: int, plan: Plan, underway: list[Underway], means: Means, choice: Choice) -> None:
    assert choose(offset, SIZE, plan, underway, means) == choice


def test_after_failures_blocks_are_small() -> None:
    assert choose(5 * MIB, SIZE, SEQUENCE, [], FAST, small=True) == Choice(None)


@pytest.mark.parametrize(
    ("plan", "is_wide", "window", "expected"),
    [
        (RANDOM, False, 24 * KIB, 0),
        (NEXT, True, 24 * KIB, 0),
        (SEQUENCE, False, 24 * KIB, 36 * KIB),
        (SEQUENCE, False, 8 * KIB, 16 * KIB),  # a block at least
        (SEQUENCE, False, 8 * MIB, 2 * MIB),  # never more than was read
        (SEQUENCE, True, 24 * KIB, 2 * MIB),
        (Plan(True, True, 100 * MIB, False), True, 24 * KIB, 16 * MIB),
    ],
)
def test_ahead(plan: Plan, is_wide: bool, window: int, expected: int) -> None:
    found = ahead(
        plan,
        wide=is_wide,
        near=False,
        window=window,
        round_trip=64 * KIB,
        chunk_size=16 * KIB,
        most=16 * MIB,
    )
    assert found == expected


@pytest.mark.parametrize(
    ("run", "is_wide", "round_trip", "expected"),
    [
        (128 * KIB, False, 250 * KIB, 128 * KIB),  # never more than was read
        (512 * KIB, False, 250 * KIB, 250 * KIB),
        (512 * KIB, False, 0, 0),  # the server is near
        (512 * KIB, True, 250 * KIB, 0),
    ],
)
def test_ahead_of_who_reads_in_bulk_from_a_distant_server(
    run: int, is_wide: bool, round_trip: int, expected: int
) -> None:
    plan = Plan(False, True, run, False, bulk=True)
    found = ahead(
        plan,
        wide=is_wide,
        near=False,
        window=8 * MIB,
        round_trip=round_trip,
        chunk_size=16 * KIB,
        most=16 * MIB,
    )
    assert found == expected


@pytest.mark.parametrize(
    ("run", "expected"), [(KIB, KIB), (2 * MIB, MIB), (8 * MIB, 2 * MIB), (1024 * MIB, 4 * MIB)]
)
def test_ahead_of_a_reader_near_the_server(run: int, expected: int) -> None:
    plan = Plan(True, True, run, False)
    found = ahead(plan, wide=True, near=True, window=0, round_trip=0, chunk_size=MIB, most=16 * MIB)
    assert found == expected
