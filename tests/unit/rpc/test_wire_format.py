"""Messages cut by hand, against the generated ones."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exportfs.rpc.wire_format import MalformedMessage, file_chunk, file_chunk_head, message
from exportfs.wire import service

INDICES = st.one_of(st.integers(0, 300), st.integers(0, 2**63 - 1))


@given(index=INDICES, data=st.binary(max_size=300))
def test_a_block(index: int, data: bytes) -> None:
    raw = service.FileChunk(index=index, data=data).SerializeToString()
    found, view = file_chunk(raw)
    assert (found, bytes(view)) == (index, data)


@given(index=st.integers(1, 2**63 - 1), data=st.binary(min_size=32, max_size=300))
def test_the_beginning_of_a_block_tells_all_but_its_data(index: int, data: bytes) -> None:
    """Or nothing, as long as it is too short."""
    raw = service.FileChunk(index=index, data=data).SerializeToString()
    told = [file_chunk_head(memoryview(raw)[:length]) for length in range(len(raw) + 1)]
    whole = (index, len(data), len(raw) - len(data))
    assert set(told) == {None, whole}
    assert told == sorted(told, key=lambda head: head is not None)
    assert None not in told[32:]


@pytest.mark.parametrize(
    "raw",
    [
        message((2, b"x" * 40), (1, 7)),
        message((3, 5), (1, 7), (2, b"x" * 40)),
        message((1, 7), (3, 5), (2, b"x" * 40)),
        message((2, b"x" * 40)),
        b"",
    ],
)
def test_other_orders_tell_nothing(raw: bytes) -> None:
    assert file_chunk_head(memoryview(raw)) is None


def test_a_number_without_end() -> None:
    with pytest.raises(MalformedMessage, match="ten bytes"):
        file_chunk_head(memoryview(b"\x08" + b"\xff" * 40))


@given(raw=st.binary(max_size=60))
def test_anything_else_is_malformed_or_nothing(raw: bytes) -> None:
    with suppress(MalformedMessage):
        file_chunk(raw)
    with suppress(MalformedMessage):
        file_chunk_head(memoryview(raw))
