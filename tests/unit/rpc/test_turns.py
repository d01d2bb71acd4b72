"""How many calls are sent on a connection before the server has said how many it takes, and after it has."""

import pytest

from exportfs.errors import ExportfsError
from exportfs.rpc.turns import Call, Turns


class Stream:
    def opened(self, number: int) -> None: ...
    def data(self, data: memoryview, more: int) -> None: ...
    def ended(self, error: ExportfsError | None) -> None: ...


def call() -> Call:
    return Call(Stream(), "/method", b"", ())


@pytest.mark.parametrize(
    ("elsewhere", "said", "takes", "full_from"),
    [
        (None, None, 1, None),  # and no other connection is made before one has said it
        (3, None, 3, 3),
        (3, 1, 1, 1),
        (1, 100, 100, 100),
        (None, 0, 0, 0),
    ],
)
def test_calls_at_once(elsewhere: int | None, said: int | None, takes: int, full_from: int | None) -> None:
    told: list[int] = []
    turns = Turns(told.append, lambda: elsewhere)
    if said is not None:
        turns.say(said)
    assert told == ([] if said is None else [max(1, said)])
    assert [turns.room(calls) for calls in (takes - 1, takes)] == [True, False]
    for calls in (0, 1, 2, 3, 99, 100):
        assert turns.full(calls) is (full_from is not None and calls >= full_from)


def test_what_waits_makes_it_full() -> None:
    turns = Turns(lambda _: None, lambda: 2)
    turns.add(call())
    assert (turns.full(0), turns.full(1)) == (False, True)


def test_each_has_its_turn_and_one() -> None:
    turns, calls = Turns(lambda _: None, lambda: 2), [call() for _ in range(5)]
    for each in calls:
        turns.add(each)
    turns.withdraw(calls[1].stream)
    assert [turns.next(0), turns.next(1), turns.next(2)] == [calls[0], calls[2], None]
    assert turns.dissolve() == [calls[3].stream, calls[4].stream]
    assert (turns.waiting, turns.next(0)) == (0, None)
