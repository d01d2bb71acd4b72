"""Requests to change, and what is wrong with them then."""

import copy
import json
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from exportfs.requests import RequestError, parse
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
            inner[int(last) :] = [value]
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
