"""What blocks take on the wire."""

from hypothesis import example, given
from hypothesis import strategies as st

from exportfs.rpc.blocks import END_SLACK, wire_range, wire_size
from exportfs.rpc.messages import PREFIX


def one_by_one(first: int, until: int, chunk: int, size: int, known: int | None) -> int:
    total = 0
    for index in range(first, until):
        if index == first and known is not None:
            total += PREFIX + known
        elif index * chunk < size:
            total += wire_size(index, min(chunk, size - index * chunk))
        else:
            return total + END_SLACK
    return total


@given(
    first=st.integers(0, 300),
    count=st.integers(0, 300),
    chunk=st.sampled_from([1, 100, 127, 128, 16384]),
    last=st.integers(1, 16384),
    blocks=st.integers(0, 300) | st.sampled_from([128, 129, 16384, 16385, 16400]),
    known=st.none() | st.integers(0, 20000),
)
@example(first=16300, count=200, chunk=1, last=1, blocks=16400, known=None)
@example(first=300, count=1, chunk=1, last=1, blocks=300, known=9)
def test_a_range_is_the_sum_of_its_blocks(
    first: int, count: int, chunk: int, last: int, blocks: int, known: int | None
) -> None:
    size = blocks * chunk - (chunk - min(last, chunk)) if blocks else 0
    asked = (first, first + count, chunk, size, known)
    assert wire_range(*asked) == one_by_one(*asked)


def test_however_many_blocks_are_wanted() -> None:
    """It is asked for with each block that comes: block by block it took longer than all else."""
    blocks, chunk = 1 << 48, 16384
    here, there = (wire_range(*part, chunk, blocks * chunk, None) for part in ((0, 999), (999, blocks)))
    assert wire_range(0, blocks, chunk, blocks * chunk, None) == here + there
