import hashlib
import random
import time

import pytest

from exportfs.simulator import Computed, Held, Simulator
from exportfs.simulator.media.content import content


def test_content_follows_from_seed_and_offset() -> None:
    whole = content("film", 0, 3 << 20)
    picks = random.Random(1)
    for _ in range(200):
        offset = picks.randrange(len(whole))
        length = picks.randrange(1 << 17)
        assert content("film", offset, length).startswith(whole[offset : offset + length])
        assert len(content("film", offset, length)) == length
    assert content("film", 5, 0) == b""


def test_no_two_blocks_are_equal() -> None:
    blocks = [
        content(seed, (number << 14) + far, 1 << 14)
        for seed in ("a", "b", 1, 2)
        for far in (0, 1 << 32, 1 << 40)
        for number in range(64)
    ]
    assert len({hashlib.sha256(block).digest() for block in blocks}) == len(blocks)


def test_content_is_made_fast() -> None:
    begin = time.process_time()
    for number in range(128):
        content("speed", number << 20, 1 << 20)
    assert (128 << 20) / (time.process_time() - begin) > 200e6


@pytest.mark.parametrize(("offset", "length"), [(-1, 1), (0, -1)])
def test_wrong_ranges(offset: int, length: int) -> None:
    with pytest.raises(ValueError, match="negative"):
        content("x", offset, length)


@pytest.mark.parametrize("file", [Held(b"0123456789"), Computed("x", 10)])
def test_reads_end_with_the_file(file: Held | Computed) -> None:
    assert file.size == 10
    assert len(file.read(8, 5)) == 2
    assert file.read(10, 5) == b""
    assert file.read(1 << 70, 5) == b""


def test_added_sessions_hold_what_the_function_says() -> None:
    simulator = Simulator()
    session = simulator.add_computed(3 << 30, 100, seed="s", names=["a/b.mp4", "b"], announced=[3 << 30, 99])
    one, two = simulator.files(session)
    assert (one.path, one.message.size) == ("a/b.mp4", 3 << 30)
    assert (two.path, two.message.size, two.content.size) == ("b", 99, 100)
    assert simulator.content(session, "a/b.mp4", 2 << 30, 50) == content("s/0", 2 << 30, 50)
    assert simulator.content(session, "b") == content("s/1", 0, 100)
    assert simulator.digest(session, "b") == (100, hashlib.sha256(content("s/1", 0, 100)).hexdigest())
    simulator.resize(session, "b", 50)
    assert (two.content.size, two.message.size) == (50, 99)
    with pytest.raises(KeyError):
        simulator.content(session, "c")
    simulator.close()
