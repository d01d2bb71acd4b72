"""When reading counts as sequential."""

import pytest

from exportfs.config import KIB, MIB
from exportfs.content.read_ahead import Position

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
