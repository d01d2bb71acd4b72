"""When reading counts as sequential."""

import pytest

from exportfs.config import KIB, MIB
from exportfs.content.read_ahead import Plan, Position

K = 128 * KIB


def requests(start: int, count: int, step: int = K) -> list[tuple[int, int]]:
    return [(start + number * step, step) for number in range(count)]


@pytest.mark.parametrize(
    ("reads", "proven"),
    [
        (requests(0, 1), False),
        (requests(0, 8), False),  # a thumbnailer's look at the head, the kernel's read-ahead included
        (requests(0, 9), True),
        ([(0, MIB)], False),  # the kernel's own read-ahead at the start of a file
        (requests(0, 2, MIB), True),
        ([(50 * MIB, 2 * MIB)], True),
        (requests(50 * MIB, 9), True),
        ([*requests(0, 4), (5 * K, K), (4 * K, K), *requests(6 * K, 4)], True),  # out of order
        ([*requests(0, 9), (90 * MIB, K)], False),
        ([(9 * MIB, 64 * KIB), (9 * MIB + 600 * KIB, 64 * KIB)] * 40, False),
        ([(0, K)] * 40, False),  # the same again is not a way forward
    ],
)
def test_proof(reads: list[tuple[int, int]], proven: bool) -> None:
    position = Position()
    for offset, length in reads:
        plan = position.read(offset, length)
    assert plan.proven is proven


@pytest.mark.parametrize("ahead", [0, K, MIB])
def test_the_kernels_read_ahead_is_no_reading(ahead: int) -> None:
    position = Position()
    proven = [position.read(offset, K, ahead).proven for offset in range(0, 8 * MIB, K)]
    assert proven.index(True) * K == MIB + 2 * ahead


THUMBNAIL = [(0, K), (K, 2 * K), (3 * K, 4 * K)]
"""The kernel's requests for somebody who reads the first 350 KiB in small pieces."""


@pytest.mark.parametrize(
    ("reads", "proven"),
    [
        ([(0, 4 * K)], [True]),  # cp, rsync
        ([(0, MIB), (MIB, MIB)], [True, True]),  # dd
        ([(0, 4 * K), (4 * K, K), (5 * K, K)], [True, True, True]),
        (THUMBNAIL, [False] * 3),
        ([*THUMBNAIL, (7 * K, MIB), (7 * K + MIB, K), (8 * K + MIB, MIB)], [False] * 5 + [True]),
        ([(9 * MIB, MIB)], [False]),  # beside a page that it has
        ([(9 * MIB, MIB), (10 * MIB, MIB)], [False, False]),
        ([(0, 4 * K), (9 * MIB, MIB), (9 * MIB + MIB, K)], [True, False, False]),
    ],
)
def test_large_reads_prove_it_on_a_fast_line(reads: list[tuple[int, int]], proven: list[bool]) -> None:
    fast, other = Position(), Position()
    assert [fast.read(offset, length, MIB, fast=True).proven for offset, length in reads] == proven
    assert not any(other.read(offset, length, MIB).proven for offset, length in reads)


@pytest.mark.parametrize(
    ("reads", "kernel_ahead", "bulk"),
    [
        (requests(0, 3), K, [True] * 3),  # cat
        ([(0, 2 * K), (2 * K, K)], K, [True] * 2),  # cp
        ([(0, 64 * KIB), (64 * KIB, K), (192 * KIB, K)], K, [False] * 3),  # a thumbnailer, a player
        ([(0, 16 * KIB)], K, [False]),
        ([(0, K)], 32 * KIB, [True]),
        ([(0, 32 * KIB), (32 * KIB, 32 * KIB)], 32 * KIB, [False] * 2),  # the same over 2 Mbit/s
        ([(0, K), (K, 2 * K)], MIB, [False] * 2),  # what the kernel makes of small reads on a fast line
        ([(0, MIB)], MIB, [True]),
        ([(0, K), (9 * MIB, K), (9 * MIB + K, K)], K, [True, False, False]),
        ([(9 * MIB, 2 * K)], K, [False]),
    ],
)
def test_bulk(reads: list[tuple[int, int]], kernel_ahead: int, bulk: list[bool]) -> None:
    position = Position()
    assert [position.read(offset, length, kernel_ahead).bulk for offset, length in reads] == bulk


@pytest.mark.parametrize(
    ("reads", "guesses"),
    [
        (THUMBNAIL, [False, False, True]),
        ([*THUMBNAIL, (7 * K, MIB), (7 * K + MIB, MIB)], [False, False, True, False, False]),  # tar, zip
        ([(0, 2 * K), (2 * K, 4 * K)], [False, True]),  # cat
        (
            [(K, 192 * KIB), (K + 192 * KIB, 384 * KIB)],
            [False, True],
        ),  # back to the head, behind what the kernel has
        ([(0, 4 * K), (4 * K, MIB)], [False, False]),  # cp: proven
        ([(0, 4 * K), (4 * K, 4 * K)], [False, False]),  # a program that asks for so much itself
        ([(9 * MIB, 36 * KIB), (9 * MIB + 36 * KIB, 4 * K)], [False, False]),  # it is waited for
        ([(0, K), (K, 2 * K), (9 * MIB, 4 * K)], [False] * 3),
    ],
)
def test_what_is_the_kernels_guess(reads: list[tuple[int, int]], guesses: list[bool]) -> None:
    position = Position()
    assert [position.read(offset, length, MIB, fast=True).guess for offset, length in reads] == guesses


def test_a_window_that_grows_no_further_is_no_guess() -> None:
    position = Position()
    assert not any(position.read(offset, length, 4 * K, fast=True).guess for offset, length in THUMBNAIL)


def test_a_seek_starts_anew() -> None:
    position = Position()
    assert not position.read(0, K).jumped
    for offset in range(K, 20 * MIB, K):
        assert not position.read(offset, K).jumped
    plan = position.read(500 * MIB, K)
    assert plan.jumped
    assert not plan.proven
    assert not plan.lingering
    assert position.read(500 * MIB + K, K).lingering


def parallel(start: int, count: int, *, piece: int = MIB, step: int = K) -> list[tuple[int, int]]:
    """Four readers with a piece each in turn, whose requests come one of each at a time, the last of them first."""
    found = []
    for first in range(0, count, 4):
        for within in range(0, piece, step):
            for number in reversed(range(first, min(first + 4, count))):
                found.append((start + number * piece + within, step))
    return found


def in_parallel(reads: list[tuple[int, int]], *, fast: bool = True) -> list[Plan]:
    position = Position()
    return [position.read(offset, length, K, fast=fast) for offset, length in reads]


@pytest.mark.parametrize("piece", [MIB, 256 * KIB, 2 * MIB])
@pytest.mark.parametrize("start", [0, 300 * MIB])
def test_several_who_read_one_file_in_parts_read_in_sequence(start: int, piece: int) -> None:
    plans = in_parallel(parallel(start, 32 * MIB // piece, piece=piece))
    proven = [number for number, plan in enumerate(plans) if plan.proven]
    assert proven[0] >= 8
    # From when it has shown on, all of them.
    assert all(plan.proven and not plan.jumped for plan in plans[12 * MIB // K :])


def test_on_a_line_that_is_not_fast_each_part_stays_by_itself() -> None:
    plans = in_parallel(parallel(0, 32), fast=False)
    assert any(plan.jumped for plan in plans[12 * MIB // K :])


@pytest.mark.parametrize(
    "reads",
    [
        # Somebody looks at single places, near and far, forth and back.
        [(offset * MIB, K) for offset in (40, 44, 41, 47, 43, 52, 90, 40, 60, 55, 51, 49)],
        # Seeks back a little and plays on, once.
        [*requests(20 * MIB, 16), *requests(17 * MIB, 24), (30 * MIB, K)],
        # Goes through the same place again and again.
        [*requests(20 * MIB, 6), *requests(20 * MIB, 6), *requests(20 * MIB, 6), (25 * MIB, K)],
    ],
)
def test_who_jumps_is_not_taken_for_several(reads: list[tuple[int, int]]) -> None:
    last = in_parallel(reads)[-1]
    assert last.jumped
    assert not last.proven


def test_a_sequence_forgets_that_it_came_out_of_order() -> None:
    reads = [*parallel(0, 16), *requests(16 * MIB, 160)]
    plans = in_parallel([*reads, (41 * MIB, K)])
    assert plans[-2].proven
    assert plans[-1].jumped
    assert not plans[-1].proven
