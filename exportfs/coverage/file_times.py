"""The times that the server tells of files, and what is wrong with them."""

from collections.abc import Iterable
from datetime import UTC, datetime

from exportfs.coverage.asked import Asked
from exportfs.coverage.spans import SECOND, Span, to_moment, to_us
from exportfs.model import ResultFile
from exportfs.timestamps import parse_server

LONGEST_SLACK = 10 * SECOND
"""Key frames come every 1 to 4 s as a rule; cameras that save on them, every 10."""
SHORTEST_SLACK = 2 * SECOND
ZONE_STEP = 900 * SECOND
"""All zones are multiples of a quarter of an hour away from UTC."""
FARTHEST_ZONE = 14 * 3600 * SECOND
_EARLIEST = datetime(1980, 1, 1, tzinfo=UTC)
"""No camera has recorded before; what says so has no clock."""


def span_of(file: ResultFile) -> tuple[Span | None, str]:
    """First and last footage of a file, or None and why they cannot be told."""
    if not file.min_timestamp and not file.max_timestamp:
        return None, "the results have no times"
    first, last = parse_server(file.min_timestamp), parse_server(file.max_timestamp)
    if first is None or last is None:
        return None, "a result has no time of its beginning or end that could be read"
    if last < first:
        return None, "a result ends before it begins, by its own times"
    if first < _EARLIEST:
        return None, "a result has times that cannot be right"
    return (to_us(first), to_us(last)), ""


def extent_of(files: Iterable[ResultFile]) -> tuple[datetime | None, datetime | None] | None:
    spans = [span for file in files if (span := span_of(file)[0]) is not None]
    if not spans:
        return None
    return to_moment(min(begin for begin, _ in spans)), to_moment(max(end for _, end in spans))


def shifted(whole: Span, spans: list[Span], slack: int) -> str:
    """Why the times are no good, where they are not of the interval asked for; else empty."""
    if not spans:
        return ""
    begin, end = min(one for one, _ in spans), max(one for _, one in spans)
    if abs((end - begin) - (whole[1] - whole[0])) <= 2 * slack:
        offset = zone_offset(begin - whole[0], slack)
        if offset:
            return f"the times of the results look like local times, {offset} from UTC"
    if end < whole[0] - slack or begin > whole[1] + slack:
        return "the times of the results lie outside of the interval asked for"
    return ""


def zone_offset(distance: int, slack: int) -> str | None:
    """`+02:00`, where a distance can be a zone's from UTC; None for none, and for none at all."""
    steps = round(distance / ZONE_STEP)
    if steps == 0 or abs(distance) > FARTHEST_ZONE + slack or abs(distance - steps * ZONE_STEP) > slack:
        return None
    hours, quarters = divmod(abs(steps), 4)
    return f"{'-' if steps < 0 else '+'}{hours:02d}:{quarters * 15:02d}"


def plays(asked: Asked, whole: Span, spans: list[Span], slack: int) -> bool:
    """Whether the files' times may count the time that a time lapse plays, not the footage."""
    if not spans:
        return False
    begin, end = min(one for one, _ in spans), max(one for _, one in spans)
    played = (whole[1] - whole[0]) / asked.speed
    return abs(begin - whole[0]) <= slack and abs((end - begin) - played) <= max(2 * SECOND, played / 10)


def slack_of(length: int, frame_step: float) -> int:
    """A tenth of the interval between SHORTEST_ and LONGEST_SLACK, at most a third of it; and for a time lapse two of
    its frames more."""
    slack = min(max(length // 10, SHORTEST_SLACK), LONGEST_SLACK, max(length // 3, 1))
    return slack + round(2 * max(0.0, frame_step) * SECOND)
