"""Every rule for a request."""

import copy
import json
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from exportfs.requests import MAX_REQUEST_BYTES, RequestError, RequestTooLarge, parse, template
from exportfs.wire import export

CAMERA = "hosts/Server/DeviceIpint.1/SourceEndpoint.video:0:0"
VIDEO: dict[str, Any] = {
    "archive": {
        "sources": [{"origin": CAMERA}],
        "startTimestamp": "2026-05-11T08:00:00Z",
        "endTimestamp": "2026-05-11T08:10:00Z",
    },
    "stream": {"format": "MP4"},
}
PICTURE: dict[str, Any] = {
    "archive": {"sources": [{"origin": CAMERA}], "startTimestamp": "2026-05-11T08:00:00Z"},
    "snapshot": {"format": "JPEG"},
}
LIVE: dict[str, Any] = {"live": {"sources": [{"origin": CAMERA}], "duration": "90s"}, "stream": {}}


def changed(base: dict[str, Any], *changes: tuple[str, Any]) -> dict[str, Any]:
    """`base` with values at paths like `archive.sources.0.origin` set, or removed where the value is ...."""
    result = copy.deepcopy(base)
    for path, value in changes:
        *steps, last = [int(step) if step.isdigit() else step for step in path.split(".")]
        inner: Any = result
        for step in steps:
            inner = inner[step]
        if value is ...:
            del inner[last]
        elif isinstance(inner, list):
            inner[last:] = [value]
        else:
            inner[last] = value
    return result


def message(request: Any) -> Any:
    return export.Options.FromString(parse(json.dumps(request).encode()).options)


def problems(request: Any) -> dict[str, str]:
    """Paths and messages; the places are checked to be in the text."""
    text = request if isinstance(request, str) else json.dumps(request, indent=1)
    with pytest.raises(RequestError) as caught:
        parse(text.encode(), local_zone=ZoneInfo("Europe/Berlin"))
    lines = text.split("\n")
    for problem in caught.value.problems:
        assert problem.line is not None
        assert problem.column is not None
        assert 1 <= problem.line <= len(lines)
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1
        assert str(problem) in str(caught.value)
        assert "\n" not in str(problem)
    return {problem.path: problem.message for problem in caught.value.problems}


def only(request: Any) -> tuple[str, str]:
    found = problems(request)
    assert len(found) == 1, found
    return next(iter(found.items()))


def test_the_four_kinds() -> None:
    video = parse(json.dumps(VIDEO).encode())
    assert video.warnings == ()
    assert video.summary.kind == "mp4"
    options = export.Options.FromString(video.options)
    assert options.archive.start_timestamp == "20260511T080000"
    assert options.stream.format == export.StreamType.MP4
    assert message(PICTURE).snapshot.format == export.SnapshotType.JPEG
    assert message(LIVE).live.duration.seconds == 90
    assert message(changed(LIVE, ("live.duration", ...))).live.HasField("duration") is False
    assert message({"live": {"sources": [{"origin": CAMERA}]}, "snapshot": {}}).HasField("snapshot")


def test_digest_is_of_what_is_said() -> None:
    one = parse(json.dumps(VIDEO).encode())
    other = parse(b"""\xef\xbb\xbf
        {"stream": {"format": 4}, "max_file_size": "0", "archive": {
            "start_timestamp": "20260511T080000", "end_timestamp": "2026-05-11T10:10:00+02:00",
            "sources": [
                {"settings": null, "origin": "hosts/Server/DeviceIpint.1/SourceEndpoint.video:0:0"}
            ]}}""")
    assert (one.digest, one.options) == (other.digest, other.options)
    assert len(one.digest) == 64
    assert parse(json.dumps(changed(VIDEO, ("maxFileSize", 1))).encode()).digest != one.digest


def test_default_agent_fills_only_what_is_empty() -> None:
    agent = "hosts/Server/MMExportAgent.3"
    content = json.dumps(VIDEO).encode()
    assert parse(content, default_agent=agent).summary.agent == agent
    assert parse(content).summary.agent == ""
    other = changed(VIDEO, ("exportAgentAccessPoint", "hosts/Other/MMExportAgent.0"))
    assert (
        parse(json.dumps(other).encode(), default_agent=agent).summary.agent == "hosts/Other/MMExportAgent.0"
    )


def test_all_problems_at_once_in_the_order_of_the_text() -> None:
    text = '{"archve": {},\n "stream": {"format": "mp4"},\n "maxFileSize": -1,\n "settings": [{}]}'
    assert list(problems(text)) == ["archve", "stream.format", "maxFileSize", "settings[0]"]
    with pytest.raises(RequestError) as caught:
        parse(text.encode())
    assert [(p.line, p.column) for p in caught.value.problems] == [(1, 2), (2, 23), (3, 17), (4, 15)]
    first = "archve (line 1, column 2): there is no such field; did you mean archive?"
    assert str(caught.value).startswith(first + " stream.format (line 2, column 23): has no value")


def test_many_problems_are_cut_short() -> None:
    with pytest.raises(RequestError) as caught:
        parse(json.dumps({**VIDEO, **{f"x{n}": 1 for n in range(1000)}}).encode())
    assert len(caught.value.problems) == 100
    assert str(caught.value).endswith("And 80 more.")
    assert len(str(caught.value)) < 10_000


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "The request is empty."),
        (b" \n", "The request is empty."),
        (b"{}\xff", "Line 1, column 3: the byte 0xff here is not UTF-8; save the file as UTF-8."),
        (b'{\n"\xc3', "Line 2, column 2: the byte 0xc3 here is not UTF-8; save the file as UTF-8."),
        ("{}".encode("utf-16"), "Line 1, column 1: the file is UTF-16; save it as UTF-8."),
        (b'{\n\0\0\0"}', "Line 2, column 1: a NUL byte stands here"),
        (b'{"a": 1,}', "Line 1, column 9: not JSON: there may be no comma before the closing }."),
        (b'{"a": ', "Line 1, column 7: not JSON: the text ends before the object"),
        (b"[]", "Line 1, column 1: must be an object {…}, not a list."),
        (b"null", "Line 1, column 1: must be an object {…}, not null."),
        (b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    ],
)
def test_no_request_at_all(content: bytes, words: str) -> None:
    with pytest.raises(RequestError) as caught:
        parse(content)
    assert words in str(caught.value)


@pytest.mark.parametrize("depth", range(880, 1010, 3))
def test_nested_about_as_deep_as_can_be_read(depth: int) -> None:
    content = b'{"x": ' + b"[" * depth + b"]" * depth + b', "y": 1, "z": 1}'
    with pytest.raises(RequestError):
        parse(content)


def test_too_large() -> None:
    content = json.dumps(VIDEO).encode()
    padded = content + b" " * (MAX_REQUEST_BYTES - len(content))
    assert parse(padded).digest == parse(content).digest
    with pytest.raises(RequestTooLarge, match="16777217 bytes"):
        parse(padded + b" ")
    with pytest.raises(RequestTooLarge, match="500000"):
        parse(b"[" + b"1," * 500_000 + b"1]")


@pytest.mark.parametrize(
    ("request_", "path", "words"),
    [
        ({"stream": {}}, "", 'give "archive" or "live"'),
        (changed(VIDEO, ("stream", ...)), "", 'give "stream" (video) or "snapshot" (pictures)'),
        (
            changed(VIDEO, ("live", {"sources": [{"origin": CAMERA}]})),
            "live",
            "archive and live exclude each other",
        ),
        (changed(VIDEO, ("snapshot", {})), "snapshot", "stream and snapshot exclude each other"),
        (changed(VIDEO, ("archive.sources", [])), "archive.sources", "at least one camera"),
        (changed(VIDEO, ("archive.sources", ...)), "archive.sources", "at least one camera"),
        (changed(VIDEO, ("archive.sources", None)), "archive.sources", "at least one camera"),
        (changed(LIVE, ("live.sources", ...)), "live.sources", "at least one camera"),
        (
            changed(VIDEO, ("archive.sources.0", {})),
            "archive.sources[0].origin",
            "access point of the camera",
        ),
        (changed(VIDEO, ("archive.sources.0.origin", "")), "archive.sources[0].origin", "is empty"),
        (changed(VIDEO, ("archive.sources.0.origin", "  ")), "archive.sources[0].origin", "is empty"),
        (changed(LIVE, ("live.sources.0.origin", "")), "live.sources[0].origin", "is empty"),
        (changed(VIDEO, ("archive.sources.0.origin", "hosts/a\n")), "archive.sources[0].origin", r"(\u000a)"),
        (
            changed(VIDEO, ("archive.sources.1", {"origin": "a\x85"})),
            "archive.sources[1].origin",
            r"(\u0085)",
        ),
        (
            changed(VIDEO, ("archive.sources.0.storages", [CAMERA, ""])),
            "archive.sources[0].storages[1]",
            "is empty",
        ),
        (
            changed(VIDEO, ("archive.sources.0.storages", ["\x00"])),
            "archive.sources[0].storages[0]",
            r"(\u0000)",
        ),
        (changed(VIDEO, ("exportAgentAccessPoint", "a\tb")), "exportAgentAccessPoint", r"(\u0009)"),
        (
            changed(VIDEO, ("archive.sources.0.settings", [{"mask_detector": "\x7f"}])),
            "archive.sources[0].settings[0].mask_detector",
            r"(\u007f)",
        ),
        (
            changed(VIDEO, ("archive.startTimestamp", ...)),
            "archive.startTimestamp",
            "where in the archive it starts",
        ),
        (
            changed(VIDEO, ("archive.startTimestamp", "")),
            "archive.startTimestamp",
            "where in the archive it starts",
        ),
        (
            changed(VIDEO, ("archive.endTimestamp", ...)),
            "archive.endTimestamp",
            "only a snapshot needs no end",
        ),
        (changed(PICTURE, ("archive.startTimestamp", ...)), "archive.startTimestamp", "where in the archive"),
        (
            changed(VIDEO, ("archive.endTimestamp", "20260511T080000.000")),
            "archive.endTimestamp",
            "nothing to export",
        ),
        (
            changed(VIDEO, ("archive.endTimestamp", "20260511T075959.999")),
            "archive.endTimestamp",
            "before the start",
        ),
        (
            changed(PICTURE, ("archive.endTimestamp", "20260511T075959")),
            "archive.endTimestamp",
            "before the start",
        ),
        (changed(LIVE, ("live.duration", "0s")), "live.duration", "nothing lasts 0 seconds"),
        (changed(LIVE, ("live.duration", "0.000s")), "live.duration", "nothing lasts 0 seconds"),
        (changed(LIVE, ("live.duration", "-0.5s")), "live.duration", "cannot be negative"),
        (changed(LIVE, ("live.duration", 10)), "live.duration", 'write "10s"'),
        (changed(LIVE, ("live.duration", "10")), "live.duration", 'such as "90s"'),
        (changed(LIVE, ("live.duration", "1m")), "live.duration", 'such as "90s"'),
        (changed(LIVE, ("live.duration", "1.0123456789s")), "live.duration", 'such as "90s"'),
        (changed(LIVE, ("live.duration", "315576000000.1s")), "live.duration", "longer than"),
        (changed(VIDEO, ("settings", [{}])), "settings[0]", "holds no setting"),
        (changed(VIDEO, ("settings", [{"xyz": 1}])), "settings[0].xyz", "no such field"),
        (changed(VIDEO, ("settings", [{"commnt": 1}])), "settings[0].commnt", "did you mean comment?"),
        (changed(VIDEO, ("settings", [{"comment": None}])), "settings[0]", "holds no setting"),
        (
            changed(VIDEO, ("settings", [{"comment": "a", "timezone": 1}])),
            "settings[0].timezone",
            "an entry of its own",
        ),
        (changed(VIDEO, ("stream.settings", [{}])), "stream.settings[0]", "holds no setting"),
        (changed(PICTURE, ("snapshot.settings", [{}])), "snapshot.settings[0]", "holds no setting"),
        (
            changed(VIDEO, ("archive.sources.0.settings", [{}])),
            "archive.sources[0].settings[0]",
            "holds no setting",
        ),
        (
            changed(VIDEO, ("stream.settings", [{"timeLapse": {"fps": 0}}])),
            "stream.settings[0].timeLapse.fps",
            "greater than 0",
        ),
        (
            changed(VIDEO, ("stream.settings", [{"timeLapse": {"speed": -1}}])),
            "stream.settings[0].timeLapse.speed",
            "greater than 0",
        ),
        (
            changed(
                VIDEO,
                ("archive.timelineMask", [{"beginTime": "20260511T080001", "endTime": "20260511T080000"}]),
            ),
            "archive.timelineMask[0].endTime",
            "before the beginning",
        ),
        (changed(VIDEO, ("archive.sorces", [])), "archive.sorces", "did you mean sources?"),
        (changed(VIDEO, ("start_timestmp", "x")), "start_timestmp", "known here are live, archive, "),
        (changed(VIDEO, ('we"ird', 1)), '["we\\"ird"]', "no such field"),
        (
            changed(VIDEO, ("stream.format", "MPEG")),
            "stream.format",
            "allowed are DEFAULT (0), MKV (1), AVI (2)",
        ),
        (changed(VIDEO, ("stream.format", "Mp4")), "stream.format", "did you mean MP4?"),
        (changed(VIDEO, ("stream.format", "\ud800")), "stream.format", 'has no value "\\ud800"'),
        (changed(VIDEO, ("stream.format", 5)), "stream.format", "has no value 5; allowed are"),
        (changed(VIDEO, ("stream.format", -1)), "stream.format", "has no value -1"),
        (changed(VIDEO, ("stream.format", True)), "stream.format", "must be one of DEFAULT (0)"),
        (changed(VIDEO, ("stream.format", 1.5)), "stream.format", "has no value 1.5"),
        (changed(VIDEO, ("maxFileSize", -1)), "maxFileSize", "from 0 to 18446744073709551615, not -1"),
        (changed(VIDEO, ("maxFileSize", 2**64)), "maxFileSize", "from 0 to"),
        (changed(VIDEO, ("maxFileSize", "1.5")), "maxFileSize", "whole number"),
        (changed(VIDEO, ("maxFileSize", "500 MB")), "maxFileSize", 'not the string "500 MB"'),
        (changed(VIDEO, ("maxFileSize", True)), "maxFileSize", "whole number, not true"),
        (changed(VIDEO, ("settings", [{"timezone": 2**31}])), "settings[0].timezone", "from -2147483648 to"),
        (changed(VIDEO, ("cloudExport", "true")), "cloudExport", "without quotes"),
        (changed(VIDEO, ("cloudExport", 1)), "cloudExport", "true or false"),
        (changed(VIDEO, ("externalDirectory", 1)), "externalDirectory", "must be a string, not the number 1"),
        (changed(VIDEO, ("externalDirectory", "\ud800")), "externalDirectory", "surrogate"),
        (changed(VIDEO, ("archive", [])), "archive", "must be an object {…}, not a list"),
        (changed(VIDEO, ("archive.sources", {})), "archive.sources", "must be a list […], not an object"),
        (changed(VIDEO, ("archive.sources", [CAMERA])), "archive.sources[0]", "must be an object"),
        (changed(VIDEO, ("archive.sources", [None])), "archive.sources[0]", "cannot be null"),
        (
            changed(VIDEO, ("archive.sources.0.tracks", ["a", 1])),
            "archive.sources[0].tracks[1]",
            "must be a string",
        ),
        (
            changed(VIDEO, ("archive.sources.0.maskFilter", [])),
            "archive.sources[0].maskFilter",
            "must be an object",
        ),
        (
            changed(VIDEO, ("archive.sources.0.maskFilter", {"a": None})),
            "archive.sources[0].maskFilter.a",
            "cannot be null",
        ),
        (
            changed(VIDEO, ("archive.sources.0.maskFilter", {"hosts/a": {"tracks": [-1]}})),
            'archive.sources[0].maskFilter["hosts/a"].tracks[0]',
            "from 0 to 4294967295",
        ),
        (
            changed(VIDEO, ("archive.sources.0.maskFilter", {"\udfff": {}})),
            'archive.sources[0].maskFilter["\\udfff"]',
            "",
        ),
        (
            changed(VIDEO, ("settings", [{"textColor": {"red": "NaN"}}])),
            "settings[0].textColor.red",
            "must be a number",
        ),
        (changed(VIDEO, ("settings", [{"font": {"size": 1e39}}])), "settings[0].font.size", "32-bit float"),
        (
            changed(PICTURE, ("snapshot.settings", [{"snapshot": {"image": "a*b="}}])),
            "snapshot.settings[0].snapshot.image",
            "not base64",
        ),
        (
            changed(PICTURE, ("snapshot.settings", [{"snapshot": {"image": "abcde"}}])),
            "snapshot.settings[0].snapshot.image",
            "a part is missing",
        ),
        (
            changed(PICTURE, ("snapshot.settings", [{"snapshot": {"image": "YQ="}}])),
            "snapshot.settings[0].snapshot.image",
            "padding",
        ),
        (
            changed(PICTURE, ("snapshot.settings", [{"snapshot": {"timestamp": "noon"}}])),
            "snapshot.settings[0].snapshot.timestamp",
            "must be a timestamp such as",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_problem(request_: Any, path: str, words: str) -> None:
    found, said = only(request_)
    assert found == path
    assert words in said


def test_names_twice() -> None:
    request = changed(VIDEO, ("archive.start_timestamp", None))
    assert only(request) == ("archive.start_timestamp", "is the same field as startTimestamp: give it once")
    text = json.dumps(VIDEO).replace('"endTimestamp"', '"startTimestamp": "20260511T075900", "endTimestamp"')
    assert only(text) == ("archive.startTimestamp", "stands here more than once")
    request = changed(VIDEO, ("archive.start_timestamp", "20260511T080000"))
    assert only(request) == ("archive.start_timestamp", "is the same field as startTimestamp: give it once")
    text = json.dumps(changed(VIDEO, ("archive.sources.0.maskFilter", {"a": {}, "b": {}}))).replace(
        '"b"', '"a"'
    )
    assert only(text) == ("archive.sources[0].maskFilter.a", "stands here more than once")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "2026-05-11T08:08:14",
            "such as 2026-05-11T08:08:14+02:00 (this machine's zone) or 2026-05-11T08:08:14Z (UTC)",
        ),
        (
            "2026-05-11 08:08:14.5",
            "2026-05-11T08:08:14.500000+02:00 (this machine's zone) or 2026-05-11T08:08:14.5Z",
        ),
        (
            "2026-10-25T02:30:00",
            "this time comes twice; give an offset: 2026-10-25T02:30:00+02:00 or 2026-10-25T02:30:00+01:00",
        ),
        (
            "2026-03-29T02:30:00",
            "this time is left out; give an offset: 2026-03-29T02:30:00+02:00 or 2026-03-29T02:30:00+01:00",
        ),
        ("2026-02-30T08:08:14Z", "no such date"),
        ("20260230T080814", "no such date"),
        ("2026-05-11T24:08:14", "no such date"),
        ("2026-05-11T08:08:14+25:00", "no such date, time or offset"),
        ("2026-05-11", "must be a timestamp such as"),
        ("11.05.2026 08:08", "must be a timestamp such as"),
        ("20260511T0808", "must be a timestamp such as"),
    ],
)
def test_timestamps_that_are_refused(text: str, words: str) -> None:
    path, said = only(changed(VIDEO, ("archive.endTimestamp", text)))
    assert path == "archive.endTimestamp"
    assert words in said


def test_timestamps_that_are_taken() -> None:
    request = changed(
        VIDEO,
        ("archive.startTimestamp", "2026-05-11T10:08:14.064+02:00"),
        ("archive.endTimestamp", "20260511T080814.0640001"),
        ("archive.timelineMask", [{"beginTime": "20260511T080000Z", "endTime": "20260511T080000"}, {}]),
    )
    # Cut to microseconds the end would be the start.
    assert only(request)[0] == "archive.endTimestamp"
    options = message(changed(request, ("archive.endTimestamp", "20260511T080814.065")))
    assert options.archive.start_timestamp == "20260511T080814.064000"
    assert options.archive.end_timestamp == "20260511T080814.065"
    assert options.archive.timeline_mask[0].begin_time == "20260511T080000"
    cut = parse(json.dumps(changed(VIDEO, ("archive.endTimestamp", "2026-05-11T08:10:00.1234567Z"))).encode())
    assert cut.summary.end == "20260511T081000.123456"
    (warning,) = cut.warnings
    assert "was cut to microseconds: 20260511T081000.123456 is sent" in warning


def test_spellings_of_values() -> None:
    options = message(
        changed(
            VIDEO,
            ("maxFileSize", "5e8"),
            (
                "settings",
                [{"timezone": "-3"}, {"timezone": 1e1}, {"font": {"size": "12.5"}}, {"comment": ""}],
            ),
            ("stream", {"format": 2.0, "settings": [{"rejectAudio": False}]}),
            ("snapshot", None),
        )
    )
    assert options.max_file_size == 500_000_000
    assert [setting.timezone for setting in options.settings[:2]] == [-3, 10]
    assert options.settings[2].font.size == 12.5
    assert options.settings[3].WhichOneof("setting") == "comment"
    assert options.stream.format == export.StreamType.AVI
    assert options.stream.settings[0].WhichOneof("setting") == "reject_audio"


@pytest.mark.parametrize("image", ["+/8=", "-_8=", "+/8", "-_8"])
def test_base64_of_both_kinds(image: str) -> None:
    request = changed(PICTURE, ("snapshot.settings", [{"snapshot": {"image": image}}]))
    assert message(request).snapshot.settings[0].snapshot.image == b"\xfb\xff"


def test_what_is_for_the_server_to_say_is_taken() -> None:
    request = changed(
        VIDEO,
        ("archive.sources.0.settings", [{"cropArea": {"left": -5, "right": 1920}}, {"fisheyeInfo": {}}]),
        ("stream.settings", [{"timeLapse": {}}, {"password": ""}]),
        ("archive.sources.0.tracks", [""]),
        ("archive.sources.0.maskFilter", {"": {}}),
    )
    assert parse(json.dumps(request).encode()).warnings == ()
    live_picture = {"live": {"sources": [{"origin": CAMERA}], "duration": "0s"}, "snapshot": {}}
    assert parse(json.dumps(live_picture).encode()).warnings == ()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("storeResultByExportAgent", True), "storeResultByExportAgent leaves them with the agent"),
        (
            ("externalDirectory", "D:\\out"),
            "externalDirectory puts them into a directory of the agent's machine",
        ),
        (("cloudExport", True), "once they are in the cloud"),
        (
            ("archive.sources.0.origin", "Camera 1"),
            'The origin "Camera 1" does not look like an access point',
        ),
    ],
)
def test_warnings(change: tuple[str, Any], words: str) -> None:
    (warning,) = parse(json.dumps(changed(VIDEO, change)).encode()).warnings
    assert words in warning


@pytest.mark.parametrize(
    "camera", [None, "", "hosts/S/D.2/SourceEndpoint.video:0:0", "hosts/Сервер/a", "bad\n"]
)
@pytest.mark.parametrize("archive", [None, "", "hosts/S/MultimediaStorage.A/MultimediaStorage", "bad\x1b"])
def test_template_is_a_request(camera: str | None, archive: str | None) -> None:
    now = datetime(2026, 5, 11, 8, 8, 14, 64000, tzinfo=UTC)
    request = parse(template(camera=camera, archive=archive, now=now).encode())
    assert request.warnings == ()
    assert request.summary.kind == "mp4"
    assert (request.summary.start, request.summary.end) == ("20260511T075800", "20260511T080300")
    if camera and camera.startswith("hosts/"):
        assert request.summary.origin == camera
