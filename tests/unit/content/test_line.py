"""What is known of the line, against a model of one: rate, round trip and a queue."""

import heapq
import random
import time
from collections.abc import Callable

import pytest

from exportfs.config import KIB, MIB
from exportfs.content.line import Line
from exportfs.content.tuning import FAST, QUEUE_SECONDS, WINDOW_FIRST, WINDOW_FIRST_FAR, WINDOW_LEAST
from exportfs.processor import BusySeconds

MBIT = 125_000
SEGMENT = 16 * KIB


class Model:
    """A server that sends at once what it may, over a line of `rate` bytes a second and `round_trip` seconds.

    burst: bytes that pass at once after a pause, as shapers let them. thinks: seconds until the server has what it may
    send. busy: by time, what our thread has worked, or
    waited for a core. What comes gathers for as long as the line says, and as long again, as epoll rounds it.
    """

    def __init__(
        self,
        rate: float,
        round_trip: float,
        *,
        burst: int = 0,
        thinks: Callable[[], float] = lambda: 0.0,
        busy: Callable[[float], float] = lambda now: 0.0,
    ) -> None:
        self.rate, self.round_trip, self.burst, self.thinks = rate, round_trip, burst, thinks
        self.line = Line(lambda: busy(self.now))
        self.line.round_trip_took(round_trip)
        self.now = 0.0
        self.free_at = 0.0
        self.takes_at = 0.0
        """When what has come is looked at."""
        self.most_queued = 0.0
        self.most_on_the_way = 0

    def stream(self, seconds: float, wanted: int | None = None, *, settle: float = 0.0) -> int:
        """A reader that takes all as it comes for so long, and the time to settle before; the bytes that it got."""
        line, got, granted, before = self.line, 0, 0, 0
        settled = self.now + settle
        end = settled + seconds
        arrivals: list[tuple[float, int, float, bool]] = []
        while self.now < end:
            if settle and self.now >= settled:
                settle, before = 0.0, got
                self.most_queued, self.most_on_the_way = 0.0, 0
            while granted - got < line.window and (wanted is None or granted < wanted):
                amount = min(SEGMENT, line.window - (granted - got))
                amount = amount if wanted is None else min(amount, wanted - granted)
                if amount < min(SEGMENT, line.window // 4) and granted - got:
                    break
                granted += amount
                line.granted(self.now, amount)
                self.most_on_the_way = max(self.most_on_the_way, granted - got)
                sent_at = self.now + self.round_trip / 2 + self.thinks()
                begins = max(sent_at, self.free_at - self.burst / self.rate)
                self.most_queued = max(self.most_queued, begins - sent_at)
                self.free_at = max(sent_at, self.free_at) + amount / self.rate
                leaves = max(begins, self.free_at - self.burst / self.rate)
                limited = wanted is None or granted < wanted
                heapq.heappush(arrivals, (leaves + self.round_trip / 2, amount, self.now, limited))
            if not arrivals:
                break
            comes, amount, asked, limited = heapq.heappop(arrivals)
            self.now = max(comes, self.takes_at)
            got += amount
            line.arrived(self.now, amount)
            line.delayed(self.now, self.now - asked, limited=limited)
            if self.now != self.takes_at:  # else it was taken with what came before
                self.takes_at = self.now + 2 * line.gather
        line.dropped(granted - got)
        return got - before


LINES = [
    # Mbit/s, round trip
    (2, 0.0002),
    (2, 0.06),
    (10, 0.0002),
    (10, 0.02),
    (50, 0.04),
    (100, 0.02),
    (100, 0.3),
    (150, 0.001),
]


@pytest.mark.parametrize(
    ("round_trips", "nearby"), [((), False), ((0.001,), True), ((0.004,), False), ((0.004, 0.001), True)]
)
def test_a_server_is_nearby_once_that_is_measured(round_trips: tuple[float, ...], nearby: bool) -> None:
    line = Line()
    for seconds in round_trips:
        line.round_trip_took(seconds)
    assert line.nearby == nearby


@pytest.mark.parametrize(
    ("pings", "near"),
    [
        ([(0.005, 0, 0)], True),
        ([(0.007, 0, 0)], False),  # the server's: it may be the line's
        ([(0.012, 0.0105, 0)], True),
        ([(0.012, 0.02, 0.00003)], True),  # the two are counted by different clocks
        ([(0.012, 0.0105, 0.008)], False),  # the kernel knows better
        ([(0.04, 0.01, 0)], False),
        ([(0.012, 0.0105, 0), (0.04, 0, 0)], True),
        ([(0.012, 0.0105, 0)] * 4, False),  # so often it would have been seen
    ],
)
def test_what_was_ours_of_a_ping_makes_no_server_distant(
    pings: list[tuple[float, float, float]], near: bool
) -> None:
    line = Line()
    for seconds, ours, least in pings:
        line.round_trip_took(seconds, ours=ours, least=least)
    assert line.near == near
    assert line.round_trip == min(seconds for seconds, _, _ in pings)  # what is known to have come so soon


@pytest.mark.parametrize(("mbit", "round_trip"), LINES)
def test_a_stream_fills_the_line_and_leaves_its_queue_short(mbit: float, round_trip: float) -> None:
    model = Model(mbit * MBIT, round_trip)
    got = model.stream(10, settle=3 + 20 * round_trip)
    assert got >= 0.95 * mbit * MBIT * 10
    product = mbit * MBIT * round_trip
    assert model.most_on_the_way <= 2 * product + 3 * WINDOW_LEAST[1] + QUEUE_SECONDS * mbit * MBIT
    assert model.most_queued <= max(0.25 * round_trip, 0.02, 1.5 * WINDOW_LEAST[1] / (mbit * MBIT))
    assert model.line.rate == pytest.approx(mbit * MBIT, rel=0.1)
    assert not model.line.fast


@pytest.mark.parametrize(
    ("mbit", "round_trip", "most"),
    [(0.5, 0.04, 24), (1, 0.04, 42), (2, 0.04, 81), (0.5, 0.0002, 24), (2, 0.0002, 61), (10, 0.0002, 64)],
)
def test_a_first_window_is_no_long_queue(mbit: float, round_trip: float, most: int) -> None:
    """As long as no delay has told, as where downloads end too soon for that, the rate does."""
    line = Line()
    line.round_trip_took(round_trip)
    for now in range(3):
        line.granted(now, 64 * KIB)
        line.arrived(now + 64 * KIB / (mbit * MBIT), 64 * KIB)
        line.round_trip_took(round_trip)
        assert line.window <= most * KIB + KIB


def test_a_distant_fast_line_has_all_of_its_first_window() -> None:
    """The first of it takes a round trip, which makes no thin line."""
    line = Line()
    line.round_trip_took(0.04)
    line.granted(0, 128 * KIB)
    line.arrived(0.04 + 128 * KIB / (50 * MBIT), 128 * KIB)
    assert line.rate is not None
    assert line.rate < 25 * MBIT
    assert line.window == WINDOW_FIRST_FAR


def test_a_server_that_is_slow_to_begin_takes_little_of_the_line() -> None:
    """Its first answers, late by half a round trip, look like a full line, and the window becomes smaller."""
    model = Model(50 * MBIT, 0.04, thinks=lambda: 0.02 if model.now < 0.1 else 0.0)
    model.stream(0.2)
    assert model.line.window < WINDOW_FIRST_FAR
    assert model.stream(0.5) >= 0.8 * 50 * MBIT * 0.5


@pytest.mark.parametrize(("mbit", "round_trip"), [(50, 0.04), (100, 0.02)])
def test_a_server_that_hesitates_is_no_full_line(mbit: float, round_trip: float) -> None:
    """What waits in the line's queue delays everything; what a server, or somebody's Wi-Fi, delays, not all of it."""
    chance = random.Random(1)
    model = Model(mbit * MBIT, round_trip, thinks=lambda: 0.005 if chance.random() < 1 / 8 else 0.0)
    assert model.stream(10, settle=3) >= 0.88 * mbit * MBIT * 10


def test_what_has_gathered_is_no_fast_line() -> None:
    """50 Mbit/s: the thread comes late, and takes the last of what was on its way at once."""
    line, now = Line(), 0.0
    line.round_trip_took(0.04)
    for _ in range(10):
        line.granted(now, 256 * KIB)
        line.arrived(now + 0.075, 176 * KIB)
        line.arrived(now + 0.0753, 80 * KIB)
        now += 0.1
    assert not line.fast
    assert line.rate is not None
    assert line.rate <= 50 * MBIT


@pytest.mark.parametrize(("mbit", "round_trip"), [(1000, 0.0002), (10_000, 0.0001), (1000, 0.02)])
def test_a_fast_line_is_soon_known(mbit: float, round_trip: float) -> None:
    model = Model(mbit * MBIT, round_trip)
    got = model.stream(0.05 + 15 * round_trip)
    assert model.line.fast
    assert model.line.rate is not None
    assert model.line.rate >= FAST
    assert got > MIB


@pytest.mark.parametrize("mbit", [2, 10, 50])
def test_a_shaper_that_lets_bursts_pass_is_no_fast_line(mbit: float) -> None:
    model = Model(mbit * MBIT, 0.0002, burst=16 * KIB)
    for _ in range(50):
        model.stream(5, wanted=80 * KIB)
        model.now += 1.0
    assert not model.line.fast
    assert model.line.rate is not None
    assert model.line.rate <= 1.4 * mbit * MBIT


def test_one_small_answer_tells_a_thin_line_from_a_near_server() -> None:
    line = Line()
    line.round_trip_took(0.0002)
    assert line.presumed_fast
    assert line.kernel_ahead == 256 * KIB
    line.granted(0.0, 16 * KIB)
    line.arrived(0.007, 16 * KIB)
    assert line.rate is None
    assert not line.presumed_fast
    assert line.kernel_ahead == 128 * KIB


@pytest.mark.parametrize(("took", "ahead"), [(0.003, 1024), (0.011, 1024), (0.026, 128), (0.13, 128)])
def test_the_kernel_reads_ahead_as_the_first_block_tells(took: float, ahead: int) -> None:
    """From nearby: on loopback, at 35 Mbit/s; at 10 and 2 where the shaper lets 16 KiB pass at once."""
    line = Line()
    line.round_trip_took(0.0002)
    assert line.unknown
    line.granted(0.0, 48 * KIB)
    line.arrived(0.0001, 16 * KIB)
    line.arrived(took, 32 * KIB)
    assert not line.unknown
    assert line.kernel_ahead == ahead * KIB


def test_a_fast_line_that_becomes_slow() -> None:
    model = Model(1000 * MBIT, 0.0002)
    model.stream(0.1)
    line = model.line
    assert line.fast
    for _ in range(10):
        line.wide(MIB, 0.84, 0.84)
    assert not line.fast


@pytest.mark.parametrize(
    ("mbit", "on_the_way", "gathers"),
    [
        (50, 64 * KIB, True),
        (50, 16 * KIB, False),
        (10, 256 * KIB, False),
        (100, 64 * KIB, True),
        (400, 4 * MIB, False),
    ],
)
def test_what_comes_gathers_unless_it_is_all_here_soon(mbit: float, on_the_way: int, gathers: bool) -> None:
    line = Line()
    line.granted(0, on_the_way)
    assert not line.gather, "nothing is known of the line"
    line.granted(0, MIB)
    line.arrived(MIB / (mbit * MBIT), MIB)
    assert (line.gather > 0) is gathers


@pytest.mark.parametrize(
    ("rate", "block", "kernel"),
    [
        (2 * MBIT, 16 * KIB, 32 * KIB),
        (10 * MBIT, 64 * KIB, 128 * KIB),
        (50 * MBIT, 256 * KIB, 128 * KIB),
    ],
)
def test_what_follows_from_the_rate(rate: float, block: int, kernel: int) -> None:
    line = Line()
    line.granted(0.0, 4 * MIB)
    line.arrived(4 * MIB / rate, 4 * MIB)
    assert line.rate == pytest.approx(rate)
    assert (line.stream_block, line.kernel_ahead) == (block, kernel)
    assert line.seek_block == 16 * KIB
    assert line.preferred == 4 * KIB


@pytest.mark.parametrize(("round_trip", "expected"), [(0.0002, 0), (0.04, 50_000)])
def test_what_a_distant_line_carries_in_a_round_trip(round_trip: float, expected: int) -> None:
    line = Line()
    line.round_trip_took(round_trip)
    assert line.bytes_in_a_round_trip == 0, "nothing is known of the rate"
    line.granted(0.0, MIB)
    line.arrived(MIB / (10 * MBIT), MIB)
    assert line.bytes_in_a_round_trip == pytest.approx(expected, rel=0.01)


@pytest.mark.parametrize(
    ("receipts", "at", "thin"),
    [
        ([], 1.0, False),
        ([(0.0, 17)], 1.0, False),  # an answered ping
        ([(0.0, 1448)], 0.001, False),
        ([(0.0, 1448), (0.0012, 1448)], 0.0025, True),
        ([(0.0, 10136), (0.0008, 6382)], 0.001, False),
        ([(0.0, 10136), (0.0045, 6366)], 0.0045, True),
        ([(0.0, 16 * KIB), (0.006, 1448)], 0.006, True),  # the first bytes passed a shaper
        ([(0.0003 * number, 1448) for number in range(12)], 0.004, True),  # 40 Mbit/s
        ([(0.0, 16 * KIB)], 0.01, False),  # then the server has waited for a core
        ([(0.0, 10136), (0.0001, 6382), (0.005, 16 * KIB)], 0.01, False),
        ([(0.0001 * number, 1448) for number in range(20)], 0.002, False),
    ],
)
def test_a_thin_line_trickles(receipts: list[tuple[float, int]], at: float, thin: bool) -> None:
    line = Line()
    line.received(-1.0, 20)
    line.received(-1.0, 16 * KIB)
    line.listen()
    for now, amount in receipts:
        line.received(now, amount)
    assert line.trickles(at) == thin


def test_what_was_asked_for_late_does_not_trickle() -> None:
    """The time between two blocks is a round trip, and the server's own."""
    line = Line()
    for begun in (0.0, 0.005, 0.01):
        line.pauses()
        line.received(begun, 10136)
        line.received(begun + 0.0001, 6382)
        assert not line.trickles(begun + 0.001)
    line.pauses()
    assert not line.trickles(0.02)


def test_nothing_known() -> None:
    line = Line()
    assert line.window == WINDOW_FIRST
    assert line.rate is None
    assert line.reach == 0
    assert not line.fast


@pytest.mark.parametrize(
    ("rate", "round_trip", "fast"),
    [(2 * MIB, 0.0002, False), (8 * MIB, 0.0002, True), (8 * MIB, 0.04, False)],
)
def test_who_is_short_of_cores_does_not_blame_the_line(rate: float, round_trip: float, fast: bool) -> None:
    """Unless it is so thin that small windows are right whoever is slow."""
    busy = 0.0
    line = Line(lambda: busy)
    line.round_trip_took(round_trip)
    now = 0.0
    for _ in range(20):
        line.granted(now, 256 * KIB)
        seconds = 256 * KIB / rate
        busy += seconds * 0.8
        now += seconds
        line.arrived(now, 256 * KIB)
    assert line.fast is fast
    for _ in range(20 if fast else 0):
        busy += 0.1
        now += 0.12
        line.wide(MIB, 0.12, now)
    assert line.fast is fast


def moments(now: float) -> float:
    """Busy for 0.44 of the time, and for 50 ms of each second all of it."""
    return 0.44 * now + 0.56 * 0.05 * (now // 1) + 0.56 * min(now % 1, 0.05)


@pytest.mark.parametrize(("busy", "pressed"), [(moments, False), (lambda now: 0.7 * now, True)])
def test_the_queue_of_a_distant_line_is_short_unless_our_thread_is_busy(
    busy: Callable[[float], float], pressed: bool
) -> None:
    model = Model(50 * MBIT, 0.04, busy=busy)
    model.stream(10)
    assert (model.line.window > 50 * MBIT * 0.048) is pressed


def test_a_line_that_was_found_thin_is_not_fast_because_we_are_busy() -> None:
    """For a minute: each time that wide streams try it they send megabytes for nothing. What comes fast is believed."""
    busy, now = 0.0, 0.0
    line = Line(lambda: busy)

    def exact(rate: float) -> None:
        nonlocal busy, now
        line.granted(now, MIB)
        busy += 0.8 * MIB / rate
        now += MIB / rate
        line.arrived(now, MIB)

    exact(11 * MIB)
    assert line.fast
    for _ in range(10):
        now += 0.09
        line.wide(MIB, 0.09, now)
    assert not line.fast
    for _ in range(100):
        exact(11 * MIB)
    assert not line.fast
    exact(30 * MIB)
    assert line.fast
    for _ in range(10):
        now += 0.09
        line.wide(MIB, 0.09, now)
    now += 60
    exact(11 * MIB)
    assert line.fast


def test_the_time_of_this_thread_is_counted() -> None:
    busy_seconds = BusySeconds()
    before = busy_seconds()
    deadline = time.thread_time() + 0.05
    while time.thread_time() < deadline:
        pass
    assert busy_seconds() - before >= 0.04
