"""The schedule of questions, without a clock."""

import pytest

from exportfs.sessions.keepalive import (
    COMPLETED_LIMIT,
    LIVE_LIMIT,
    RUNNING_LIMIT,
    KeepAliveConfig,
    Use,
    expires,
    interval,
    kept,
    next_question,
    patience,
)

CONFIG = KeepAliveConfig(keep=900.0, refresh=5.0, calls_per_second=10.0)
NOW = 10_000.0


@pytest.mark.promise("K1", "K2", "K3")
@pytest.mark.parametrize(
    ("use", "is_kept"),
    [
        (Use(running=True, started_here=True), True),
        (Use(running=True, started_here=False), False),
        (Use(running=True, started_here=False, open_files=1, last_use=NOW), False),
        (Use(running=False), False),
        (Use(running=False, started_here=True), False),
        (Use(running=False, open_files=1), True),
        (Use(running=False, open_files=1, last_use=NOW - 10**6), True),
        (Use(running=False, last_use=NOW - 899), True),
        (Use(running=False, last_use=NOW - 901), False),
    ],
)
def test_kept(use: Use, is_kept: bool) -> None:
    assert kept(use, NOW, CONFIG) is is_kept
    assert (next_question(use, NOW, 1, CONFIG) is not None) is is_kept


@pytest.mark.promise("K5")
@pytest.mark.parametrize(
    ("use", "population", "seconds"),
    [
        (Use(running=True), 1, 2.0),
        (Use(running=False), 1, 10.0),
        (Use(running=False), 200, 20.0),
        (Use(running=False), 10**6, COMPLETED_LIMIT / 3),
        (Use(running=True), 10**6, RUNNING_LIMIT / 3),
        (Use(running=True, live_stream=True), 10**6, LIVE_LIMIT / 3),
    ],
)
def test_interval(use: Use, population: int, seconds: float) -> None:
    assert interval(use, population, CONFIG) == seconds
    # Two questions may get lost.
    assert interval(use, population, CONFIG) * 3 <= use.limit


@pytest.mark.promise("K5")
@pytest.mark.parametrize(
    ("use", "population", "seconds"),
    [
        (Use(running=False, open_files=1), 1, 10.0),
        (Use(running=False, open_files=1), 200, 200.0),
        (Use(running=False, open_files=1), 10**6, 1200.0),
        (Use(running=False), 1, 1200.0),
        (Use(running=True), 1, 600.0),
        (Use(running=True, live_stream=True), 1, 100.0),
    ],
)
def test_interval_while_nobody_looks(use: Use, population: int, seconds: float) -> None:
    assert interval(use, population, CONFIG, looked_at=False) == seconds


def test_first_question_is_due_at_once() -> None:
    use = Use(running=True, started_here=True)
    assert next_question(use, NOW, 1, CONFIG) == float("-inf")
    use.last_asked = NOW
    assert next_question(use, NOW, 1, CONFIG) == NOW + 2.0


def test_a_question_that_failed_is_due_again_soon() -> None:
    for asked in (None, NOW - 100, NOW - 1):
        use = Use(running=False, open_files=1, last_asked=asked, last_failed=NOW)
        assert next_question(use, NOW, 1000, CONFIG) == NOW + 2.0


@pytest.mark.promise("K5")
@pytest.mark.parametrize(
    ("failing", "timeout", "seconds"),
    [(0, 30.0, 11.0), (1, 30.0, 11.0), (20, 30.0, 3.0), (10**6, 30.0, 1.0), (0, 0.3, 1.1), (20, 600.0, 3.0)],
)
def test_patience(failing: int, timeout: float, seconds: float) -> None:
    assert patience(failing, timeout) == pytest.approx(seconds)


@pytest.mark.promise("S3")
@pytest.mark.parametrize(
    ("use", "moment"),
    [
        (Use(running=True, started_here=True), None),
        (Use(running=True), None),
        (Use(running=True, last_asked=NOW - 5), NOW - 5 + RUNNING_LIMIT),
        (Use(running=True, live_stream=True, last_asked=NOW - 5), NOW - 5 + LIVE_LIMIT),
        (Use(running=False), None),
        (Use(running=False, open_files=1), NOW + COMPLETED_LIMIT),
        (Use(running=False, last_use=NOW - 100), NOW + 800 + COMPLETED_LIMIT),
        (Use(running=False, last_use=NOW - 1000, last_asked=NOW - 150), NOW - 150 + COMPLETED_LIMIT),
    ],
)
def test_expires(use: Use, moment: float | None) -> None:
    assert expires(use, NOW, CONFIG) == moment
