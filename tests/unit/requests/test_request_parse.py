"""Requests: what is taken, how it is understood, what is said of those that are refused."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from exportfs.requests import MAX_REQUEST_BYTES, RequestError, RequestTooLarge, parse, template
from exportfs.wire import export
from tests.unit.requests.request_helpers import CAMERA, LIVE, PICTURE, VIDEO, changed, message, only, problems


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
        ("{}".encode("utf-32"), "Line 1, column 1: the file is UTF-32; save it as UTF-8."),
        (b"\xff\xfe{\0\n\0\0\xdc", "Line 2, column 1: the file is UTF-16 and broken here; save it as UTF-8."),
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
        (
            "archive.sources.0.settings",
            [{"cropArea": {"left": 1, "right": 0}}, {"fisheyeInfo": {"right": 1920, "fov": -5}}],
        ),
        ("stream.settings", [{"timeLapse": {}}, {"password": ""}]),
        ("archive.sources.0.tracks", [""]),
        ("archive.sources.0.maskFilter", {"": {}}),
    )
    assert parse(json.dumps(request).encode()).warnings == ()
    live_picture = {"live": {"sources": [{"origin": CAMERA}], "duration": "0s"}, "snapshot": {}}
    (warning,) = parse(json.dumps(live_picture).encode()).warnings
    assert "for streams" in warning


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("storeResultByExportAgent", True), "storeResultByExportAgent leaves them with the agent"),
        (
            ("externalDirectory", "D:\\out"),
            "externalDirectory puts them into a directory of the agent's machine",
        ),
        (("cloudExport", True), "once they are in the cloud"),
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
    begin = datetime(2026, 5, 11, 7, 58, tzinfo=UTC)
    end = datetime(2026, 5, 11, 8, 3, tzinfo=UTC)
    request = parse(template(camera=camera, archive=archive, begin=begin, end=end).encode())
    assert request.warnings == ()
    assert request.summary.kind == "mp4"
    assert (request.summary.start, request.summary.end) == ("20260511T075800", "20260511T080300")
    if camera and camera.startswith("hosts/"):
        assert request.summary.origin == camera
