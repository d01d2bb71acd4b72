"""What the parts of the check share: the problems found so far, and which JSON field became which field."""

import json
import re
from dataclasses import dataclass, field
from datetime import tzinfo
from typing import Any

from exportfs.requests.json_text import line_column
from exportfs.requests.positions import Path, Place, locate
from exportfs.requests.problems import Problem, RequestError

LIMIT = 100
"""Problems after which the check gives up: nobody reads more, and a hostile request may hold millions."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class EnoughError(Exception):
    """LIMIT is reached."""


def quoted(value: str) -> str:
    """A string from the request for a message: in quotes, escaped, cut to a bearable length."""
    return json.dumps(value if len(value) <= 60 else value[:57] + "…", ensure_ascii=not value.isprintable())


def kind(value: Any) -> str:
    """The JSON type of a value from json_text, in words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "null"
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return "a list"
    return f"the string {quoted(value)}" if is_string(value) else f"the number {str(value)[:40]}"


def is_string(value: Any) -> bool:
    """Whether a value from json_text was a JSON string. (A Number is a str, too.)"""
    return type(value) is str


def shown(path: Path) -> str:
    """`archive.sources[0].origin`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _NAME.fullmatch(step) and len(step) <= 60:
            text += f".{step}" if text else step
        else:
            text += f"[{quoted(step)}]"
    return text


@dataclass(slots=True)
class View:
    """How one JSON object was taken as a message."""

    where: Path
    keys: dict[str, str] = field(default_factory=dict)
    """Field names of the message, and how the JSON object spells them."""
    bad: set[str] = field(default_factory=set)
    """Fields in which a problem was found already."""
    children: dict[str, "View"] = field(default_factory=dict)
    """Of the singular message fields."""

    def place(self, name: str) -> Path:
        """The path of a field that is there."""
        return (*self.where, self.keys[name])


class Collector:
    """Problems and warnings of one request."""

    def __init__(self, zone: tzinfo | None) -> None:
        self.zone = zone
        self.warnings: list[str] = []
        self._found: list[tuple[Place, str, str]] = []

    def __len__(self) -> int:
        return len(self._found)

    def add(
        self, where: Path, message: str, *, key: bool = False, repeated: bool = False, missing: str = ""
    ) -> None:
        """Notes that `message` is wrong at `where`; with `missing`, of a field that should be in there."""
        path = shown((*where, missing)) if missing else shown(where)
        self._found.append((Place(where, key, repeated), path, message))
        if len(self._found) >= LIMIT:
            raise EnoughError

    def warn(self, message: str) -> None:
        """Notes what is allowed and may still surprise; the same only once."""
        if message not in self.warnings:
            self.warnings.append(message)

    def raise_for(self, text: str) -> None:
        """Raises RequestError where anything is wrong, in the order of the text."""
        if not self._found:
            return
        positions = locate(text, {place for place, _, _ in self._found})
        problems = []
        for place, path, message in self._found:
            at = positions.get(place)
            line, column = (None, None) if at is None else line_column(text, at)
            problems.append((at or 0, Problem(path, message, line, column)))
        problems.sort(key=lambda item: item[0])
        raise RequestError(problem for _, problem in problems)
