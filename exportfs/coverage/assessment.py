"""Whether the results hold what was asked for: the judgement, and its words."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from exportfs.coverage.asked import Asked
from exportfs.coverage.file_times import (
    LONGEST_SLACK,
    extent_of,
    plays,
    shifted,
    slack_of,
    span_of,
    zone_offset,
)
from exportfs.coverage.sources import by_camera, sources_without_file
from exportfs.coverage.spans import SECOND, Span, minus, to_moment, to_us, union, where_deep
from exportfs.model import ResultFile
from exportfs.record import CoverageJson, IntervalJson
from exportfs.timestamps import parse_server, to_rfc3339

GAPS_NAMED = 3
"""Gaps that a warning spells out; `gaps` holds all."""


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

    def as_json(self) -> CoverageJson:
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
    asked: Asked,
    files: Sequence[ResultFile],
    last_frame: str = "",
    *,
    hollow: int = 0,
    ended: bool = True,
) -> Coverage:
    """The coverage of an archive export. `last_frame` is the server's last_frame_timestamp, `hollow` counts results
    besides `files` that have no bytes: whatever times they have, there is no footage in them.

    Before the export has `ended` there are no results to judge. Total: any text may stand in any field.
    """
    coverage = _assess(asked, files, last_frame, hollow=hollow, ended=ended)
    if not hollow or not ended or coverage.share == 1:
        return coverage
    count = len(files) + hollow
    which = (
        "the only result is"
        if count == 1
        else f"{hollow} of {count} results {'is' if hollow == 1 else 'are'}"
    )
    return replace(coverage, warnings=(f"{which} empty (0 bytes)", *coverage.warnings))


def _assess(
    asked: Asked, files: Sequence[ResultFile], last_frame: str, *, hollow: int, ended: bool
) -> Coverage:
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
            warnings=()
            if hollow
            else (f"there is no result at all: the archive may hold no footage of {what}",),
        )
    if start is None or end is None or (asked.stream and end <= start):
        return Coverage(
            (start, end), extent_of(files), note=_unknown("the server names no interval asked for")
        )
    if not asked.stream:
        return _snapshot(asked, start, files)
    return _stream(asked, (to_us(start), to_us(end)), files, last_frame)


# Snapshots.


def _snapshot(asked: Asked, moment: datetime, files: Sequence[ResultFile]) -> Coverage:
    """A picture is of the moment that was asked for, or of another one."""
    both = (moment, moment)
    missing = sources_without_file(asked, files)
    if missing:
        return Coverage(both, extent_of(files), 0.0, warnings=(missing,))
    if asked.brings_picture:
        return Coverage(both, extent_of(files), note=_unknown("the picture came with the request"))
    at = to_us(moment)
    warnings: list[str] = []
    notes: list[str] = []
    for file in files:
        span, odd = span_of(file)
        if span is None:
            notes.append(odd)
            continue
        distance = max(span[0] - at, at - span[1], 0)
        if distance <= LONGEST_SLACK:
            continue
        if zone_offset(span[0] - at, LONGEST_SLACK) is not None:
            notes.append("the times of the results look like local times")
            continue
        side = "before" if span[1] < at else "after"
        there = _text(span[1] if span[1] < at else span[0])
        warnings.append(f"the picture is of {there}, {_length(distance)} {side} the moment asked for")
    share = 0.0 if warnings else None if notes else 1.0
    note = _unknown(notes[0]) if notes and not warnings else None
    return Coverage(both, extent_of(files), share, warnings=tuple(dict.fromkeys(warnings)), note=note)


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
    both = (to_moment(whole[0]), to_moment(whole[1]))
    extent = extent_of(files)
    missing = sources_without_file(asked, files)
    if missing:
        return Coverage(both, extent, 0.0, (both,), (missing,))
    slack = slack_of(whole[1] - whole[0], asked.frame_step)
    if extent is None and (short := _by_last_frame(whole, last_frame, slack)) is not None:
        return short
    groups = by_camera(asked, files)
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
    gaps = tuple((to_moment(begin), to_moment(end)) for begin, end in (worst.gaps if worst else ()))
    return Coverage(both, extent, share, gaps, warnings, _unknown(notes[0]) if notes else None)


def _judge(asked: Asked, whole: Span, files: Sequence[ResultFile], slack: int) -> _Judgement:
    """Files that follow one another, or a single one."""
    found = [span_of(file) for file in files]
    spans = [span for span, _ in found if span is not None]
    odd = next((reason for span, reason in found if span is None), "")
    if shift := shifted(whole, spans, slack):
        return _untold(shift)
    if asked.speed > 1 and plays(asked, whole, spans, slack):
        return _untold("the times of the results may be those of playing the time lapse")
    verdict = _with_masks(asked, whole, lambda wanted: _missing(wanted, spans, slack))
    if odd and verdict.missing:
        return _untold(odd)
    return verdict


def _by_depth(asked: Asked, whole: Span, files: Sequence[ResultFile], slack: int) -> _Judgement:
    """Several files for each of several sources, and none says whose it is: at every moment there must be as many as
    there are sources."""
    found = [span_of(file) for file in files]
    spans = [span for span, _ in found if span is not None]
    odd = next((reason for span, reason in found if span is None), "")
    if shift := shifted(whole, spans, slack):
        return _untold(shift)
    deep = where_deep(spans, max(1, len(asked.sources)))
    verdict = _with_masks(asked, whole, lambda wanted: _missing(wanted, deep, slack))
    return _untold(odd) if odd and verdict.missing else verdict


def _with_masks(asked: Asked, whole: Span, missing: Callable[[list[Span]], _Judgement]) -> _Judgement:
    """The vendor does not say whether a timeline mask names what is exported or what is left out. Where the two
    readings disagree, it cannot be told."""
    if asked.masks_differ:
        verdict = missing([whole])
        return verdict if not verdict.missing else _untold("each camera has a timeline mask of its own")
    masks = [
        (max(to_us(begin), whole[0]), min(to_us(end), whole[1]))
        for first, last in asked.masks
        if (begin := parse_server(first)) and (end := parse_server(last)) and begin < end
    ]
    masks = [mask for mask in masks if mask[0] < mask[1]]
    if not masks:
        return missing([whole])
    inside = missing(union(masks))
    outside = missing(minus([whole], masks))
    if bool(inside.missing) != bool(outside.missing):
        return _untold("the timeline mask leaves open which part was to be exported")
    return max(inside, outside, key=lambda one: one.share)


def _missing(wanted: list[Span], spans: list[Span], slack: int) -> _Judgement:
    """What the spans lack of what was wanted; gaps within the slack do not count, unless they add up."""
    gaps = minus(wanted, spans)
    large = [gap for gap in gaps if gap[1] - gap[0] > slack]
    small = sum(end - begin for begin, end in gaps) - sum(end - begin for begin, end in large)
    length = sum(end - begin for begin, end in wanted)
    if small > max(2 * slack, length // 20):
        large = gaps
    return _Judgement(large, sum(end - begin for begin, end in large), max(length, 1))


def _by_last_frame(whole: Span, last_frame: str, slack: int) -> Coverage | None:
    """Where no file has times: the export went no further than its last frame."""
    both = (to_moment(whole[0]), to_moment(whole[1]))
    last = parse_server(last_frame)
    if last is None or not whole[0] <= to_us(last) < whole[1] - slack:
        return None
    left = whole[1] - to_us(last)
    text = (
        f"the export got no further than {_text(to_us(last))}: the last {_length(left)} "
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


# Words.


def _unknown(why: str) -> str:
    return f"whether all footage asked for is there cannot be told: {why}"


def _interval(pair: tuple[datetime | None, datetime | None]) -> IntervalJson:
    return {"begin": _iso(pair[0]), "end": _iso(pair[1])}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else to_rfc3339(moment)


def _text(at: int) -> str:
    """In whole seconds: enough for people."""
    return to_rfc3339(to_moment(at).replace(microsecond=0))


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
