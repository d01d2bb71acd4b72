"""Counting, as values."""

import itertools

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from exportfs.errors import Corrupt, ExportfsError, Interrupted, NotSent, TimedOut, Unauthenticated
from exportfs.metrics import BUCKETS, CallCounters, Durations
from exportfs.rpc.counted import Tally, code_of, counted


@given(st.lists(st.floats(0, 100)))
def test_durations(taken: list[float]) -> None:
    durations = Durations()
    for seconds in taken:
        durations.add(seconds)
    within = [sum(seconds <= bound for seconds in taken) for bound in BUCKETS]
    assert durations.cumulative() == [*within, len(taken)]
    assert durations.seconds == pytest.approx(sum(taken))


def test_bounds_grow() -> None:
    assert all(lower < upper for lower, upper in itertools.pairwise(BUCKETS))


def refused() -> ExportfsError:
    error = NotSent("the server cannot be reached")
    error.status = "PERMISSION_DENIED"
    return error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, "OK"),
        (refused(), "PERMISSION_DENIED"),  # the server's own word
        (TimedOut(), "DEADLINE_EXCEEDED"),
        (NotSent(), "UNAVAILABLE"),
        (Unauthenticated(), "UNAUTHENTICATED"),
        (Corrupt(), "DATA_LOSS"),
        (Interrupted(), "UNKNOWN"),
    ],
)
def test_codes(error: ExportfsError | None, code: str) -> None:
    assert code_of(error) == code


async def test_calls(autojump_clock: MockClock) -> None:
    calls = CallCounters()
    with counted(calls, "/axxonsoft.bl.mmexport.ExportService/ListSessions"):
        await trio.sleep(0.3)
    with pytest.raises(TimedOut), counted(calls, "/service/ListSessions"):
        raise TimedOut
    with trio.move_on_after(2), counted(calls, "/service/GetSessionState"):
        await trio.sleep_forever()
    assert {key: (sum(value.counts), value.seconds) for key, value in calls.durations.items()} == {
        ("ListSessions", "OK"): (1, pytest.approx(0.3)),
        ("ListSessions", "DEADLINE_EXCEEDED"): (1, 0),
        ("GetSessionState", "CANCELLED"): (1, pytest.approx(2)),
    }


async def test_a_call_ends_once(autojump_clock: MockClock) -> None:
    calls = CallCounters()
    tally = Tally(calls, "DownloadFile")
    await trio.sleep(7)
    tally.ended("OK")
    tally.ended("CANCELLED")
    assert {key: value.seconds for key, value in calls.durations.items()} == {
        ("DownloadFile", "OK"): pytest.approx(7)
    }
