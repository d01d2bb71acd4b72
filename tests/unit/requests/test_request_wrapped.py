"""What people paste around a request is understood, or named; and what editors put at its front."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exportfs.requests import Completeness, RequestError, completeness, fingerprint, parse
from tests.unit.requests.request_helpers import VIDEO, changed

METHOD = "axxonsoft.bl.mmexport.ExportService.StartSession"
PLAIN = parse(json.dumps(VIDEO).encode())
RECORD: dict[str, object] = {
    "id": "hosts/Server/x",
    "name": "n",
    "state": "completed",
    "files": [],
    "error": None,
    "more": 1,
}

WRAPPED: list[tuple[dict[str, Any], str]] = [
    ({"session_options": VIDEO}, "session_options"),
    ({"sessionOptions": VIDEO}, "sessionOptions"),
    ({"options": VIDEO}, "options"),
    ({**RECORD, "options": VIDEO}, "options"),
    ({"options": VIDEO, **RECORD}, "options"),
    ({"method": METHOD, "data": {"session_options": VIDEO}}, "data.session_options"),
    ({"data": {"sessionOptions": VIDEO}, "method": METHOD}, "data.sessionOptions"),
]


@pytest.mark.promise("W14")
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize(("wrapped", "path"), WRAPPED)
def test_wrapped_is_the_same_request(wrapped: dict[str, Any], path: str, indent: int | None) -> None:
    request = parse(json.dumps(wrapped, indent=indent).encode())
    assert replace(request, where=()) == PLAIN
    assert fingerprint(request.options, any_agent=True) == fingerprint(PLAIN.options, any_agent=True)


@pytest.mark.promise("W14", "W6")
@pytest.mark.parametrize(("wrapped", "path"), WRAPPED)
def test_errors_name_line_and_field(wrapped: dict[str, Any], path: str) -> None:
    bad = json.dumps(VIDEO).replace("MP4", "MP5")
    text = json.dumps(wrapped, indent=1).replace("MP4", "MP5")
    with pytest.raises(RequestError) as inside:
        parse(text.encode())
    with pytest.raises(RequestError) as plain:
        parse(bad.encode())
    (problem,), (same,) = inside.value.problems, plain.value.problems
    assert (problem.path, problem.message) == (f"{path}.{same.path}", same.message)
    assert problem.line is not None
    assert '"MP5"' in text.splitlines()[problem.line - 1]


@pytest.mark.promise("W14")
@pytest.mark.parametrize(
    ("wrapped", "said"),
    [
        ({"method": "axxonsoft.bl.mmexport.ExportService.DestroySession", "data": {}}, "DestroySession"),
        ({"method": f"{METHOD}2", "data": {"session_options": VIDEO}}, "another method"),
        ({"method": 7, "data": {"session_options": VIDEO}}, "not the number 7"),
        ({"method": None, "data": {"session_options": VIDEO}}, "not null"),
        ({"method": METHOD}, "no data"),
        ({"method": METHOD, "data": []}, "not a list"),
        ({"method": METHOD, "data": None}, "not null"),
        ({"method": METHOD, "data": {}}, "session_options"),
        ({"method": METHOD, "data": VIDEO}, "session_options"),
        ({"method": METHOD, "data": {"session_options": VIDEO, "page_size": 1}}, "page_size"),
        ({"method": METHOD, "data": {"session_options": VIDEO}, "archive": {}}, "archive"),
        ({"session_options": []}, "not a list"),
        ({"session_options": None}, "not null"),
        ({"options": "x"}, "must be an object"),
        ({"session_options": VIDEO, "sessionOptions": VIDEO}, "give it once"),
        ({"session_options": VIDEO, "options": VIDEO}, "give it once"),
        ({"options": VIDEO, "maxFileSize": 1}, "belongs in options"),
        ({**RECORD, "options": VIDEO, "stream": {}}, "belongs in options"),
        ({"options": VIDEO, "max": 1}, "no such field beside options"),
        ({"session_options": {"session_options": VIDEO}}, "no such field"),
        (RECORD, "no such field"),
    ],
)
def test_what_is_not_understood_is_named(wrapped: dict[str, Any], said: str) -> None:
    with pytest.raises(RequestError, match=said) as caught:
        parse(json.dumps(wrapped).encode())
    assert all(problem.line for problem in caught.value.problems)


def test_twice_the_same_wrapper() -> None:
    text = '{"options": ' + json.dumps(VIDEO) + ',"options": {}}'
    with pytest.raises(RequestError, match="more than once"):
        parse(text.encode())
    text = json.dumps({"method": METHOD, "data": {}})[:-1] + ', "method": "x"}'
    with pytest.raises(RequestError, match="more than once"):
        parse(text.encode())


MARKED = ["utf-8-sig", "utf-16", "utf-16-be-marked"]


def encoded(text: str, encoding: str) -> bytes:
    return b"\xfe\xff" + text.encode("utf-16-be") if encoding.endswith("marked") else text.encode(encoding)


@pytest.mark.promise("W14")
@pytest.mark.parametrize("encoding", MARKED)
def test_byte_order_marks(encoding: str) -> None:
    options = changed(VIDEO, ("settings", [{"comment": "für Zoë, 𝄞"}]))
    text = json.dumps(options, indent=1, ensure_ascii=False).replace("\n", "\r\n")
    content = encoded(text, encoding)
    assert completeness(content) is Completeness.COMPLETE
    assert parse(content) == parse(text.encode())
    with pytest.raises(RequestError) as marked:
        parse(encoded(text.replace("MP4", "MP5"), encoding))
    with pytest.raises(RequestError) as plain:
        parse(text.replace("MP4", "MP5").encode())
    assert str(marked.value) == str(plain.value)


@given(st.sampled_from(MARKED), st.data())
def test_a_part_of_a_marked_text_waits_for_more(encoding: str, data: st.DataObject) -> None:
    content = encoded(json.dumps({"a": ["x𝄞é", 1.5, {"b": None}]}, ensure_ascii=False) + "\n", encoding)
    cut = data.draw(st.integers(4, len(content) - 1))
    state = completeness(content[:cut])
    whole = cut >= len(content) - (1 if encoding == "utf-8-sig" else 2)
    assert state in ({Completeness.COMPLETE, Completeness.INCOMPLETE} if whole else {Completeness.INCOMPLETE})
