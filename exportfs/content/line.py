"""What is known of the line to the server, and how much may be on its way: pure, the time is handed in.

Three things are measured from what arrives. The round trip, by HTTP/2 pings on an idle connection: it is the line's and
not the server's, which may think for a while. The rate, from bytes over the time in which some were on their way. And
the delay between letting the server send something and having it.

The window, the bytes that may be on their way at a time, follows from the delay as in FAST TCP
(https://doi.org/10.1109/TNET.2006.886335): at first, as long as the delay is the round trip, the line holds more and
the window doubles; from then on it goes to where a fixed amount, `_queued`, waits in the line's queue. So the line is
full, and a jump waits for no more than that amount. The least delay counts: the queue's is in all of them, and what a
server or a radio adds in some.
"""

import math
from collections import deque
from collections.abc import Callable

from exportfs.content.tuning import (
    ADJUST_AFTER,
    BLOCK_SECONDS,
    BRIDGED,
    BUSY_OVER,
    BUSY_RATE,
    BUSY_SHARE,
    CALL_SECONDS,
    EXACT_MOST,
    FAST,
    FAST_AFTER,
    FIRST_SECONDS,
    GATHER,
    GATHER_LEAST,
    HINT_SAMPLE,
    KERNEL_AHEAD,
    KERNEL_AHEAD_NEAR,
    LADDER,
    NEAR,
    NEAR_AT_FIRST,
    NEAR_HINT,
    NEAR_PROVEN_BY,
    PREFERRED,
    PREFERRED_FAST,
    QUEUE_NOTICED,
    QUEUE_SECONDS,
    QUEUE_SECONDS_FAR,
    QUEUE_SHARE,
    RATE_MEMORY,
    RATE_SAMPLE,
    REACH_EXACT,
    SAMPLE_SECONDS,
    SEEK,
    SEEK_FAST,
    SLOW,
    SLOW_SECONDS,
    THIN_SECONDS,
    TRICKLE,
    TRICKLE_NOTICED,
    TRICKLE_SECONDS,
    WINDOW_FIRST,
    WINDOW_FIRST_FAR,
    WINDOW_LEAST,
    WINDOW_MOST,
)

REMEMBERED = 16
"""Round trips of which the least counts: a ping may wait behind other data, never arrive early."""


class _Ours:
    """Whether it is we who are slow: whether since a moment our thread has worked, or waited for a core, for BUSY_SHARE
    of the time."""

    def __init__(self, busy: Callable[[], float]) -> None:
        self._busy = busy
        self.since = 0.0
        self._then = 0.0

    def begin(self, since: float) -> None:
        self.since, self._then = since, self._busy()

    def slow(self, now: float) -> bool:
        """Says so for the time until now, and begins anew."""
        busy, elapsed, before = self._busy(), now - self.since, self._then
        self.since, self._then = now, busy
        return busy - before >= elapsed * BUSY_SHARE


class Line:
    """One mount's line. Times are monotonic seconds, amounts bytes; rates bytes a second."""

    def __init__(self, busy: Callable[[], float] = lambda: 0.0) -> None:
        """`busy` gives the seconds in which the thread that takes what arrives has worked, or waited for a core."""
        self._ours_lately, self._ours_sampled, self._ours_wide = _Ours(busy), _Ours(busy), _Ours(busy)
        """Over a while of adjusting the window, in a sample of the rate, and while wide streams brought something."""
        self.busy = busy
        """As given."""
        self._proven_thin_at = -math.inf
        self._round_trips: deque[float] = deque(maxlen=REMEMBERED)
        self._round_trip = 0.0
        self._at_least = math.inf
        """Seconds of the round trip without what was ours of it, the least so far."""
        self._rates: deque[tuple[float, float]] = deque()
        """Samples and their moments, each lower than the one before."""
        self._window = float(WINDOW_FIRST)
        self._adjusted = -math.inf
        self._delay = math.inf
        """The least of what was granted since then."""
        self._pressed_until = -math.inf
        self._starting = True
        """Whether the line has never been full yet."""
        self._on_the_way = 0
        self.arrived_at = -math.inf
        """When bytes of exact downloads last came."""
        self._brought = 0
        self._whole = True
        """Whether the sample began when nothing was on its way."""
        self._hint: float | None = None
        self._fast_bytes = 0
        self._fast = False
        self._wide_bytes, self._wide_seconds = 0, 0.0
        self.listen()
        self.changed: Callable[[], None] = lambda: None
        """Told when something was measured: before whoever reads gets what arrived."""

    # --- What is measured ---

    def round_trip_took(self, seconds: float, *, ours: float = 0.0, least: float = 0.0) -> None:
        """A ping was answered after so long. ours: seconds of it in which our thread was busy. least: the round trip as
        the kernel has it, which is no longer than the server's, but may end at somebody between."""
        self._at_least = min(self._at_least, max(seconds - ours, least))
        self._remember(seconds)
        self._begin()
        self.changed()

    def granted(self, now: float, amount: int) -> None:
        """The server may send so many bytes more."""
        if self._on_the_way <= 0:
            self._brought, self._on_the_way, self._whole = 0, 0, True
            self._ours_sampled.begin(now)
        self._on_the_way += amount

    def arrived(self, now: float, amount: int) -> None:
        """Bytes of those granted are here."""
        self.arrived_at = now
        self._on_the_way -= amount
        self._brought += amount
        elapsed = now - self._ours_sampled.since
        last = self._on_the_way <= 0
        # The end of what was on its way, by itself, may be what had gathered while nobody looked.
        long = elapsed >= max(SAMPLE_SECONDS, self.round_trip) or (last and self._whole and elapsed > 0)
        if self._brought >= RATE_SAMPLE and long:
            ours = self._ours_sampled.slow(now)
            self._sampled(now, self._brought / elapsed, self._brought, ours=ours)
            self._brought, self._whole = 0, False
        elif last and self._brought >= HINT_SAMPLE and elapsed > 0:
            self._hint = self._brought / elapsed
            self.changed()

    def listen(self) -> None:
        """From now on it counts for `trickles` what is received."""
        self._trickled, self._trickling, self._bit_by_bit = 0, 0.0, False
        self.pauses()

    def pauses(self) -> None:
        """What is received next was asked for only now: the time until then tells nothing of the line."""
        self._trickled_at: float | None = None

    def received(self, now: float, amount: int) -> None:
        """Bytes came from the server, of whatever kind; sooner than `arrived`, which needs whole frames."""
        if amount < TRICKLE_NOTICED:
            return
        if amount >= TRICKLE:
            # A shaper lets the first bytes pass at once, a fast line all; then a server may be waiting for a core.
            self._trickled, self._trickling = 0, 0.0
        elif self._trickled_at is not None:
            self._trickled += amount
            self._trickling += now - self._trickled_at
        self._trickled_at, self._bit_by_bit = now, amount < TRICKLE

    def trickles(self, now: float) -> bool:
        """Whether what has come since `listen` came bit by bit, and less of it than a fast line would have brought."""
        seconds = self._trickling
        if self._bit_by_bit and self._trickled_at is not None:
            seconds += now - self._trickled_at
        return seconds >= TRICKLE_SECONDS and self._trickled * TRICKLE_SECONDS < TRICKLE * seconds

    def guessed(self, *, thin: bool) -> None:
        """What was to tell of the line did not come in time, or bit by bit; otherwise all at once: if slowly, then for
        want of a core."""
        if self.rate is None and not self._fast:
            self._hint = 0.0 if thin else math.inf
            self.changed()

    def dropped(self, amount: int) -> None:
        """Bytes that were granted will not come."""
        self._on_the_way -= amount

    def delayed(self, now: float, delay: float, *, limited: bool) -> None:
        """What was granted `delay` seconds ago has arrived. limited: more was wanted than the window let through."""
        if delay < self.round_trip:
            self._at_least = min(self._at_least, delay)
            self._remember(delay)
        if not limited or now - delay < self._adjusted:
            return
        self._delay = delay = min(self._delay, delay)
        base = self.round_trip
        queue = delay - base
        growing = self._starting and queue < max(QUEUE_NOTICED, base * QUEUE_SHARE)
        if not growing and now - self._adjusted < ADJUST_AFTER * delay:
            return
        self._adjusted, self._delay = now, math.inf
        if now - self._ours_lately.since >= BUSY_OVER and self._ours_lately.slow(now):
            self._pressed_until = now + RATE_MEMORY
        if growing:
            window = self._window * 2
        else:
            self._starting = False
            settled = base / delay * self._window + self._queued
            if queue >= 0.75 * QUEUE_SECONDS_FAR or base < NEAR:
                settled = (self._window + settled) / 2
            # From afar at once where the queue is short: by halves 50 Mbit/s over 40 ms were full after 0.8 s.
            window = min(2 * self._window, settled)
        self._window = min(max(window, self._least), WINDOW_MOST)

    def _begin(self) -> None:
        """Sets the window by the round trip and the rate, as long as no delay has told how large it is to be."""
        if self._adjusted == -math.inf:
            self._window = WINDOW_FIRST if self.round_trip < NEAR else WINDOW_FIRST_FAR
            if (rate := self.rate) is not None:
                self._window = max(
                    self._least, min(self._window, rate * (2 * self.round_trip + FIRST_SECONDS))
                )

    def _remember(self, round_trip: float) -> None:
        self._round_trips.append(round_trip)
        self._round_trip = min(self._round_trips)

    def wide(self, amount: int, seconds: float, now: float) -> None:
        """Wide streams brought so much in this time of waiting for it, by `now`."""
        if not self._wide_bytes:
            self._ours_wide.begin(now - seconds)
        self._wide_bytes += amount
        self._wide_seconds += seconds
        if self._wide_seconds >= SLOW_SECONDS:
            rate = self._wide_bytes / self._wide_seconds
            ours = rate >= self._busy_rate and self._ours_wide.slow(now)
            if rate < SLOW and not ours:
                self._fast, self._fast_bytes = False, 0
                self._rates.clear()
                self._proven_thin_at = now
            self._wide_bytes, self._wide_seconds = 0, 0.0

    def _sampled(self, now: float, rate: float, amount: int, *, ours: bool) -> None:
        rates = self._rates
        while rates and rates[0][0] < now - RATE_MEMORY:
            rates.popleft()
        # One that is followed by a higher one never counts again: so the highest stands first, however many there were.
        while rates and rates[-1][1] <= rate:
            rates.pop()
        rates.append((now, rate))
        doubtful = ours and rate >= self._busy_rate and now - self._proven_thin_at >= THIN_SECONDS
        if rate >= FAST or doubtful:
            self._fast_bytes += amount
            self._fast = self._fast or self._fast_bytes >= FAST_AFTER
        elif not ours:
            self._fast_bytes = 0
        self._begin()
        self.changed()

    # --- What follows ---

    @property
    def round_trip(self) -> float:
        """Seconds to the server and back; 0 as long as nothing is known."""
        return self._round_trip

    @property
    def rate(self) -> float | None:
        """The highest of the last seconds; None as long as nothing is known."""
        return self._rates[0][1] if self._rates else None

    @property
    def window(self) -> int:
        """Bytes that may be on their way for exact downloads together."""
        return int(self._window)

    @property
    def fast(self) -> bool:
        """Whether wide streams pay."""
        return self._fast

    @property
    def quick(self) -> bool:
        """Whether the line is fast and the server near."""
        return self._fast and self.round_trip < NEAR

    @property
    def presumed_fast(self) -> bool:
        """As `fast`, by hints where nothing is known: a server nearby, as long as nothing came slowly."""
        rate = self.rate
        if self._fast or rate is not None:
            return self._fast or (rate or 0.0) >= FAST
        return self.near and (self._hint is None or self._hint >= NEAR_HINT)

    @property
    def near(self) -> bool:
        """Whether the server is on the local network, or this machine, as far as is known."""
        if len(self._round_trips) >= NEAR_PROVEN_BY:
            return self.round_trip < NEAR
        return not self._round_trips or self._at_least < NEAR_AT_FIRST

    @property
    def nearby(self) -> bool:
        """Whether it has been measured that the server is near."""
        return 0 < self.round_trip < NEAR

    @property
    def unmeasured(self) -> bool:
        """Whether nothing has come yet that tells of the line's rate."""
        return self.rate is None and self._hint is None and not self._fast

    @property
    def unknown(self) -> bool:
        """Whether the server is near, and that is all that is known."""
        return self.unmeasured and self.near

    @property
    def gather(self) -> float:
        """Seconds to let what comes gather before it is taken; 0 where that is little, or much, or nearly all here."""
        rate = self.rate
        if rate is None or not GATHER_LEAST <= rate * GATHER < FAST * GATHER:
            return 0.0
        return GATHER if self._on_the_way >= 4 * rate * GATHER else 0.0

    @property
    def seek_block(self) -> int:
        """Bytes in a block of a first read."""
        return SEEK_FAST if (self.rate or 0.0) >= FAST else SEEK

    @property
    def stream_block(self) -> int:
        """Bytes in a block of sequential reading by exact downloads: about a tenth of a second of the line."""
        wanted = (self.rate or 0.0) * BLOCK_SECONDS
        return next((size for size in LADDER if size <= min(wanted, EXACT_MOST)), LADDER[-1])

    @property
    def reach(self) -> int:
        """Bytes that come in the time that another call takes: less is quicker read through."""
        seconds = self.round_trip + CALL_SECONDS
        return min(int((self.rate or 0.0) * seconds), REACH_EXACT)

    @property
    def bytes_in_a_round_trip(self) -> int:
        """What the line carries in that time; 0 where the server is near, or nothing is known."""
        return 0 if self.near else int((self.rate or 0.0) * self.round_trip)

    @property
    def kernel_ahead(self) -> int:
        """Bytes that the kernel should read ahead."""
        most, usual, least = KERNEL_AHEAD
        rate = self.rate
        if self.unknown:
            return KERNEL_AHEAD_NEAR
        if self.presumed_fast:
            return most
        return least if rate is not None and rate < 3 * usual else usual

    @property
    def preferred(self) -> int:
        """Bytes that are best read at once (st_blksize)."""
        return PREFERRED_FAST if self._fast else PREFERRED

    @property
    def _busy_rate(self) -> float:
        """Bytes a second from which on we may be what is slow."""
        return BUSY_RATE if self.round_trip < NEAR else SLOW

    @property
    def _queued(self) -> float:
        """Bytes that wait in the line's queue."""
        rate = self.rate
        if rate is None or self.round_trip < NEAR or self._adjusted < self._pressed_until:
            return max(self._least, (rate or 0.0) * QUEUE_SECONDS)
        return max(WINDOW_LEAST[0], rate * QUEUE_SECONDS_FAR)

    @property
    def _least(self) -> float:
        """Bytes of the smallest window."""
        least, enough = WINDOW_LEAST
        return enough if self.rate is None else min(max(self.rate * BRIDGED, least), enough)
