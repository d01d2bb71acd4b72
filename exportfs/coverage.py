"""How much of the footage that an archive export asked for is in its results, as far as the server tells.

Pure: what was asked (`Asked`), the files as the server describes them, and its last frame go in; a `Coverage` comes
out. Three rules, in this order:

1. A shortfall that the server's own words prove is a warning.
2. What they do not tell is `share` None and a `note`, and no warning: nobody could act on it.
3. Within a key frame's slack nothing is missing: a clip begins at a key frame and ends with a frame, so its edges are
   never those that were asked for. A clip may be longer than the interval.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from exportfs.model import ResultFile
from exportfs.timestamps import parse_server, to_rfc3339

SECOND = 1_000_000
"""Everything in here counts microseconds since 1970, as integers."""
LONGEST_SLACK = 10 * SECOND
"""Key frames come every 1 to 4 s as a rule; cameras that save on them, every 10."""
SHORTEST_SLACK = 2 * SECOND
ZONE_STEP = 900 * SECOND
"""All zones are multiples of a quarter of an hour away from UTC."""
FARTHEST_ZONE = 14 * 3600 * SECOND
GAPS_NAMED = 3
"""Gaps that a warning spells out; `gaps` holds all."""

Span = tuple[int, int]
"""Begin and end."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EARLIEST = datetime(1980, 1, 1, tzinfo=UTC)
"""No camera has recorded before; what says so has no clock."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What an archive export was asked for; times in the server's form."""

    start: str
    end: str = ""
    """Empty for a snapshot, which is of one moment."""
    stream: bool = True
    sources: tuple[str, ...] = ()
    """Access points of the cameras, each once."""
    discrete: bool = False
    """Whether there is to be a file for each source."""
    masks: tuple[tuple[str, str], ...] = ()
    """`timeline_mask` of the mode, or of all sources where it is the same for them."""
    masks_differ: bool = False
    """Whether sources have masks of their own: then no file can be held against any."""
    frame_step: float = 0.0
    """Seconds of footage from one frame to the next, where a time lapse thins out; 0: unknown, or all frames."""
    speed: float = 1.0
    """How many times faster a time lapse plays."""
    brings_picture: bool = False
    """Whether the request came with the picture itself, so that its time is not the archive's."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """What is there of what was asked for."""

    asked: tuple[datetime | None, datetime | None]
    results: tuple[datetime | None, datetime | None] | None = None
    """By the files' own times; None where they have none."""
    share: float | None = None
    """0 to 1, of the worst source where each has a file; None where it cannot be told."""
    gaps: tuple[tuple[datetime, datetime], ...] = ()
    """Parts of the interval asked for without footage, longer than a key frame's slack."""
    warnings: tuple[str, ...] = ()
    """Sentences: what is missing for certain."""
    note: str | None = None
    """Why `share` cannot be told."""

    def as_json(self) -> dict[str, object]:
        """As `.session.json` has it: times in RFC 3339, UTC."""
        return {
            "asked": _interval(self.asked),
            "results": None if self.results is None else _interval(self.results),
            "share": self.share,
            "gaps": [_interval(gap) for gap in self.gaps],
            "warnings": list(self.warnings),
            "note": self.note,
        }


def assess(
    asked: Asked, files: Sequence[ResultFile], last_frame: str = "", *, ended: bool = True
) -> Coverage:
    """The coverage of an archive export. `last_frame` is the server's last_frame_timestamp.

    Before the export has `ended` there are no results to judge. Total: any text may stand in any field.
    """
    start, end = parse_server(asked.start), parse_server(asked.end) if asked.stream else None
    if not asked.stream:
        end = start
    if not ended:
        return Coverage((start, end))
    if not files:
        what = "this interval" if asked.stream else "this moment"
        return Coverage(
            (start, end),
            share=0.0,
            gaps=((start, end),) if start is not None and end is not None and start < end else (),
            warnings=(f"there is no result at all: the archive may hold no footage of {what}",),
        )
    if start is None or end is None or (asked.stream and end <= start):
        return Coverage((start, end), _extent(files), note=_unknown("the server names no interval asked for"))
    if not asked.stream:
        return _snapshot(asked, start, files)
    return _stream(asked, (_us(start), _us(end)), files, last_frame)


# Snapshots.


def _snapshot(asked: Asked, moment: datetime, files: Sequence[ResultFile]) -> Coverage:
    """A picture is of the moment that was asked for, or of another one."""
    both = (moment, moment)
    missing = _sources_without_file(asked, files)
    if missing:
        return Coverage(both, _extent(files), 0.0, warnings=(missing,))
    if asked.brings_picture:
        return Coverage(both, _extent(files), note=_unknown("the picture came with the request"))
    at = _us(moment)
    warnings: list[str] = []
    notes: list[str] = []
    for file in files:
        span, odd = _span(file)
        if span is None:
            notes.append(odd)
            continue
        distance = max(span[0] - at, at - span[1], 0)
        if distance <= LONGEST_SLACK:
            continue
        if _zone_offset(span[0] - at, LONGEST_SLACK) is not None:
            notes.append("the times of the results look like local times")
            continue
        side = "before" if span[1] < at else "after"
        there = _text(span[1] if span[1] < at else span[0])
        warnings.append(f"the picture is of {there}, {_length(distance)} {side} the moment asked for")
    share = 0.0 if warnings else None if notes else 1.0
    note = _unknown(notes[0]) if notes and not warnings else None
    return Coverage(both, _extent(files), share, warnings=tuple(dict.fromkeys(warnings)), note=note)


# Streams.


@dataclass(frozen=True, slots=True)
class _Judgement:
    """Of one group of files, which together are to hold the whole interval."""

    gaps: list[Span]
    missing: int
    wanted: int
    """Length of what was to be there."""
    note: str = ""
    """Why it cannot be told."""

    @property
    def share(self) -> float:
        # Rounded down: what is not whole must not look so.
        return (self.wanted - self.missing) * 10_000 // self.wanted / 10_000


def _untold(note: str) -> _Judgement:
    return _Judgement([], 0, 1, note)


def _stream(asked: Asked, whole: Span, files: Sequence[ResultFile], last_frame: str) -> Coverage:
    both = (_moment(whole[0]), _moment(whole[1]))
    extent = _extent(files)
    missing = _sources_without_file(asked, files)
    if missing:
        return Coverage(both, extent, 0.0, (both,), (missing,))
    slack = _slack(whole[1] - whole[0], asked.frame_step)
    if extent is None and (short := _by_last_frame(whole, last_frame, slack)) is not None:
        return short
    groups = _groups(asked, files)
    judged: dict[str, _Judgement]
    if groups is None:
        judged = {"": _by_depth(asked, whole, files, slack)}
    else:
        judged = {name: _judge(asked, whole, group, slack) for name, group in groups.items()}
    return _together(both, extent, judged, asked)


def _together(
    both: tuple[datetime, datetime],
    extent: tuple[datetime | None, datetime | None] | None,
    judged: dict[str, _Judgement],
    asked: Asked,
) -> Coverage:
    """The worst source counts."""
    notes = [one.note for one in judged.values() if one.note]
    short = {name: one for name, one in judged.items() if one.missing and not one.note}
    worst = max(short.values(), key=lambda one: -one.share, default=None)
    warnings = tuple(
        dict.fromkeys(
            _shortfall(name, one, several=len(asked.sources) > 1 and asked.discrete)
            for name, one in short.items()
        )
    )
    share = None if notes else 1.0
    if worst is not None and not notes:
        share = worst.share
    gaps = tuple((_moment(begin), _moment(end)) for begin, end in (worst.gaps if worst else ()))
    return Coverage(both, extent, share, gaps, warnings, _unknown(notes[0]) if notes else None)


def _judge(asked: Asked, whole: Span, files: Sequence[ResultFile], slack: int) -> _Judgement:
    """Files that follow one another, or a single one."""
    found = [_span(file) for file in files]
    spans = [span for span, _ in found if span is not None]
    odd = next((reason for span, reason in found if span is None), "")
    if shift := _shifted(whole, spans, slack):
        return _untold(shift)
    if asked.speed > 1 and _plays(asked, whole, spans, slack):
        return _untold("the times of the results may be those of playing the time lapse")
    verdict = _with_masks(asked, whole, lambda wanted: _missing(wanted, spans, slack))
    if odd and verdict.missing:
        return _untold(odd)
    return verdict


def _by_depth(asked: Asked, whole: Span, files: Sequence[ResultFile], slack: int) -> _Judgement:
    """Several files for each of several sources, and none says whose it is: at every moment there must be as many as
    there are sources."""
    found = [_span(file) for file in files]
    spans = [span for span, _ in found if span is not None]
    odd = next((reason for span, reason in found if span is None), "")
    if shift := _shifted(whole, spans, slack):
        return _untold(shift)
    deep = _where_deep(spans, max(1, len(asked.sources)))
    verdict = _with_masks(asked, whole, lambda wanted: _missing(wanted, deep, slack))
    return _untold(odd) if odd and verdict.missing else verdict


def _with_masks(asked: Asked, whole: Span, missing: Callable[[list[Span]], _Judgement]) -> _Judgement:
    """The vendor does not say whether a timeline mask names what is exported or what is left out. Where the two
    readings disagree, it cannot be told."""
    if asked.masks_differ:
        verdict = missing([whole])
        return verdict if not verdict.missing else _untold("each camera has a timeline mask of its own")
    masks = [
        (max(_us(begin), whole[0]), min(_us(end), whole[1]))
        for first, last in asked.masks
        if (begin := parse_server(first)) and (end := parse_server(last)) and begin < end
    ]
    masks = [mask for mask in masks if mask[0] < mask[1]]
    if not masks:
        return missing([whole])
    inside = missing(_union(masks))
    outside = missing(_minus([whole], masks))
    if bool(inside.missing) != bool(outside.missing):
        return _untold("the timeline mask leaves open which part was to be exported")
    return max(inside, outside, key=lambda one: one.share)


def _missing(wanted: list[Span], spans: list[Span], slack: int) -> _Judgement:
    """What the spans lack of what was wanted; gaps within the slack do not count, unless they add up."""
    gaps = _minus(wanted, spans)
    large = [gap for gap in gaps if gap[1] - gap[0] > slack]
    small = sum(end - begin for begin, end in gaps) - sum(end - begin for begin, end in large)
    length = sum(end - begin for begin, end in wanted)
    if small > max(2 * slack, length // 20):
        large = gaps
    return _Judgement(large, sum(end - begin for begin, end in large), max(length, 1))


def _by_last_frame(whole: Span, last_frame: str, slack: int) -> Coverage | None:
    """Where no file has times: the export went no further than its last frame."""
    both = (_moment(whole[0]), _moment(whole[1]))
    last = parse_server(last_frame)
    if last is None or not whole[0] <= _us(last) < whole[1] - slack:
        return None
    left = whole[1] - _us(last)
    text = (
        f"the export got no further than {_text(_us(last))}: the last {_length(left)} "
        f"of the {_length(whole[1] - whole[0])} asked for are missing at least"
    )
    return Coverage(
        both, (None, last), None, ((last, both[1]),), (text,), _unknown("the results have no times")
    )


def _shortfall(source: str, one: _Judgement, *, several: bool) -> str:
    there = one.wanted - one.missing
    named = [f"{_text(begin)} to {_text(end)}" for begin, end in one.gaps[:GAPS_NAMED]]
    more = len(one.gaps) - len(named)
    if more > 0:
        named.append(f"{more} more")
    whose = f"{source}: the results hold" if source else "the results hold"
    if several and not source:
        whose = "the results of at least one camera hold"
    # Rounded down, as the share is.
    percent = there * 100 // one.wanted
    return (
        f"{whose} {_length(there)} of the {_length(one.wanted)} asked for ({percent} %); "
        f"missing: {', '.join(named)}"
    )


# Whose file is whose.


def _groups(asked: Asked, files: Sequence[ResultFile]) -> dict[str, list[ResultFile]] | None:
    """Files that together are to hold the interval, by a name for their source; None where it cannot be told."""
    if not asked.discrete or len(asked.sources) < 2:
        return {"": list(files)}
    named = _by_name(asked.sources, files)
    if named is not None:
        return named
    if len(files) == len(asked.sources):
        return {f"file {number} of {len(files)}": [file] for number, file in enumerate(files, 1)}
    return None


def _by_name(sources: Sequence[str], files: Sequence[ResultFile]) -> dict[str, list[ResultFile]] | None:
    """By the camera's name in the file id; None unless every file names exactly one camera, and all are named."""
    names = [_camera(source) for source in sources]
    if len(set(names)) != len(names):
        return None
    groups: dict[str, list[ResultFile]] = {name: [] for name in names}
    for file in files:
        last = re.split(r"[/\\]", file.path)[-1]
        fitting = [name for name in names if _names(last, name)]
        if len(fitting) != 1:
            return None
        groups[fitting[0]].append(file)
    return groups if all(groups.values()) else None


def _names(file: str, camera: str) -> bool:
    """Whether a file's name holds a camera's: `DeviceIpint.1`, but not `DeviceIpint.10`."""
    return re.search(rf"(?<![0-9A-Za-z]){re.escape(camera)}(?![0-9A-Za-z])", file) is not None


def _camera(source: str) -> str:
    """`DeviceIpint.1` of `hosts/Server/DeviceIpint.1/SourceEndpoint.video:0:0`."""
    parts = [part for part in source.removeprefix("hosts/").split("/") if part]
    return parts[1] if len(parts) > 2 else parts[-1] if parts else source


def _sources_without_file(asked: Asked, files: Sequence[ResultFile]) -> str:
    """A sentence where there are fewer files than cameras that were to have one; else empty."""
    count = len(asked.sources)
    if not asked.discrete or len(files) >= count:
        return ""
    last = [re.split(r"[/\\]", file.path)[-1] for file in files]
    absent = [name for name in map(_camera, asked.sources) if not any(_names(one, name) for one in last)]
    which = f": there is none of {', '.join(absent)}" if len(absent) == count - len(files) else ""
    files_there = "is one file" if len(files) == 1 else f"are {len(files)} files"
    return f"a file for each of {count} cameras was asked for, and there {files_there}{which}"


# The times of files.


def _span(file: ResultFile) -> tuple[Span | None, str]:
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
    return (_us(first), _us(last)), ""


def _extent(files: Iterable[ResultFile]) -> tuple[datetime | None, datetime | None] | None:
    spans = [span for file in files if (span := _span(file)[0]) is not None]
    if not spans:
        return None
    return _moment(min(begin for begin, _ in spans)), _moment(max(end for _, end in spans))


def _shifted(whole: Span, spans: list[Span], slack: int) -> str:
    """Why the times are no good, where they are not of the interval asked for; else empty."""
    if not spans:
        return ""
    begin, end = min(one for one, _ in spans), max(one for _, one in spans)
    if abs((end - begin) - (whole[1] - whole[0])) <= 2 * slack:
        offset = _zone_offset(begin - whole[0], slack)
        if offset:
            return f"the times of the results look like local times, {offset} from UTC"
    if end < whole[0] - slack or begin > whole[1] + slack:
        return "the times of the results lie outside of the interval asked for"
    return ""


def _zone_offset(distance: int, slack: int) -> str | None:
    """`+02:00`, where a distance can be a zone's from UTC; None for none, and for none at all."""
    steps = round(distance / ZONE_STEP)
    if steps == 0 or abs(distance) > FARTHEST_ZONE + slack or abs(distance - steps * ZONE_STEP) > slack:
        return None
    hours, quarters = divmod(abs(steps), 4)
    return f"{'-' if steps < 0 else '+'}{hours:02d}:{quarters * 15:02d}"


def _plays(asked: Asked, whole: Span, spans: list[Span], slack: int) -> bool:
    """Whether the files' times may count the time that a time lapse plays, not the footage."""
    if not spans:
        return False
    begin, end = min(one for one, _ in spans), max(one for _, one in spans)
    played = (whole[1] - whole[0]) / asked.speed
    return abs(begin - whole[0]) <= slack and abs((end - begin) - played) <= max(2 * SECOND, played / 10)


def _slack(length: int, frame_step: float) -> int:
    """A tenth of the interval between SHORTEST_ and LONGEST_SLACK, at most a third of it; and for a time lapse two of
    its frames more."""
    slack = min(max(length // 10, SHORTEST_SLACK), LONGEST_SLACK, max(length // 3, 1))
    return slack + round(2 * max(0.0, frame_step) * SECOND)


# Intervals, as sorted lists of spans that do not touch.


def _union(spans: Iterable[Span]) -> list[Span]:
    result: list[Span] = []
    for begin, end in sorted(spans):
        if result and begin <= result[-1][1]:
            result[-1] = (result[-1][0], max(result[-1][1], end))
        else:
            result.append((begin, end))
    return result


def _minus(wanted: Iterable[Span], taken: Iterable[Span]) -> list[Span]:
    holes = _union(taken)
    result = []
    for begin, end in _union(wanted):
        at = begin
        for first, last in holes:
            if last <= at or first >= end:
                continue
            if first > at:
                result.append((at, first))
            at = max(at, last)
        if at < end:
            result.append((at, end))
    return result


def _where_deep(spans: Iterable[Span], count: int) -> list[Span]:
    """Where at least `count` spans lie above one another."""
    edges = sorted(edge for begin, end in spans for edge in ((begin, 1), (end, -1)))
    result, depth, since = [], 0, 0
    for at, step in edges:
        before, depth = depth, depth + step
        if before < count <= depth:
            since = at
        elif depth < count <= before and at > since:
            result.append((since, at))
    return _union(result)


# Words.


def _unknown(why: str) -> str:
    return f"whether all footage asked for is there cannot be told: {why}"


def _interval(pair: tuple[datetime | None, datetime | None]) -> dict[str, str | None]:
    return {"begin": _iso(pair[0]), "end": _iso(pair[1])}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else to_rfc3339(moment)


def _text(at: int) -> str:
    """In whole seconds: enough for people."""
    return to_rfc3339(_moment(at).replace(microsecond=0))


def _length(us: int) -> str:
    """`7 min`, `1 h 5 min`, `12.4 s`."""
    if us < 60 * SECOND:
        return f"{us / SECOND:.1f}".removesuffix(".0") + " s"
    seconds = round(us / SECOND)
    parts = (
        (seconds // 86400, "d"),
        (seconds // 3600 % 24, "h"),
        (seconds // 60 % 60, "min"),
        (seconds % 60, "s"),
    )
    return " ".join(f"{number} {unit}" for number, unit in [part for part in parts if part[0]][:3])


def _us(moment: datetime) -> int:
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _moment(us: int) -> datetime:
    return _EPOCH + timedelta(microseconds=us)
