"""Which session is of which request, as far as the names of both tell: kept with a request's record, and compared with
what the server lists, which may write and fill in things otherwise."""

import functools
from dataclasses import replace
from datetime import timedelta

from exportfs.model import OptionsSummary
from exportfs.requests.named import looks_like_access_point
from exportfs.timestamps import parse_server, to_server

MOVED = timedelta(minutes=10)
"""By which a server may show another start than was asked for, say that of the first frame that there is."""


def outline(summary: OptionsSummary) -> str:
    """Camera, kind and interval, in one form of timestamps."""
    words = [summary.live, summary.kind, summary.more_origins, summary.origin]
    if not summary.live:
        words += [_normal(summary.start), _normal(summary.end)]
    return " ".join(map(str, words))


@functools.lru_cache(maxsize=16384)
def outlines(summary: OptionsSummary) -> tuple[str, ...]:
    """What a session's request may have been in outline: the server may have chosen the format."""
    left_open = "video" if summary.stream else "image"
    return tuple(outline(replace(summary, kind=kind)) for kind in (summary.kind, left_open))


def is_another(asked: str, summary: OptionsSummary) -> bool:
    """Whether a session is certainly not of a request of this outline, but has its id: of a server that started anew.
    Another kind, end, or a start close by may be the server's doing, or an access point in place of a name: who took
    that for another session would ask for the export again."""
    if not summary.origin:
        return False  # a list without options
    words = asked.split(" ", 3)
    if len(words) < 4:
        return False
    live, _, more, rest = words
    if (live, more) != (str(summary.live), str(summary.more_origins)):
        return True
    if not f"{rest} ".startswith(f"{summary.origin} "):
        return looks_like_access_point(rest) and looks_like_access_point(summary.origin)
    if summary.live:
        return False
    start = parse_server(rest.removeprefix(summary.origin).strip().partition(" ")[0])
    now = parse_server(summary.start)
    return start is not None and now is not None and abs(now - start) > MOVED


def _normal(stamp: str) -> str:
    instant = parse_server(stamp)
    return stamp if instant is None else to_server(instant)
