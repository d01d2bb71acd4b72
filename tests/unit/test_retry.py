"""How often and how long to try again, as tables."""

import pytest

from exportfs.errors import (
    AccessDenied,
    Busy,
    Corrupt,
    Exhausted,
    ExportfsError,
    Gone,
    Interrupted,
    InvalidArgument,
    NotFound,
    TimedOut,
    TooLarge,
    Unauthenticated,
    Unreachable,
    Unsupported,
)
from exportfs.retry import Patience, PatienceConfig

BEGUN = 1000.0


def patience(timeout: float = 30.0) -> Patience:
    return Patience(PatienceConfig(timeout=timeout), BEGUN)


def pauses(error: ExportfsError, count: int, decides: Patience) -> list[float]:
    return [decides.after(error, BEGUN) for _ in range(count)]


@pytest.mark.promise("E1")
@pytest.mark.parametrize(
    "final", [InvalidArgument, NotFound, Gone, TooLarge, Unsupported, AccessDenied, Busy]
)
def test_final_at_once(final: type[ExportfsError]) -> None:
    error = final("no")
    with pytest.raises(final) as caught:
        patience().after(error, BEGUN)
    assert caught.value is error


@pytest.mark.parametrize("passing", [Unreachable, TimedOut, Exhausted, Interrupted])
def test_pauses_double_up_to_two_seconds(passing: type[ExportfsError]) -> None:
    expected = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert pauses(passing("later"), 8, patience()) == pytest.approx(expected)


@pytest.mark.promise("E2")
@pytest.mark.parametrize(
    ("timeout", "after", "pause"),
    [
        (30.0, 0.0, 0.05),
        (30.0, 28.98, 0.02),
        (30.0, 29.0, None),
        (30.0, 31.0, None),
        (5.0, 4.4, 0.05),
        (5.0, 4.5, None),
        (0.5, 0.44, 0.01),
        (0.5, 0.45, None),
    ],
)
def test_over_when_there_is_no_time_for_another_try(
    timeout: float, after: float, pause: float | None
) -> None:
    error = Unreachable("away")
    if pause is None:
        with pytest.raises(Unreachable):
            patience(timeout).after(error, BEGUN + after)
    else:
        assert patience(timeout).after(error, BEGUN + after) == pytest.approx(pause)


def test_a_timeout_of_a_day() -> None:
    """However often that is, and as often as ever at the end."""
    decides, error, now = patience(86400.0), Unreachable("away"), BEGUN
    while now < BEGUN + 86399.0:
        pause = decides.after(error, now)
        assert 0 < pause <= 2.0
        now += pause
    with pytest.raises(Unreachable):
        decides.after(error, now)


@pytest.mark.promise("E1")
def test_fresh_logins_are_tried_twice_at_once() -> None:
    decides, error = patience(), Unauthenticated("who?")
    assert pauses(error, 2, decides) == [0.0, 0.0]
    with pytest.raises(Unauthenticated):
        decides.after(error, BEGUN)


@pytest.mark.promise("R6")
@pytest.mark.parametrize("moving", [False, True])
def test_wrong_answers_are_counted_whatever_moves(moving: bool) -> None:
    decides, error = patience(), Corrupt("wrong")
    for _ in range(3):
        assert decides.after(error, BEGUN) > 0
        if moving:
            decides.progress(BEGUN)
    with pytest.raises(Corrupt):
        decides.after(error, BEGUN)


def test_progress_begins_anew() -> None:
    decides, error = patience(), Unreachable("away")
    pauses(error, 5, decides)
    decides.progress(BEGUN + 20)
    assert decides.deadline == BEGUN + 50
    assert decides.after(error, BEGUN + 45) == 0.05


@pytest.mark.parametrize(
    ("now", "deadline"), [(0.0, 30.0), (5.0, 30.0), (20.0, 30.0), (25.0, 35.0), (100.0, 110.0)]
)
def test_a_turn_has_a_third_of_the_timeout_once(now: float, deadline: float) -> None:
    decides = patience()
    decides.turn(BEGUN + now)
    assert decides.deadline == BEGUN + deadline
    decides.turn(BEGUN + now + 200)
    assert decides.deadline == BEGUN + deadline


@pytest.mark.parametrize(("timeout", "stall"), [(30.0, 10.0), (0.9, 0.3), (0.3, 0.2)])
def test_stalls(timeout: float, stall: float) -> None:
    config = PatienceConfig(timeout=timeout)
    assert (config.stall, config.long_stall) == pytest.approx((stall, 2 * stall))
