"""JSON text: how far it has come, what is wrong with it, where things stand."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exportfs.requests import Completeness, completeness
from exportfs.requests.json_text import BadJsonError, CrowdedError, diagnose, line_column, loads
from exportfs.requests.positions import Place, locate

EMPTY, INCOMPLETE = Completeness.EMPTY, Completeness.INCOMPLETE
BROKEN, COMPLETE = Completeness.BROKEN, Completeness.COMPLETE

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
structures = st.lists(values, max_size=3) | st.dictionaries(st.text(), values, max_size=3)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", EMPTY),
        (b" \r\n\t", EMPTY),
        (b"\xef\xbb\xbf", EMPTY),
        (b"\xef\xbb\xbf \n", EMPTY),
        (b"\xef", INCOMPLETE),
        (b"\xef\xbb", INCOMPLETE),
        (b"\xef\xbb\xbf{}", COMPLETE),
        (b"\xef\xbb\xbf{", INCOMPLETE),
        (b"{}", COMPLETE),
        (b" [1, 2] \n", COMPLETE),
        (b'"x"', COMPLETE),
        (b"12", COMPLETE),
        (b"null", COMPLETE),
        (b"{} {}", BROKEN),
        (b"{}x", BROKEN),
        (b"{}\xc3", BROKEN),
        (b"{", INCOMPLETE),
        (b'{"a', INCOMPLETE),
        (b'{"a"', INCOMPLETE),
        (b'{"a":', INCOMPLETE),
        (b'{"a":1', INCOMPLETE),
        (b'{"a":1,', INCOMPLETE),
        (b'{"a":"\\', INCOMPLETE),
        (b'{"a":"\\u12', INCOMPLETE),
        (b'{"a":"\\u12"', BROKEN),
        (b'{"a":"' + b"\\n" * 1000 + b"\\u12", INCOMPLETE),
        (b'{"a":"' + b"\\n" * 3000 + b'"}', COMPLETE),
        (b'{"a":"\\x', BROKEN),
        (b'{"a":"\\\xc3', BROKEN),
        (b'{"a":"\xc3', INCOMPLETE),
        (b'{"a":"\xf0\x9f\x98', INCOMPLETE),
        (b"{\xc3", BROKEN),
        (b'{"a":"\xc3x"}', BROKEN),
        (b'{"a":"\xed\xa0\x80"}', BROKEN),
        (b"tru", INCOMPLETE),
        (b"trux", BROKEN),
        (b"[nul", INCOMPLETE),
        (b"[nul ", BROKEN),
        (b"-", INCOMPLETE),
        (b"[1.", INCOMPLETE),
        (b"[1.]", BROKEN),
        (b"[1e", INCOMPLETE),
        (b"[1e+", INCOMPLETE),
        (b"[1.5E-", INCOMPLETE),
        (b"[1.5.", BROKEN),
        (b"[01", BROKEN),
        (b"[-]", BROKEN),
        (b"NaN", BROKEN),
        (b"[-Infinity]", BROKEN),
        (b"[1,]", BROKEN),
        (b'{"a":1,}', BROKEN),
        (b"{,", BROKEN),
        (b"]", BROKEN),
        (b"[}", BROKEN),
        (b"{'a'", BROKEN),
        (b"// x", BROKEN),
        (b'{"a":"x\n', BROKEN),
        (b"\xff\xfe{\0}\0", COMPLETE),
        # Holes that a writer left.
        (b"\0", INCOMPLETE),
        (b"\0\0\0\0}", INCOMPLETE),
        (b'{"a":\0\0\0\0}', INCOMPLETE),
        (b'{"a":"\xc3\0\0"}', INCOMPLETE),
        (b"{}\0\0", INCOMPLETE),
        (b"{]\0\0", BROKEN),
        # Duplicate names are for parse() to refuse.
        (b'{"a":1,"a":2}', COMPLETE),
        (b'"\\ud800"', COMPLETE),
        (b"[" * 100_000, INCOMPLETE),
        (b"[" * 100_000 + b"]" * 100_000, COMPLETE),
        (b"[" + b"1," * 500_000, BROKEN),
        (b'["' + b"," * 600_000 + b'"]', COMPLETE),
        (b'["' + b"," * 600_000, INCOMPLETE),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_completeness(content: bytes, expected: Completeness) -> None:
    assert completeness(content) is expected


@settings(deadline=None, max_examples=60)  # each is some 140 prefixes
@given(structures, st.booleans(), st.sampled_from([None, 1]), st.sampled_from(["", " ", "\n\n"]))
def test_every_prefix_is_incomplete(value: object, escaped: bool, indent: int | None, end: str) -> None:
    whole = json.dumps(value, ensure_ascii=escaped, indent=indent).encode("utf-8", "surrogatepass")
    assert completeness(whole + end.encode()) is COMPLETE
    for length in range(len(whole)):
        assert completeness(whole[:length]) is (INCOMPLETE if length else EMPTY), whole[:length]
    assert completeness(whole + b"]") is BROKEN


@settings(deadline=None)
@given(structures, st.data())
def test_holes_are_incomplete(value: object, data: st.DataObject) -> None:
    whole = json.dumps(value, ensure_ascii=False).encode()
    start = data.draw(st.integers(0, len(whole) - 1))
    end = data.draw(st.integers(start + 1, len(whole)))
    assert completeness(whole[:start] + b"\0" * (end - start) + whole[end:]) is INCOMPLETE


_TAILS = [
    "",
    '"',
    '""',
    "0",
    "rue",
    "ue",
    "e",
    "alse",
    "lse",
    "se",
    "ull",
    "ll",
    "l",
    '":0',
    ":0",
    '"":0',
    '"',
    'n"',
]
_TAILS += [
    'n":0',
    '0000"',
    '000"',
    '00"',
    '0"',
    '0000":0',
    '000":0',
    '00":0',
    '0":0',
    "\x80",
    '\u0080"',
    "]",
    "}",
]


def _can_become_json(text: str) -> bool:
    """Whether one of a few ends, and then the brackets that are open, make JSON of it."""
    closers = ""
    for bracket in re.findall(r"[{}\[\]]", re.sub(r'"(?:[^"\\]|\\.)*(?:"|\\?\Z)', "", text, flags=re.DOTALL)):
        closers = {"{": "}", "[": "]"}[bracket] + closers if bracket in "{[" else closers[1:]
    for tail in _TAILS:
        for rest in (closers, closers[1:]):
            try:
                json.loads(text + tail + rest, parse_constant=lambda _: 1 / 0)
            except (ValueError, ZeroDivisionError):
                continue
            return True
    return False


@settings(deadline=None)
@given(st.text(alphabet='{}[]",:01-.eE+tru\\nu \n', max_size=12))
def test_against_the_standard_library(text: str) -> None:
    try:
        json.loads(text, parse_constant=lambda _: 1 / 0)
        whole = True
    except (ValueError, ZeroDivisionError):
        whole = False
    verdict = completeness(text.encode())
    assert (verdict is COMPLETE) == whole
    assert (diagnose(text) is None) == whole
    if verdict is INCOMPLETE:
        assert _can_become_json(text)
    elif verdict is BROKEN:
        assert not _can_become_json(text)


@settings(deadline=None)
@given(st.binary(max_size=40))
def test_never_raises(content: bytes) -> None:
    assert isinstance(completeness(content), Completeness)


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ('{"a": 1,\n "b": }', 2, 7, "a value must stand here"),
        ('{"a": 1 "b": 2}', 1, 9, "a comma or }"),
        ("[1 2]", 1, 4, "a comma or ]"),
        ('{"a" 1}', 1, 6, "a colon"),
        ('{"a": 1,}', 1, 9, "no comma before the closing }"),
        ("[1, ]", 1, 5, "no comma before the closing ]"),
        ("{'a': 1}", 1, 2, "double quotes"),
        ("{\"a\": 'b'}", 1, 7, "double quotes"),
        ("{a: 1}", 1, 2, "the name of a field"),
        ("{\n // x\n}", 2, 2, "no comments"),
        ('{"a": /* x */ 1}', 1, 7, "no comments"),
        ('# x\n{"a": 1}', 1, 1, "no comments"),
        ('{"a": True}', 1, 7, "write true"),
        ('{"a": None}', 1, 7, "write null"),
        ('{"a": NaN}', 1, 7, "NaN and Infinity"),
        ('{"a": "C:\\Users"}', 1, 10, "no such escape"),
        ('{"a": "x\n"}', 1, 9, "a line break as such"),
        ('{"a": "x\t"}', 1, 9, "write \\t"),
        ('{"a": [\n{"b": 1}', 2, 9, "the list that begins in line 1, column 7"),
        ('{"a": "x', 1, 9, "within a string"),
        ('{"a": tru', 1, 10, "within true"),
        ('{"a": 1.', 1, 9, "within a number"),
        ("{} {}", 1, 4, "nothing may follow"),
        ("", 1, 1, "where a value must stand"),
    ],
)
def test_broken_json_says_what_and_where(text: str, line: int, column: int, words: str) -> None:
    with pytest.raises(BadJsonError) as caught:
        loads(text)
    assert words in caught.value.fault.message
    assert line_column(text, caught.value.fault.position) == (line, column)


def test_deep_nesting_is_an_error() -> None:
    with pytest.raises(BadJsonError, match="nested too deeply"):
        loads("[" * 100_000 + "]" * 100_000)


def test_too_many_values() -> None:
    with pytest.raises(CrowdedError):
        loads("[" + "1," * 500_000 + "1]")
    assert len(loads("[" + "1," * 490_000 + "1]")) == 490_001


def test_duplicates_are_remembered() -> None:
    assert loads('{"a": 1, "b": 2, "a": 3, "a": 4}').duplicates == ("a",)
    assert loads('{"a": 1, "b": 2}').duplicates == ()


@settings(deadline=None)
@given(structures, st.sampled_from([None, 2]))
def test_locate_finds_every_value(value: object, indent: int | None) -> None:
    text = json.dumps(value, indent=indent)
    decoder = json.JSONDecoder()
    paths: dict[tuple[str | int, ...], object] = {}

    def walk(part: object, path: tuple[str | int, ...]) -> None:
        paths[path] = part
        steps = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
        for step, inner in steps:
            walk(inner, (*path, step))

    walk(value, ())
    wanted = {Place(path) for path in paths} | {
        Place(path, key=True) for path in paths if path and isinstance(path[-1], str)
    }
    found = locate(text, wanted)
    assert found.keys() == wanted
    for place, position in found.items():
        expected = place.path[-1] if place.key else paths[place.path]
        assert decoder.raw_decode(text, position)[0] == expected


def test_locate_tells_repeated_names() -> None:
    text = '{"a": 1, "b": 2, "a": 3}'
    repeated = Place(("a",), key=True, repeated=True)
    assert locate(text, {repeated, Place(("a",))}) == {repeated: 17, Place(("a",)): 22}
