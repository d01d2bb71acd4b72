"""What is allowed and told: fields without effect, and what may not be meant so."""

import json
from typing import Any

import pytest
from hypothesis import given

from exportfs.errors import Corrupt
from exportfs.requests import advice, parse, to_json
from exportfs.wire import export
from tests.unit.requests.request_helpers import LIVE, PICTURE, VIDEO, changed
from tests.unit.requests.request_strategies import hostile_options


def told(request: Any) -> tuple[str, ...]:
    return parse(json.dumps(request).encode()).warnings


def mask(*points: tuple[float, float]) -> Any:
    polygon = {"points": [{"x": x, "y": y} for x, y in points]}
    return changed(VIDEO, ("archive.sources.0.settings", [{"maskSpace": {"space": [polygon]}}]))


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (changed(VIDEO, ("settings", [{"fileName": "x"}])), "FileName has no effect"),
        (changed(VIDEO, ("settings", [{"burnSubtitle": True}])), "BurnSubtitle is deprecated"),
        (changed(VIDEO, ("settings", [{"timezone": 2}])), "no zone is 2 minutes away"),
        (changed(VIDEO, ("settings", [{"timezone": 7200}])), "no zone is 7200 minutes away"),
        (
            changed(VIDEO, ("settings", [{"subtitleCast": {"commonInfoPattern": "{Time} {CameraId}"}}])),
            "{Time} is none of",
        ),
        (changed(PICTURE, ("archive.endTimestamp", "20260511T090000")), "EndTimestamp has no effect"),
        (
            changed(PICTURE, ("archive.timelineMask", [{"beginTime": "20260511T080001"}])),
            "TimelineMask has no effect",
        ),
        (changed(LIVE, ("stream", ...), ("snapshot", {}), ("live.duration", "5s")), "Duration has no effect"),
        (mask((0, 0), (1, 0), (1, 1)), "is open"),
        (mask((0, 0), (1, 0), (0, 0)), "fewer than three corners"),
        (
            changed(PICTURE, ("snapshot.settings", [{"snapshot": {"image": "R0lGODlh"}}])),
            "neither BMP nor JPEG nor PNG",
        ),
    ],
)
def test_told(request_: Any, words: str) -> None:
    (warning,) = told(request_)
    assert words in warning


@pytest.mark.parametrize(
    "request_",
    [
        changed(VIDEO, ("settings", [{"timezone": -570}])),
        changed(VIDEO, ("settings", [{"timezone": 0}])),
        changed(VIDEO, ("settings", [{"subtitleCast": {"commonInfoPattern": "{Timestamp} {BookmarkInfo}"}}])),
        changed(VIDEO, ("stream.settings", [{"timeLapse": {"fps": 0, "speed": 0}}])),
        changed(VIDEO, ("settings", [{"textColor": {"red": 1, "green": 0, "blue": 0.5, "alpha": 1}}])),
        changed(VIDEO, ("stream.settings", [{"password": "x"}])),
        mask((0, 0), (1, 0), (1, 1), (0, 0)),
        changed(PICTURE, ("snapshot.settings", [{"snapshot": {"image": "/9j/4AAQ"}}])),
    ],
)
def test_all_well(request_: Any) -> None:
    assert told(request_) == ()


def test_a_name_where_it_counts() -> None:
    named = changed(VIDEO, ("settings", [{"fileName": "x"}]), ("externalDirectory", "/srv"))
    assert not any("fileName" in one.casefold() for one in told(named))


def test_best_quality_is_not_the_same_as_none() -> None:
    """Its number is 0, and it demands coding anew."""
    best = parse(
        json.dumps(changed(VIDEO, ("stream.settings", [{"videoQuality": "C_BEST_QUALITY"}]))).encode()
    )
    (setting,) = export.Options.FromString(best.options).stream.settings
    assert setting.WhichOneof("setting") == "video_quality"
    assert best.digest != parse(json.dumps(VIDEO).encode()).digest
    assert "C_BEST_QUALITY" in to_json(best.options)
    assert parse(to_json(best.options).encode()).digest == best.digest


@given(hostile_options())
def test_whatever_a_server_lists(options: bytes) -> None:
    try:
        found = advice(options)
    except Corrupt:
        return
    assert all(isinstance(one, str) and one for one in found)
