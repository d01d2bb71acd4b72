"""How much of what was asked for is there: tables of cases, and what holds for any."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exportfs.coverage import Asked, Coverage, assess
from exportfs.model import ResultFile
from exportfs.timestamps import to_server

BEGIN = datetime(2026, 5, 11, 8, tzinfo=UTC)
CAMERAS = tuple(f"hosts/Server/DeviceIpint.{number}/SourceEndpoint.video:0:0" for number in (1, 10))


def at(seconds: float | None) -> str:
    """In the server's form, from the beginning of the interval."""
    return "" if seconds is None else to_server(BEGIN + timedelta(seconds=seconds))


def file(first: float | None, last: float | None, path: str = "a.mp4") -> ResultFile:
    return ResultFile(path, 1000, "video/mp4", at(first), at(last))


def half_hour(**more: object) -> Asked:
    return replace(Asked(at(0), at(1800), sources=CAMERAS[:1]), **more)  # type: ignore[arg-type] # fields by name


def judged(files: list[tuple[float | None, float | None]], **more: object) -> Coverage:
    return assess(half_hour(**more), [file(*times, f"{number}.mp4") for number, times in enumerate(files)])


@pytest.mark.parametrize(
    ("files", "share", "gaps"),
    [
        pytest.param([(0, 1800)], 1.0, [], id="all"),
        pytest.param([(0, 1799.8)], 1.0, [], id="its last frame is before the end"),
        pytest.param([(-4, 1803)], 1.0, [], id="longer: it begins at a key frame"),
        pytest.param([(-600, 2400)], 1.0, [], id="far longer"),
        pytest.param([(9, 1792)], 1.0, [], id="a key frame's slack at both ends"),
        pytest.param([(0, 420)], 0.2333, [(420, 1800)], id="7 of 30 minutes"),
        pytest.param([(-3, 420)], 0.2333, [(420, 1800)], id="longer before, and short"),
        pytest.param([(1380, 1800)], 0.2333, [(0, 1380)], id="the last 7 minutes"),
        pytest.param([(600, 1200)], 0.3333, [(0, 600), (1200, 1800)], id="the middle"),
        pytest.param([(0, 600), (600.2, 1200), (1200.2, 1800)], 1.0, [], id="split"),
        pytest.param([(1200.2, 1800), (0, 600), (600.2, 1200)], 1.0, [], id="split, in another order"),
        pytest.param([(0, 600), (1200, 1800)], 0.6666, [(600, 1200)], id="split, with a gap"),
        pytest.param([(0, 900), (300, 1200)], 0.6666, [(1200, 1800)], id="files that overlap"),
        pytest.param([(600, 600)], 0.0, [(0, 600), (600, 1800)], id="a single frame"),
        pytest.param([(0, 1800), (None, None)], 1.0, [], id="one without times, and nothing missing"),
    ],
)
def test_share_and_gaps(
    files: list[tuple[float, float]], share: float, gaps: list[tuple[float, float]]
) -> None:
    coverage = judged(list(files))
    assert (coverage.share, coverage.note) == (share, None)
    assert list(coverage.gaps) == [
        (BEGIN + timedelta(seconds=begin), BEGIN + timedelta(seconds=end)) for begin, end in gaps
    ]
    assert bool(coverage.warnings) == (share < 1)
    known = [times for times in files if times[0] is not None]
    assert coverage.results == (
        BEGIN + timedelta(seconds=min(first for first, _ in known)),
        BEGIN + timedelta(seconds=max(last for _, last in known)),
    )


def test_the_sentence_says_how_much_and_where() -> None:
    assert judged([(0, 420)]).warnings == (
        "the results hold 7 min of the 30 min asked for (23 %); "
        "missing: 2026-05-11T08:07:00Z to 2026-05-11T08:30:00Z",
    )
    many = judged([(number * 300, number * 300 + 100) for number in range(6)])
    assert many.warnings[0].endswith("3 more")
    assert len(many.gaps) == 6


def test_small_gaps_count_where_they_add_up() -> None:
    """Each within the slack, and a tenth of the footage in all."""
    files = [(number * 60.0, number * 60 + 53.0) for number in range(30)]
    coverage = judged(list(files))
    assert coverage.share == pytest.approx(53 / 60, abs=1e-3)
    assert coverage.warnings


@pytest.mark.parametrize(
    ("length", "got", "whole"),
    [
        (10, 8, True),
        (10, 7.9, False),
        (3, 2.1, True),
        (3, 1.9, False),
        (86400, 86391, True),
        (86400, 86380, False),
    ],
)
def test_slack_goes_with_the_length(length: float, got: float, whole: bool) -> None:
    coverage = assess(Asked(at(0), at(length)), [file(0, got)])
    assert bool(coverage.warnings) != whole
    assert (coverage.share == 1.0) == whole


@pytest.mark.parametrize(
    ("times", "hollow", "share", "warnings"),
    [
        ([], 1, 0.0, ["the only result is empty (0 bytes)"]),
        ([], 2, 0.0, ["2 of 2 results are empty (0 bytes)"]),
        ([(0, 420)], 1, 0.2333, ["1 of 2 results is empty (0 bytes)", "the results hold 7 min"]),
        ([(None, None)], 1, None, ["1 of 2 results is empty (0 bytes)"]),
        pytest.param([(0, 1800)], 1, 1.0, [], id="the others hold all of it"),
    ],
)
def test_results_without_bytes_hold_no_footage(
    times: list[tuple[float, float]], hollow: int, share: float | None, warnings: list[str]
) -> None:
    coverage = assess(half_hour(), [file(*each) for each in times], hollow=hollow)
    assert coverage.share == share
    assert [one[: len(other)] for one, other in zip(coverage.warnings, warnings, strict=True)] == warnings


@pytest.mark.parametrize("asked", [half_hour(), Asked(at(0), stream=False), Asked("", ""), Asked("x", "y")])
def test_no_file_at_all(asked: Asked) -> None:
    coverage = assess(asked, [], at(1800))
    assert coverage.share == 0.0
    assert "no result at all" in coverage.warnings[0]


def test_before_it_has_ended_nothing_is_judged() -> None:
    coverage = assess(half_hour(), [], at(100), ended=False)
    assert coverage == Coverage((BEGIN, BEGIN + timedelta(minutes=30)))
    assert coverage.as_json() == {
        "asked": {"begin": "2026-05-11T08:00:00Z", "end": "2026-05-11T08:30:00Z"},
        "results": None,
        "share": None,
        "gaps": [],
        "warnings": [],
        "note": None,
    }


@pytest.mark.parametrize(
    ("files", "words"),
    [
        pytest.param([(None, None)], "have no times", id="no times"),
        pytest.param([(0, None)], "no time of its beginning or end", id="no end"),
        pytest.param([(None, 1800)], "no time of its beginning or end", id="no beginning"),
        pytest.param([(1800, 0)], "ends before it begins", id="turned round"),
        pytest.param([(-1.77e9, -1.7e9)], "cannot be right", id="a clock that was never set"),
        pytest.param([(7200, 9000)], "local times, +02:00 from UTC", id="local time"),
        pytest.param([(-16200, -14400)], "local times, -04:30 from UTC", id="local time, to the west"),
        pytest.param([(900, 2700)], "local times, +00:15 from UTC", id="shifted within the interval"),
        pytest.param([(86400, 90000)], "outside of the interval", id="another day"),
        pytest.param([(-5000, -4000)], "outside of the interval", id="before"),
        pytest.param([(0, 420), (None, None)], "have no times", id="the one without may hold the rest"),
        pytest.param([(0, 420), (1800, 420)], "ends before it begins", id="the turned one may hold the rest"),
    ],
)
def test_what_cannot_be_told_is_said_and_no_alarm(
    files: list[tuple[float | None, float | None]], words: str
) -> None:
    coverage = judged(files)
    assert coverage.share is None
    assert coverage.warnings == ()
    assert words in str(coverage.note)


@pytest.mark.parametrize("text", ["garbage", "2026-05-11T08:00:00", "20261340T990000", "\ud800", "0"])
def test_times_that_are_none(text: str) -> None:
    coverage = assess(half_hour(), [ResultFile("a", 1, "", text, text)])
    assert (coverage.share, coverage.warnings) == (None, ())
    assert coverage.note


@pytest.mark.parametrize(
    ("last", "short"), [(420, True), (1780, True), (1795, False), (1800, False), (9000, False), (-1, False)]
)
def test_the_last_frame_tells_where_no_file_has_times(last: float, short: bool) -> None:
    coverage = assess(half_hour(), [file(None, None)], at(last))
    assert coverage.share is None
    assert coverage.note
    assert bool(coverage.warnings) == short
    if last == 420:
        assert "no further than 2026-05-11T08:07:00Z: the last 23 min of the 30 min" in coverage.warnings[0]


def test_the_files_go_over_the_last_frame() -> None:
    assert assess(half_hour(), [file(0, 1800)], at(420)).share == 1.0
    assert assess(half_hour(), [file(0, 420)], at(1800)).share == 0.2333


@pytest.mark.parametrize(
    ("files", "share", "words"),
    [
        pytest.param([(0, 1800, "DeviceIpint.1.mp4"), (0, 1800, "DeviceIpint.10.mp4")], 1.0, "", id="both"),
        pytest.param(
            [(0, 1800, "Server1_DeviceIpint.1[x].mp4"), (0, 420, "Server1_DeviceIpint.10[x].mp4")],
            0.2333,
            "DeviceIpint.10: the results hold 7 min",
            id="one is short",
        ),
        pytest.param(
            [
                (0, 900, "DeviceIpint.1_1.mp4"),
                (0, 1800, "DeviceIpint.10_1.mp4"),
                (900, 1800, "DeviceIpint.1_2.mp4"),
            ],
            1.0,
            "",
            id="split, by name",
        ),
        pytest.param(
            [
                (0, 900, "DeviceIpint.1_1.mp4"),
                (0, 900, "DeviceIpint.10_1.mp4"),
                (900, 1800, "DeviceIpint.1_2.mp4"),
            ],
            0.5,
            "DeviceIpint.10: the results hold 15 min",
            id="split, one short",
        ),
        pytest.param([(0, 1800, "a"), (0, 420, "b")], 0.2333, "file 2 of 2: the results hold", id="no names"),
        pytest.param(
            [(0, 900, "a"), (0, 1800, "b"), (900, 1800, "c")], 1.0, "", id="split, no names, nothing missing"
        ),
        pytest.param(
            [(0, 900, "a"), (0, 1800, "b"), (1200, 1800, "c")],
            0.8333,
            "the results of at least one camera hold 25 min",
            id="split, no names, a gap",
        ),
        pytest.param(
            [(0, 1800, "DeviceIpint.10.mp4")],
            0.0,
            "a file for each of 2 cameras was asked for, and there is one file: there is none of DeviceIpint.1",
            id="a camera without a file",
        ),
        pytest.param([(0, 1800, "x")], 0.0, "and there is one file", id="a camera without a file, no names"),
    ],
)
def test_discrete_the_worst_source_counts(
    files: list[tuple[float, float, str]], share: float, words: str
) -> None:
    asked = half_hour(sources=CAMERAS, discrete=True)
    coverage = assess(asked, [file(*one) for one in files])
    assert coverage.share == share
    assert words in "".join(coverage.warnings)
    assert bool(coverage.warnings) == (share < 1)


def test_discrete_with_one_that_cannot_be_told() -> None:
    asked = half_hour(sources=CAMERAS, discrete=True)
    unknown, short = file(None, None, "DeviceIpint.1.mp4"), file(0, 420, "DeviceIpint.10.mp4")
    assert assess(asked, [file(0, 1800, "DeviceIpint.10.mp4"), unknown]).warnings == ()
    both = assess(asked, [short, unknown])
    assert both.share is None
    assert both.note
    assert both.warnings[0].startswith("DeviceIpint.10: ")


def test_several_cameras_in_one_file() -> None:
    assert assess(half_hour(sources=CAMERAS), [file(0, 1800)]).share == 1.0
    assert assess(half_hour(sources=CAMERAS), [file(0, 900)]).share == 0.5


@pytest.mark.parametrize(
    ("asked", "times", "share"),
    [
        pytest.param({"speed": 60.0, "frame_step": 2.4}, (0, 1800), 1.0, id="times of the footage"),
        pytest.param(
            {"speed": 60.0, "frame_step": 60.0}, (0, 1690), 1.0, id="the last frame may be a step before"
        ),
        pytest.param({"speed": 60.0, "frame_step": 2.4}, (0, 900), 0.5, id="short"),
        pytest.param({"speed": 60.0, "frame_step": 2.4}, (0, 30), None, id="times of the playing"),
        pytest.param({"speed": 1.0, "frame_step": 0.0}, (0, 30), 0.0166, id="no time lapse"),
    ],
)
def test_time_lapse(asked: dict[str, object], times: tuple[float, float], share: float | None) -> None:
    coverage = judged([times], **asked)
    assert coverage.share == share
    assert bool(coverage.warnings) == (share is not None and share < 1)


@pytest.mark.parametrize(
    ("masks", "files", "share"),
    [
        pytest.param([(600, 900)], [(0, 1800)], 1.0, id="all is there"),
        pytest.param([(600, 900)], [(600, 900)], None, id="only the masked part"),
        pytest.param([(600, 900)], [(0, 600), (900, 1800)], None, id="all but the masked part"),
        pytest.param([(600, 900)], [(0, 300)], 0.2, id="short in both readings"),
        pytest.param([(900, 600)], [(0, 900)], 0.5, id="a mask that is none"),
        pytest.param([(-900, -600)], [(0, 900)], 0.5, id="a mask elsewhere"),
    ],
)
def test_timeline_mask(
    masks: list[tuple[float, float]], files: list[tuple[float, float]], share: float | None
) -> None:
    coverage = judged(list(files), masks=tuple((at(begin), at(end)) for begin, end in masks))
    assert coverage.share == share
    assert bool(coverage.warnings) == (share is not None and share < 1)
    assert bool(coverage.note) == (share is None)


def test_masks_of_their_own() -> None:
    assert judged([(0, 1800)], masks_differ=True).share == 1.0
    assert judged([(0, 900)], masks_differ=True).share is None


@pytest.mark.parametrize(
    ("times", "share", "words"),
    [
        pytest.param((0, 0), 1.0, "", id="of that moment"),
        pytest.param((-4, -4), 1.0, "", id="the key frame before"),
        pytest.param((-367, -367), 0.0, "6 min 7 s before the moment asked for", id="minutes before"),
        pytest.param((100, 100), 0.0, "1 min 40 s after the moment asked for", id="after"),
        pytest.param((-100, 100), 1.0, "", id="several in one"),
        pytest.param((7200, 7200), None, "local times", id="local time"),
        pytest.param((None, None), None, "no times", id="no times"),
    ],
)
def test_snapshot(times: tuple[float | None, float | None], share: float | None, words: str) -> None:
    coverage = assess(Asked(at(0), stream=False, sources=CAMERAS[:1]), [file(*times)])
    assert coverage.share == share
    assert bool(coverage.warnings) == (share == 0.0)
    assert words in "".join((*coverage.warnings, str(coverage.note)))
    assert coverage.asked == (BEGIN, BEGIN)


def test_a_picture_that_came_with_the_request_has_its_own_time() -> None:
    asked = Asked(at(0), stream=False, brings_picture=True)
    assert assess(asked, [file(-999, -999)]).warnings == ()


def test_a_session_without_an_interval() -> None:
    for asked in (Asked("", ""), Asked(at(0), ""), Asked(at(5), at(5)), Asked(at(5), at(0))):
        coverage = assess(asked, [file(0, 10)])
        assert (coverage.share, coverage.warnings) == (None, ())
        assert "no interval" in str(coverage.note)


TIMES = st.one_of(st.none(), st.floats(-4000, 6000), st.sampled_from([0.0, 1800.0, 7200.0, 9000.0, 420.0]))
FILES = st.lists(st.tuples(TIMES, TIMES), max_size=5)
ASKED = st.builds(
    half_hour,
    sources=st.sampled_from([CAMERAS, CAMERAS[:1]]),
    discrete=st.booleans(),
    speed=st.sampled_from([1.0, 60.0]),
    frame_step=st.sampled_from([0.0, 6.0]),
    stream=st.booleans(),
    masks=st.lists(st.tuples(st.floats(0, 1800).map(at), st.floats(0, 1800).map(at)), max_size=2).map(tuple),
)


@given(ASKED, FILES, TIMES)
def test_never_a_silent_pass_and_never_an_alarm_without_a_reason(
    asked: Asked, files: list[tuple[float | None, float | None]], last: float | None
) -> None:
    coverage = assess(asked, [file(*times) for times in files], at(last))
    assert (coverage.share is None) == bool(coverage.note)
    if coverage.share is not None:
        assert 0 <= coverage.share <= 1
        assert (coverage.share < 1) == bool(coverage.warnings)
    assert all(begin < end for begin, end in coverage.gaps)


@given(st.floats(0, 1800), st.floats(0, 1800), st.floats(0, 600), st.floats(0, 600), st.floats(11, 86400))
def test_more_footage_never_makes_it_worse(
    first: float, last: float, before: float, after: float, length: float
) -> None:
    asked = Asked(at(0), at(length))
    first, last = min(first, last), max(first, last)
    if last < 0 or first > length:
        return
    less = assess(asked, [file(first, last)])
    more = assess(asked, [file(first - before, last + after)])
    if less.share is not None and more.share is not None:
        assert more.share >= less.share


@given(st.text(), st.text(), st.text(), st.text(), st.text(), st.booleans(), st.booleans())
def test_any_text_is_survived(
    start: str, end: str, first: str, last: str, path: str, stream: bool, discrete: bool
) -> None:
    asked = Asked(start, end, stream, (path, start), discrete, ((first, last),))
    assess(asked, [ResultFile(path, 1, "", first, last)], last).as_json()
    assess(half_hour(sources=(path, start), discrete=discrete), [ResultFile(path, 1, "", first, last)], first)
