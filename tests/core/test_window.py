"""When reading counts as sequential."""

import pytest

from exportfs.core.window import KIB, MIB, Window, WindowConfig

K = 128 * KIB


@pytest.mark.parametrize(
    ("reads", "proven"),
    [
        ([(0, K)], False),
        ([(0, K), (K, K)], False),
        ([(0, K), (K, K), (2 * K, K)], True),
        ([(0, MIB)], True),  # the kernel's own read-ahead at the start of a file
        ([(50 * MIB, MIB)], False),  # one large request proves nothing elsewhere
        ([(50 * MIB, K), (50 * MIB + K, K), (50 * MIB + 2 * K, K)], True),
        ([(0, K), (2 * K, K), (K, K), (3 * K, K)], False),  # not near enough until it is proven
        ([(0, K), (K, K), (2 * K, K), (4 * K, K), (3 * K, K), (5 * K, K)], True),  # out of order
        ([(0, K), (K, K), (2 * K, K), (90 * MIB, K)], False),
        ([(9 * MIB, 64 * KIB), (9 * MIB + 300 * KIB, 64 * KIB)] * 4, False),
    ],
)
def test_proof(reads: list[tuple[int, int]], proven: bool) -> None:
    window = Window(WindowConfig())
    for offset, length in reads:
        plan = window.read(offset, length)
    assert plan.proven is proven
    assert (plan.ahead > 0) is proven


def test_growth_and_bound() -> None:
    window = Window(WindowConfig(most=16 * MIB))
    ahead = [window.read(offset, MIB).ahead for offset in range(0, 40 * MIB, MIB)]
    assert ahead == sorted(ahead)
    assert ahead[0] == MIB
    assert ahead[-1] == 16 * MIB


def test_a_seek_starts_anew() -> None:
    window = Window(WindowConfig())
    for offset in range(0, 20 * MIB, MIB):
        window.read(offset, MIB)
    assert window.read(500 * MIB, K).ahead == 0
