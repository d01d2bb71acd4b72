"""What footage an archive holds of a camera: asked for as coarsely as the length allows, remembered for a minute."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import trio
from cachetools import TTLCache

from exportfs.cameras.service import SiteService
from exportfs.errors import ExportfsError, NotFound, TimedOut
from exportfs.site import Archive, Camera, Completeness, Interval

SECOND = 1000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
EARLIEST = 0
"""Unix milliseconds: no archive holds footage from before 1970."""
AHEAD = HOUR
"""How far after now it is asked: a server's clock may be ahead, and its newest interval then ends after our now."""
FRESH = 60.0
"""Seconds for which an answer is remembered."""
_REMEMBERED = 512
_PER_ANSWER = 1000
"""Intervals asked for at once."""
_MOST_ANSWERS = 20
"""Answers put together: with more, the rest is cut off, and that is said."""
_TRY_LATER = 0.25
"""Seconds until an archive that is not ready is asked again."""


@dataclass(frozen=True, slots=True)
class Zoom:
    """How closely to look."""

    exact: bool
    gap: int
    """Milliseconds: intervals with less between them are one."""


def zoom(begin: int, end: int) -> Zoom:
    """Of the vendor's own levels the one for a length: exact to an hour, minutes to two days, else hours."""
    if end - begin <= HOUR:
        return Zoom(exact=True, gap=0)
    return Zoom(exact=False, gap=MINUTE if end - begin <= 2 * DAY else HOUR)


@dataclass(frozen=True, slots=True)
class Footage:
    """What one archive holds of one camera within an interval."""

    archive: Archive
    begin: int
    end: int
    zoom: Zoom
    intervals: tuple[Interval, ...]
    complete: bool
    """False where there are more intervals than we asked for: the last ones are missing."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How much of an interval has footage."""

    covered: float
    """0 to 1."""
    gaps: tuple[Interval, ...]


def coverage(begin: int, end: int, intervals: Iterable[Interval]) -> Coverage:
    """Of [begin, end), which is not empty."""
    gaps: list[Interval] = []
    position = begin
    for start, stop in joined(intervals, 0):
        start, stop = max(start, begin), min(stop, end)
        if stop <= max(start, position):
            continue
        if start > position:
            gaps.append((position, min(start, end)))
        position = max(position, stop)
        if position >= end:
            break
    if position < end:
        gaps.append((position, end))
    missing = sum(stop - start for start, stop in gaps)
    return Coverage(max(0.0, 1 - missing / (end - begin)), tuple(gaps))


def joined(intervals: Iterable[Interval], gap: int) -> list[Interval]:
    """In order, and as one where less than `gap` milliseconds, or nothing at all, lies between them."""
    result: list[Interval] = []
    for begin, end in sorted(intervals):
        if result and (begin - result[-1][1] < gap or begin <= result[-1][1]):
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((begin, end))
    return result


class FootageReader:
    """Asks archives. Belongs to one trio run. timeout: seconds that one answer may take in all."""

    def __init__(self, service: SiteService, *, timeout: float) -> None:
        self._service = service
        self._timeout = timeout
        self._known: TTLCache[tuple[str, int, int, Zoom], Footage] = TTLCache(
            _REMEMBERED, FRESH, timer=trio.current_time
        )

    async def read(
        self, camera: Camera, begin: int, end: int, *, archive: Archive | None = None, zoom: Zoom
    ) -> Footage:
        """Of one archive, or of the first in the order of preference that answers.

        Raises NotFound where nothing records the camera, and what the last archive raised where none answers.
        """
        archives = [archive] if archive is not None else [one for one in camera.archives if one.track]
        failure: ExportfsError = NotFound(f"{camera.label} has no archive that could be asked")
        with trio.move_on_after(self._timeout):
            for one in archives:
                try:
                    return await self._of(one, begin, end, zoom)
                except ExportfsError as error:
                    # One archive that cannot be resolved does not hide the others (INTERNAL, observed).
                    failure = error
            raise failure
        raise TimedOut("the archive did not answer in time")

    async def _of(self, archive: Archive, begin: int, end: int, zoom: Zoom) -> Footage:
        key = (archive.track, begin, end, zoom)
        known = self._known.get(key)
        if known is None:
            intervals, complete = await self._ask(archive.track, begin, end, zoom)
            known = Footage(archive, begin, end, zoom, intervals, complete)
            self._known[key] = known
        return known

    async def _ask(self, track: str, begin: int, end: int, zoom: Zoom) -> tuple[tuple[Interval, ...], bool]:
        """All intervals, and whether they are all. PARTIAL: there may be more after the last one (documented)."""
        found: list[Interval] = []
        position = begin
        for _ in range(_MOST_ANSWERS):
            while True:
                answer = await self._service.history(
                    track, position, end, most=_PER_ANSWER, gap=zoom.gap, exact=zoom.exact
                )
                if answer.completeness is not Completeness.TRY_LATER:
                    break
                await trio.sleep(_TRY_LATER)
            found += [
                _clipped(one, begin, end) for one in answer.intervals if one[1] > begin and one[0] < end
            ]
            if answer.completeness is Completeness.FULL:
                return tuple(joined(found, max(zoom.gap, 1))), True
            last = max((stop for _, stop in answer.intervals), default=position)
            if last <= position or last >= end:
                # PARTIAL without anything new: it cannot be gone on from.
                return tuple(joined(found, max(zoom.gap, 1))), last >= end
            position = last
        return tuple(joined(found, max(zoom.gap, 1))), False


def _clipped(interval: Interval, begin: int, end: int) -> Interval:
    return max(interval[0], begin), min(interval[1], end)


def last_of(intervals: Sequence[Interval], length: int) -> Interval | None:
    """The last so many milliseconds of footage in one piece: of the newest interval, as long as that is."""
    if not intervals:
        return None
    begin, end = intervals[-1]
    return max(begin, end - length), end
