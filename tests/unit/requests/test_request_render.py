"""Options to JSON and back, their summary, and whether two are the same."""

import contextlib
import json
import math
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from google.protobuf import json_format
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exportfs.errors import Corrupt
from exportfs.model import OptionsSummary
from exportfs.requests import RequestError, matches, parse, summarize, to_json
from exportfs.requests.instants import FIELDS
from exportfs.wire import export
from tests.unit.requests.request_strategies import OPTIONS, hostile_options, is_map, reachable, valid_options

slow_to_build = settings(
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large], deadline=None
)


def serialized(message: Any) -> bytes:
    return bytes(message.SerializeToString(deterministic=True))


def _has_minus_zero(message: Any) -> bool:
    return "-0.0" in to_json(serialized(message))


@slow_to_build
@given(valid_options(), st.booleans(), st.sampled_from([None, 2]))
def test_round_trip_and_protobufs_own_json(options: Any, snake_case: bool, indent: int | None) -> None:
    before = serialized(options)
    text = to_json(before, indent=indent)
    assert parse(text.encode()).options == before
    if _has_minus_zero(options):
        return  # json_format makes 0 of it.
    theirs = json_format.MessageToJson(options, preserving_proto_field_name=snake_case, indent=None)
    assert parse(theirs.encode()).options == before
    assert json_format.Parse(text, export.Options()) == options


@slow_to_build
@given(hostile_options())
def test_whatever_a_server_sends_can_be_shown(options: bytes) -> None:
    text = to_json(options)
    json.loads(text, parse_constant=pytest.fail)
    text.encode()
    assert not any(char in text for char in "\x1b\x7f\x9b\u202e\u2028")
    summary = summarize(options)
    assert summary.kind in ("mp4", "mkv", "avi", "exe", "jpg", "pdf", "video", "image")
    assert matches(options, options)
    with contextlib.suppress(RequestError):
        parse(text.encode())


def test_strings_that_act_on_terminals_are_escaped() -> None:
    nasty = "\x1b[2J\x9b\u202e\ufeffЖ\u2028"
    options = serialized(export.Options(external_directory=nasty))
    text = to_json(options, indent=None)
    assert text == '{"externalDirectory": "\\u001b[2J\\u009b\\u202e\\ufeffЖ\\u2028"}'
    assert json.loads(text) == {"externalDirectory": nasty}


@pytest.mark.parametrize(
    ("seconds", "nanos", "expected"),
    [
        (90, 0, "90s"),
        (1, 500_000_000, "1.500s"),
        (0, 1_000, "0.000001s"),
        (0, 1, "0.000000001s"),
        (-1, -500_000_000, "-1.500s"),
        (1, -500_000_000, "0.500s"),
        (2**63 - 1, 2**31 - 1, "9223372036854775809.147483647s"),
    ],
)
def test_durations(seconds: int, nanos: int, expected: str) -> None:
    options = export.Options()
    options.live.duration.seconds, options.live.duration.nanos = seconds, nanos
    assert json.loads(to_json(serialized(options))) == {"live": {"duration": expected}}


def test_floats_are_as_short_as_can_be() -> None:
    options = export.Options()
    for value in (0.1, 1 / 3, math.nan, math.inf, -math.inf, -0.0, 3.4028234663852886e38):
        options.settings.add().text_color.red = value
    found = [entry["textColor"].get("red") for entry in json.loads(to_json(serialized(options)))["settings"]]
    assert found == [0.1, 0.33333334, "NaN", "Infinity", "-Infinity", -0.0, 3.4028234663852886e38]


def test_unknown_enum_values_are_numbers() -> None:
    options = export.Options()
    options.stream.format = cast(export.StreamType.EFormat, 99)
    assert json.loads(to_json(serialized(options))) == {"stream": {"format": 99}}
    assert summarize(serialized(options)).kind == "video"


def test_bytes_that_are_no_options() -> None:
    for broken in (b"\xff", b"\x4a\x01\xff"):
        with pytest.raises(Corrupt):
            to_json(broken)
        with pytest.raises(Corrupt):
            summarize(broken)
        assert matches(broken, broken)
        assert not matches(broken, b"")
        assert not matches(b"", broken)


@pytest.mark.parametrize(
    ("output", "format_", "kind"),
    [
        ("stream", "DEFAULT", "video"),
        ("stream", "MP4", "mp4"),
        ("stream", "MKV", "mkv"),
        ("stream", "AVI", "avi"),
        ("stream", "EXE", "exe"),
        ("snapshot", "DEFAULT", "image"),
        ("snapshot", "JPEG", "jpg"),
        ("snapshot", "PDF", "pdf"),
        ("snapshot", 99, "image"),
    ],
)
def test_kinds(output: str, format_: Any, kind: str) -> None:
    options = json_format.ParseDict({output: {"format": format_}}, export.Options())
    assert summarize(serialized(options)).kind == kind


def test_summary() -> None:
    options = export.Options()
    for origin in ("hosts/S/D.1/v", "hosts/S/D.2/v", "hosts/S/D.3/v"):
        options.archive.sources.add(origin=origin)
    options.archive.start_timestamp, options.archive.end_timestamp = "20260511T080000", "20260511T081000"
    options.stream.format = export.StreamType.MKV
    options.external_directory, options.cloud_export, options.store_result_by_export_agent = (
        "D:\\",
        True,
        True,
    )
    options.export_agent_access_point = "hosts/S/MMExportAgent.0"
    assert summarize(serialized(options)) == OptionsSummary(
        live=False,
        stream=True,
        kind="mkv",
        origin="hosts/S/D.1/v",
        more_origins=2,
        start="20260511T080000",
        end="20260511T081000",
        stored_by_agent=True,
        external_directory="D:\\",
        cloud_export=True,
        agent="hosts/S/MMExportAgent.0",
    )
    options.live.duration.nanos = 500_000_000
    assert summarize(serialized(options)) == OptionsSummary(
        live=True,
        stream=True,
        kind="mkv",
        duration=0.5,
        stored_by_agent=True,
        external_directory="D:\\",
        cloud_export=True,
        agent="hosts/S/MMExportAgent.0",
    )
    assert summarize(b"") == OptionsSummary()


def _archive(**fields: str) -> Any:
    options = export.Options()
    options.archive.sources.add(origin="hosts/S/D.1/v").mask_filter["a"].tracks.append(1)
    options.archive.start_timestamp = fields.get("start", "20260511T080000")
    options.archive.timeline_mask.add(begin_time=fields.get("begin", "20260511T080000.5"))
    options.export_agent_access_point = fields.get("agent", "")
    options.stream.format = export.StreamType.MP4
    return options


def test_matches() -> None:
    sent = serialized(_archive())
    assert matches(sent, serialized(_archive(agent="hosts/S/MMExportAgent.0")))
    assert matches(sent, serialized(_archive(start="20260511T080000.000000", begin="20260511T080000.500000")))
    assert matches(sent, sent + b"\xe8\x04\x01")
    assert not matches(sent, serialized(_archive(start="20260511T080000.000001")))
    assert not matches(sent, b"")
    chosen = serialized(_archive(agent="hosts/S/MMExportAgent.1"))
    assert not matches(chosen, serialized(_archive(agent="hosts/S/MMExportAgent.0")))
    assert not matches(chosen, sent)
    live, other = export.Options(), export.Options()
    live.live.duration.seconds, other.live.duration.seconds = 2, 1
    other.live.duration.nanos = 1_000_000_000
    assert matches(serialized(live), serialized(other))
    other.live.duration.nanos += 1
    assert not matches(serialized(live), serialized(other))


@slow_to_build
@given(valid_options(), valid_options())
def test_matches_only_the_same(one: Any, other: Any) -> None:
    assert matches(serialized(one), one.SerializeToString())
    if one.archive != other.archive or one.live != other.live:
        assert not matches(serialized(one), serialized(other))


@settings(deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=60))
def test_matches_never_raises(one: bytes, other: bytes) -> None:
    assert matches(one, other) in (True, False)


def test_nothing_new_in_the_contract() -> None:
    """The walk takes these for granted."""
    names = set()
    for message in reachable(OPTIONS).values():
        for field in message.fields:
            names.add((message.full_name, field.name))
            if is_map(field):
                assert field.message_type is not None
                key, value = (
                    field.message_type.fields_by_name["key"],
                    field.message_type.fields_by_name["value"],
                )
                assert key.cpp_type == key.CPPTYPE_STRING
                assert value.message_type is not None
    assert names >= FIELDS
    likely = {name for name in names if name[1].endswith(("timestamp", "_time"))}
    assert likely == FIELDS


def test_template_time_needs_a_zone() -> None:
    from exportfs.requests import template

    with pytest.raises(ValueError, match="time zone"):
        template(camera=None, archive=None, begin=datetime(2026, 5, 11), end=datetime(2026, 5, 11))
    begin = datetime(2026, 5, 11, 8, tzinfo=UTC)
    assert "2026-05-11T08:00:00Z" in template(camera=None, archive=None, begin=begin, end=begin)
