"""What the archive says of a request's footage when its export is started: kept with the session, for its record."""

import logging
from collections.abc import Mapping

import trio

from exportfs.cameras.footage import Coverage, coverage, zoom
from exportfs.cameras.footage_names import from_unix_ms, unix_ms
from exportfs.errors import ExportfsError
from exportfs.requests import Request, sources_of
from exportfs.site import Interval
from exportfs.timestamps import parse_server, to_rfc3339
from exportfs.vfs.context import Context

log = logging.getLogger(__name__)

WAITS = 10.0
"""Seconds that asking may take: the export is under way meanwhile, and its record is to stand still once it is over."""
MOST_GAPS = 1000
"""Kept for one session."""


async def footage_asked_for(context: Context, request: Request) -> Mapping[str, object] | None:
    """`covered` (0 to 1) and `gaps` of the interval that an archive stream is asked for, as the archive says now; None
    where there is none, or it cannot be asked in time. Several cameras: where one of them has none is a gap.

    Never raises: the export goes on whatever comes of it.
    """
    start, end = parse_server(request.summary.start), parse_server(request.summary.end)
    if request.summary.live or not request.summary.stream or start is None or end is None or start >= end:
        return None
    found: Coverage | None = None
    try:
        with trio.move_on_after(min(WAITS, context.timeout)):
            found = await _asked(context, request, (unix_ms(start), unix_ms(end)))
    except ExportfsError as error:
        log.debug("could not ask for the footage of a request: %s", error)
    except Exception:
        log.exception("asking for the footage of a request failed")
    if found is None:
        return None
    gaps = [{"begin": _time(begin), "end": _time(end)} for begin, end in found.gaps[:MOST_GAPS]]
    return {"covered": round(found.covered, 4), "gaps": gaps}


async def _asked(context: Context, request: Request, interval: Interval) -> Coverage:
    begin, end = interval
    missing: list[Interval] = []
    for origin, storages in sources_of(request.options):
        camera = await context.cameras.detailed(origin)
        archive = next((one for one in camera.archives if one.access_point in storages and one.track), None)
        footage = await context.footage.read(camera, begin, end, archive=archive, zoom=zoom(begin, end))
        missing += coverage(begin, end, footage.intervals).gaps
    # What is left of the interval beside all that is missing is where every camera has footage.
    return coverage(begin, end, coverage(begin, end, missing).gaps)


def _time(unix_milliseconds: int) -> str:
    return to_rfc3339(from_unix_ms(unix_milliseconds))
