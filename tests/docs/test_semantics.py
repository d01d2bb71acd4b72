"""Every paragraph of docs/semantics.md has a test, and every paragraph that a test cites is there."""

import ast
import functools
import re
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "semantics.md"


def paragraphs() -> list[str]:
    return re.findall(r"^\*\*([A-Z]\d+)\.\*\* ", PAGE.read_text(), re.MULTILINE)


def cited_in(path: Path) -> set[str]:
    """Arguments of every `mark.promise(...)` of a file."""
    text = path.read_text()
    if "promise" not in text:
        return set()  # parsing all files takes a second
    return {
        argument.value
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "promise"
        for argument in node.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }


@functools.cache
def citations() -> dict[str, set[str]]:
    return {
        str(path.relative_to(TESTS)): cited for path in TESTS.rglob("test_*.py") if (cited := cited_in(path))
    }


def test_numbers_are_unique_and_without_gaps() -> None:
    numbers = paragraphs()
    assert [number for number, count in Counter(numbers).items() if count > 1] == []
    for letter in {number[0] for number in numbers}:
        counted = [int(number[1:]) for number in numbers if number[0] == letter]
        assert counted == list(range(1, len(counted) + 1)), letter


def test_every_paragraph_has_a_test() -> None:
    cited = set().union(*citations().values())
    missing = [number for number in paragraphs() if number not in cited]
    assert missing == [], f"no test cites {', '.join(missing)}"


def test_every_cited_paragraph_is_there() -> None:
    known = set(paragraphs())
    unknown = {name: sorted(cited - known) for name, cited in citations().items() if cited - known}
    assert unknown == {}
