"""Mutated requests: no crash, no hang, and what passes is whole and means what it says."""

import copy
import json
import random
import re
import time
from typing import Any

import pytest
from google.protobuf import json_format

from exportfs.requests import (
    Completeness,
    RequestError,
    RequestTooLarge,
    completeness,
    matches,
    parse,
    summarize,
    to_json,
)
from exportfs.wire import export
from tests.support.drawing import drawing
from tests.unit.requests.request_examples import EXAMPLES

COUNT = 3000

TOKENS = [
    *(
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b":",
        b'"',
        b"\\",
        b"\\u0000",
        b"\\ud800",
        b"\0",
        b"\xff",
        b"\xc3",
        b"\n",
        b" ",
    ),
    *(
        b"null",
        b"true",
        b"false",
        b"NaN",
        b"-Infinity",
        b"0",
        b"-1",
        b"1e999",
        b"1e-999",
        b"9" * 30,
        b"1.5",
        b"//",
    ),
    *(
        b'"archive"',
        b'"live":{},',
        b'"stream":{},',
        b'"snapshot":{}',
        b'"MP4"',
        b'"settings":[{}],',
        b'"duration":"0s",',
    ),
    *(
        b'"2026-10-25T02:30:00"',
        b'"20260230T000000"',
        b'"0001-01-01T00:00:00+23:59"',
        b"[" * 2000,
        b'{"a":' * 300,
    ),
]
VALUES: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        -1,
        1,
        2**31,
        2**64,
        -(2**63),
        1e300,
        0.1,
        "",
        "x",
        "MP4",
        "\ud800",
        "\0",
        "1",
        "10s",
        "-1s",
    ),
    *(
        "20260511T080000",
        "2026-05-11T08:00:00Z",
        "2026-05-11T08:00:00",
        "99991231T235959",
        "YWJj",
        "====",
        [],
        {},
    ),
    *([None], [[]], [{}], {"": {}}, {"a": None}, "hosts/Server/DeviceIpint.9/SourceEndpoint.video:0:0"),
]
NAMES = [
    *sorted(set(re.findall(r'"(\w+)":', "".join(EXAMPLES)))),
    "",
    "x",
    "start_timestamp",
    "\ud800",
    "@type",
]


def mutate_bytes(rng: random.Random, content: bytes) -> bytes:
    for _ in range(rng.randint(1, 4)):
        at, end = sorted((rng.randint(0, len(content)), rng.randint(0, len(content))))
        choice = rng.randrange(7)
        if choice == 0:
            content = content[:at] + bytes([rng.randrange(256)]) + content[at + 1 :]
        elif choice == 1:
            content = content[:at] + rng.choice(TOKENS) + content[at:]
        elif choice == 2:
            content = content[:at] + content[min(end, at + rng.randint(1, 20)) :]
        elif choice == 3:
            content = content[:at] + content[at:end] * 2 + content[end:]
        elif choice == 4:
            content = content[:at]
        elif choice == 5:
            content = content[:at] + b"\0" * (end - at) + content[end:]
        else:
            content = content[:at] + rng.choice(EXAMPLES).encode()[at:]
    return content


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Every container in a value with every key or index in it."""
    if isinstance(value, dict):
        return [(value, key) for key in value] + [place for item in value.values() for place in _places(item)]
    if isinstance(value, list):
        return [(value, n) for n in range(len(value))] + [place for item in value for place in _places(item)]
    return []


def mutate_values(rng: random.Random, text: str) -> bytes:
    value = json.loads(text)
    for _ in range(rng.randint(1, 3)):
        places = _places(value)
        if not places:
            break
        inside, key = rng.choice(places)
        choice = rng.randrange(5)
        if choice == 0:
            inside[key] = copy.deepcopy(rng.choice(VALUES))
        elif choice == 1:
            del inside[key]
        elif choice == 2 and isinstance(inside, dict):
            inside[rng.choice(NAMES)] = copy.deepcopy(rng.choice(VALUES))
        elif choice == 3 and isinstance(inside, dict):
            inside[rng.choice(NAMES)] = inside.pop(key)
        else:
            other, step = rng.choice(places)
            # A copy: a value must not come to hold itself.
            inside[key] = json.loads(json.dumps(other[step]))
    return json.dumps(value, ensure_ascii=rng.random() < 0.5, indent=rng.choice([None, 2])).encode(
        "utf-8", "surrogatepass"
    )


def check_error(error: RequestError) -> None:
    said = str(error)
    assert error.problems
    assert said.strip()
    assert said.encode()
    assert "\n" not in said
    for problem in error.problems:
        assert problem.message
        assert (problem.line is None) == (problem.column is None)


def check(content: bytes) -> bool:
    """What must hold for any content; whether it was taken."""
    verdict = completeness(content)
    try:
        request = parse(content)
    except RequestError as error:
        check_error(error)
        return False
    except RequestTooLarge:
        return False
    assert verdict is Completeness.COMPLETE
    options = export.Options.FromString(request.options)
    mode = options.live if options.WhichOneof("mode") == "live" else options.archive
    assert options.WhichOneof("mode")
    assert options.WhichOneof("output_type")
    assert mode.sources
    assert all(source.origin.strip() for source in mode.sources)
    if options.HasField("archive"):
        assert options.archive.start_timestamp
        assert options.archive.end_timestamp or options.HasField("snapshot")
    assert request.summary == summarize(request.options)
    assert parse(to_json(request.options).encode()).options == request.options
    # protobuf's own reader must see the same in it, but for the spelling of timestamps.
    theirs = json_format.Parse(content.decode("utf-8-sig"), export.Options())
    assert _without_times(theirs) == _without_times(options)
    assert matches(request.options, request.options)
    return True


def _without_times(options: Any) -> str:
    text = json_format.MessageToJson(options, sort_keys=True)
    return re.sub(r'("(?:startTimestamp|endTimestamp|beginTime|endTime|timestamp)": )"[^"]*"', r"\1", text)


def mutated(rng: random.Random) -> bytes:
    """One of the examples, as it is no longer."""
    text = rng.choice(EXAMPLES)
    return mutate_values(rng, text) if rng.random() < 0.5 else mutate_bytes(rng, text.encode())


@pytest.mark.deep
def test_mutated_requests() -> None:
    taken = 0
    with drawing() as rng:
        for number in range(COUNT):
            content = mutated(rng)
            start = time.monotonic()
            try:
                taken += check(content)
            except BaseException as error:
                error.add_note(f"mutation {number}: {content!r}")
                raise
            assert time.monotonic() - start < 5, content
        # Mutations that are refused one and all would test but half of it.
        assert COUNT / 100 < taken < COUNT * 0.9
