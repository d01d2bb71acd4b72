"""Which sessions to ask the server about, and when: pure, the time is handed in.

The server stops a running export that nobody asks about and deletes a completed one's files. So sessions started
here are asked about while they run, and completed ones while they are in use. Nothing else is: other people's
exports end as they would without us.
"""

from dataclasses import dataclass

LIVE_LIMIT = 300.0
"""Seconds after which a running live-stream export that nobody asks about is stopped (documented)."""
RUNNING_LIMIT = 1800.0
"""Seconds, for any other running export (documented)."""
COMPLETED_LIMIT = 3600.0
"""Seconds after which a completed export's files are deleted (documented)."""
RETRY = 2.0
"""Seconds before a question that failed is asked again."""
RETRY_CYCLE = 60.0
"""Seconds in which all sessions whose questions failed have had another, one at a time, even where none is answered:
well within LIVE_LIMIT."""
IDLE_CALLS_PER_SECOND = 1.0
"""Questions a second about open files' sessions while nobody looks: some 400 bytes each on the line."""
LEAST = 1.0
"""Seconds that every question is given at least."""


@dataclass(frozen=True, slots=True)
class KeepAliveConfig:
    """Durations in seconds."""

    keep: float = 900.0
    """A completed session is kept for this long after its last use."""
    refresh: float = 5.0
    """Running sessions are asked about more often than this, so that their progress shows, but not every 0.4 s or
    more often; see `interval`."""
    calls_per_second: float = 10.0
    """Never more than about this many questions, however many sessions are kept."""


@dataclass(slots=True)
class Use:
    """What is known of one session's use. Times are the caller's; None: never."""

    running: bool
    live_stream: bool = False
    started_here: bool = False
    open_files: int = 0
    last_use: float | None = None
    last_asked: float | None = None
    """When the server last answered a question about it."""
    last_failed: float | None = None
    """When the last question failed; None where it was answered."""

    @property
    def limit(self) -> float:
        """Seconds that the server waits for a question."""
        if not self.running:
            return COMPLETED_LIMIT
        return LIVE_LIMIT if self.live_stream else RUNNING_LIMIT


def kept(use: Use, now: float, config: KeepAliveConfig) -> bool:
    """Whether this session is to be kept alive."""
    if use.running:
        return use.started_here
    return use.open_files > 0 or (use.last_use is not None and now - use.last_use < config.keep)


def kept_until(use: Use, now: float, config: KeepAliveConfig) -> float:
    """Until when it is kept if nothing more happens; `now` where it is kept without an end."""
    if use.running or use.open_files or use.last_use is None:
        return now
    return max(now, use.last_use + config.keep)


def interval(use: Use, population: int, config: KeepAliveConfig, *, looked_at: bool = True) -> float:
    """Seconds between two questions about a session, when `population` sessions are kept.

    Never longer than a third of the server's limit: two questions may get lost. While nobody looks into `sessions/`,
    not much shorter either: only what is open is asked about more often, since it may be replaced.
    """
    longest = use.limit / 3
    if looked_at:
        wanted = (0.4 if use.running else 2.0) * config.refresh
        return min(max(wanted, population / config.calls_per_second), longest)
    if use.open_files:
        return min(max(2.0 * config.refresh, population / IDLE_CALLS_PER_SECOND), longest)
    return longest


def next_question(
    use: Use, now: float, population: int, config: KeepAliveConfig, *, looked_at: bool = True
) -> float | None:
    """When to ask next, never asked first; None where it is not to be kept."""
    if not kept(use, now, config):
        return None
    if use.last_failed is not None:
        return use.last_failed + RETRY
    if use.last_asked is None:
        return float("-inf")  # before all that have been asked about: none may wait for ever
    return use.last_asked + interval(use, population, config, looked_at=looked_at)


def patience(failing: int, timeout: float) -> float:
    """Seconds that one question is given while those of `failing` sessions fail.

    A third of the timeout, after which a call is made on another connection, and time for that. Less where many fail:
    if they all hang they take turns within RETRY_CYCLE, and no more than that is lost on those that will join them.
    """
    return max(LEAST, min(timeout / 3 + 1.0, RETRY_CYCLE / max(1, failing)))


def expires(use: Use, now: float, config: KeepAliveConfig) -> float | None:
    """Our estimate of when the server will stop or delete it; None where the server's clock is unknown to us."""
    if kept(use, now, config) and (use.running or use.open_files):
        return None if use.running else now + COMPLETED_LIMIT
    if kept(use, now, config):
        return kept_until(use, now, config) + use.limit
    return None if use.last_asked is None else use.last_asked + use.limit
