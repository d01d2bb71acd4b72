"""docs/request-files.md: its examples are requests, its tables are complete."""

import re

import pytest

from exportfs.requests import parse, summarize, to_json
from exportfs.wire import export
from tests.unit.requests.request_examples import EXAMPLES, PAGE
from tests.unit.requests.request_strategies import OPTIONS, is_map, reachable

SECTIONS = dict(re.findall(r"^### `([\w.]+)`\n(.*?)(?=^#|\Z)", PAGE, re.DOTALL | re.MULTILINE))
MESSAGES = {
    name.removeprefix("axxonsoft.bl.mmexport.").removeprefix("axxonsoft.bl.primitive."): message
    for name, message in reachable(OPTIONS).items()
}


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_example(example: str) -> None:
    request = parse(example.encode())
    assert request.warnings == ()
    assert parse(to_json(request.options).encode()) == request


def test_there_is_an_example_of_each_kind() -> None:
    assert PAGE.count("```json") == len(EXAMPLES)
    summaries = [parse(example.encode()).summary for example in EXAMPLES]
    assert {(s.live, s.stream) for s in summaries} == {(a, b) for a in (True, False) for b in (True, False)}
    assert {s.kind for s in summaries} == {"mp4", "mkv", "avi", "exe", "jpg", "pdf"}
    options = [export.Options.FromString(parse(example.encode()).options) for example in EXAMPLES]
    text = "".join(to_json(o.SerializeToString()) for o in options)
    needed = (
        "discrete maskSpace maskFilter subtitleCast timeLapse maxFileSize pdfLayout password timelineMask"
    )
    for name in needed.split():
        assert f'"{name}"' in text
    assert max(summarize(o.SerializeToString()).more_origins for o in options) == 2


def test_a_table_for_each_message() -> None:
    assert SECTIONS.keys() == MESSAGES.keys()


@pytest.mark.parametrize("name", MESSAGES)
def test_a_row_for_each_field(name: str) -> None:
    rows = re.findall(
        r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", SECTIONS[name], re.MULTILINE
    )
    types = {row[0]: row[1] for row in rows}
    assert list(types) == [field.json_name for field in sorted(MESSAGES[name].fields, key=lambda f: f.number)]
    for field in MESSAGES[name].fields:
        said = types[field.json_name]
        kind = "map of " if is_map(field) else "list of " if field.is_repeated else ""
        assert said.startswith(kind)
        if field.enum_type is not None:
            listed = PAGE if "EQuality" in said else said
            for value in field.enum_type.values:
                assert f"`{value.name}` {value.number}" in listed
        elif field.message_type is not None and not is_map(field):
            inner = field.message_type.full_name.removeprefix("axxonsoft.bl.mmexport.").rsplit("primitive.")[
                -1
            ]
            assert said.removeprefix(kind) == ("duration" if inner == "google.protobuf.Duration" else inner)
