"""What a server sends is taken apart in the same way wherever it is cut."""

from itertools import pairwise

import pytest
from hyperframe.frame import DataFrame
from hypothesis import given
from hypothesis import strategies as st

from exportfs.rpc.frames import FRAME, Data, Frames, Goodbye, Malformed, Piece, Ping, pong

DATA, HEADERS, SETTINGS, PING, GOAWAY, CONTINUATION = 0, 1, 4, 6, 7, 9


def frame(kind: int, body: bytes, flags: int = 0, stream: int = 1) -> bytes:
    return len(body).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + body


def of_data(body: bytes, padding: int | None, stream: int, *, ends: bool) -> bytes:
    made = DataFrame(stream, body, pad_length=padding or 0)
    for flag, said in (("PADDED", padding is not None), ("END_STREAM", ends)):
        if said:
            made.flags.add(flag)
    return made.serialize()


class Heard:
    """What comes of all pieces: how they are cut plays no part."""

    def __init__(self) -> None:
        self.payload: dict[int, bytes] = {}
        self.padding: dict[int, int] = {}
        self.order: list[object] = []
        self.ended: list[int] = []

    def take(self, pieces: list[Piece]) -> None:
        for piece in pieces:
            if isinstance(piece, Data):
                assert piece.stream not in self.ended
                self.payload[piece.stream] = self.payload.get(piece.stream, b"") + bytes(piece.payload)
                self.padding[piece.stream] = self.padding.get(piece.stream, 0) + piece.padding
                if piece.ended:
                    self.ended.append(piece.stream)
                if self.order[-1:] != [piece.stream] and (piece.payload or piece.padding or piece.ended):
                    self.order.append(piece.stream)
            else:
                self.order.append(piece)


FRAMES = st.one_of(
    st.tuples(
        st.just(DATA),
        st.binary(max_size=60),
        st.none() | st.integers(0, 20),
        st.integers(1, 3),
        st.booleans(),
    ),
    st.tuples(
        st.sampled_from([HEADERS, SETTINGS, PING, GOAWAY, 77]),
        st.binary(max_size=40),
        st.none(),
        st.just(1),
        st.just(False),
    ),
)


@given(st.data())
def test_wherever_it_is_cut(data: st.DataObject) -> None:
    said, expected, ended = list[bytes](), Heard(), set[int]()
    for kind, body, padding, stream, ends in data.draw(st.lists(FRAMES, max_size=8)):
        if kind == DATA:
            if stream in ended:
                continue
            if ends:
                ended.add(stream)
            said.append(of_data(body, padding, stream, ends=ends))
            counted = 0 if padding is None else padding + 1
            expected.take([Data(stream, memoryview(body), counted, ends, 0)])
        else:
            said.append(frame(kind, body, flags=4 if kind == HEADERS else 0))
            last = int.from_bytes(body[:4], "big") & 0x7FFFFFFF
            goodbye = kind == GOAWAY and len(body) >= 8
            expected.take([Goodbye(last) if goodbye else said[-1]])
    stream_ = b"".join(said)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream_)), max_size=10)))
    frames, heard = Frames(), Heard()
    for begin, end in pairwise([0, *cuts, len(stream_)]):
        heard.take(frames.split(stream_[begin:end]))
    assert vars(heard) == vars(expected)


@pytest.mark.parametrize(
    "said",
    [
        frame(DATA, b"abc", stream=0),
        frame(DATA, b"", flags=8),
        frame(DATA, b"\x03abc"[:3], flags=8),
        (FRAME + 1).to_bytes(3, "big") + bytes((PING, 0, 0, 0, 0, 1)),
        frame(HEADERS, b"a") + frame(DATA, b"b"),
        frame(HEADERS, b"a") + frame(CONTINUATION, b"b") + frame(PING, b"12345678", stream=0),
    ],
    ids=[
        "no stream",
        "no length of padding",
        "too much padding",
        "too long",
        "within",
        "after a continuation",
    ],
)
def test_what_is_against_the_rules(said: bytes) -> None:
    frames = Frames()

    def by_bytes() -> None:
        for at in range(len(said)):
            frames.split(said[at : at + 1])

    with pytest.raises(Malformed):
        by_bytes()


def test_a_payload_is_given_as_it_comes() -> None:
    """Who waits for its beginning need not wait for its end."""
    frames, said = Frames(), frame(DATA, b"abcdef", flags=1)
    assert frames.split(said[:11]) == [Data(1, memoryview(b"ab"), 0, False, 4)]
    assert frames.split(said[11:]) == [Data(1, memoryview(b"cdef"), 0, True, 0)]


@pytest.mark.parametrize("answer", [False, True])
def test_pings(answer: bool) -> None:
    frames, payload = Frames(), b"12345678"
    said = frame(PING, payload, flags=1 if answer else 0, stream=0)
    assert frames.split(said[:-1]) == []
    assert frames.split(said[-1:] + said) == [Ping(payload, answer)] * 2
    assert (pong(payload) == said) == answer


@pytest.mark.parametrize(
    "said",
    [
        frame(PING, b"1234567", stream=0),
        frame(PING, b"12345678"),
        frame(PING, b"12345678", flags=2, stream=0),
    ],
    ids=["too short", "of a stream", "of flags to come"],
)
def test_odd_pings_are_for_h2_to_judge(said: bytes) -> None:
    assert Frames().split(said) == [said]
