"""Strict JSON text: reading it, whether it is whole yet, and what is wrong with it.

The C decoder of the standard library reads; only where it fails does code of our own walk over the text.
That is iterative, and the C decoder guarded: no nesting overruns the stack.
"""

import codecs
import enum
import json
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

BOM = "\ufeff"
UTF_16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
UTF_32_MARKS = (codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)

MAX_VALUES = 500_000
"""Values that a text may hold to be read: as Python objects they take up to a hundred times their bytes."""


class Number(str):
    """A number as it is written, where Python's int would be slow or float would lose something."""

    __slots__ = ()


class Object(dict[str, Any]):
    """A JSON object; the last of equal keys counts, and `duplicates` has those that came again."""

    __slots__ = ("duplicates",)

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.duplicates: tuple[str, ...] = ()
        if len(self) != len(pairs):
            counts = Counter(key for key, _ in pairs)
            self.duplicates = tuple(key for key, count in counts.items() if count > 1)


class Completeness(enum.Enum):
    """How far a text has come on its way to a JSON value."""

    EMPTY = "empty"
    """Nothing but white space."""
    INCOMPLETE = "incomplete"
    """More bytes, at the end or in a hole, can make JSON of it."""
    BROKEN = "broken"
    """Nothing that is appended can make JSON of it."""
    COMPLETE = "complete"
    """One whole JSON value."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Where and why a text is not JSON."""

    position: int
    message: str
    at_end: bool = False
    """The text just ends too early."""
    in_string: bool = False
    """It ends within a string."""


def completeness(content: bytes) -> Completeness:
    """How far `content` has come. Never raises.

    NUL bytes count as a hole that a writer left and may fill yet; what follows a hole is not looked at.
    A number at the top level counts as complete, and what holds more than MAX_VALUES values as broken: it
    cannot become a request. Takes milliseconds; at worst, for 16 MiB made to be slow, a second or so.
    """
    if content.startswith(UTF_16_MARKS) and not content.startswith(UTF_32_MARKS):
        return _completeness_utf16(content)
    hole = content.find(b"\0")
    if hole >= 0:
        before = _completeness(content[:hole])
        # After a whole value a hole can still become white space.
        return Completeness.BROKEN if before is Completeness.BROKEN else Completeness.INCOMPLETE
    return _completeness(content)


def _completeness_utf16(content: bytes) -> Completeness:
    decoder = codecs.getincrementaldecoder("utf-16")()
    try:
        text = decoder.decode(content)
    except UnicodeDecodeError:
        return Completeness.BROKEN
    state = completeness(text.encode())
    half = bool(decoder.getstate()[0])
    # What half a character will be is unknown: a space, perhaps.
    return Completeness.INCOMPLETE if half and state is not Completeness.BROKEN else state


def _completeness(content: bytes) -> Completeness:
    text, rest, invalid = _decode_some(content)
    if not text.strip(" \t\r\n"):
        if invalid:
            return Completeness.BROKEN
        if rest:
            return (
                Completeness.INCOMPLETE
                if not text and b"\xef\xbb\xbf".startswith(rest)
                else Completeness.BROKEN
            )
        return Completeness.EMPTY
    if crowded(text):
        return Completeness.BROKEN
    fault = None if _loads(text) is not _FAILED else diagnose(text)
    if fault is None:
        return Completeness.BROKEN if rest or invalid else Completeness.COMPLETE
    if not fault.at_end or invalid or (rest and not fault.in_string):
        return Completeness.BROKEN
    return Completeness.INCOMPLETE


def _decode_some(content: bytes) -> tuple[str, bytes, bool]:
    """The text up to the first unfinished or wrong byte sequence, the unfinished rest, and if it is wrong."""
    try:
        text, used = codecs.utf_8_decode(content, "strict", False)
        invalid = False
    except UnicodeDecodeError as error:
        text, used = content[: error.start].decode(), len(content)
        invalid = True
    return text.removeprefix(BOM), content[used:], invalid


def loads(text: str) -> Any:
    """The value of a JSON text, objects as `Object`, broken and very long numbers as `Number`.

    Raises BadJsonError, CrowdedError.
    """
    if crowded(text):
        raise CrowdedError
    value = _loads(text)
    if value is not _FAILED:
        return value
    fault = diagnose(text)
    if fault is None:
        # Only the stack can have been in the way: the C decoder is recursive.
        fault = Fault(0, "this is nested too deeply")
    raise BadJsonError(fault)


class CrowdedError(ValueError):
    """The text holds more than MAX_VALUES values."""


class BadJsonError(ValueError):
    """The text is not JSON."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault.message)
        self.fault = fault


_FAILED = object()


def crowded(text: str) -> bool:
    """Whether a text holds more than MAX_VALUES values, names not counted."""

    def openings(text: str) -> int:
        return text.count(",") + text.count("[") + text.count("{")

    if openings(text) < MAX_VALUES:
        return False
    # Of all escapes only these two matter to where a string ends.
    unescaped = text.replace("\\\\", "").replace('\\"', "")
    return openings(_ANY_STRING.sub("", unescaped)) >= MAX_VALUES


def _integer(text: str) -> Any:
    return int(text) if len(text) <= 40 else Number(text)


def _refuse(text: str) -> Any:
    raise ValueError(text)


# One scanner, made once: json.loads would build it for each call.
DECODER = json.JSONDecoder(
    object_pairs_hook=Object, parse_int=_integer, parse_float=Number, parse_constant=_refuse
)


def _loads(text: str) -> Any:
    try:
        return DECODER.decode(text)
    except (ValueError, RecursionError):
        return _FAILED


# Possessive are repetitions of single characters only: before 3.11.5 Python misreads those of groups (a part that
# begins to match and then fails is not taken back), and Debian 12 has 3.11.2.
SPACE = re.compile(r"[ \t\r\n]*+")
_STRING_PART = re.compile(r'(?:[^"\\\x00-\x1f]++|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4})){1,1000}')
"""Again and again: an unbounded repetition of a group takes memory for each."""
_PARTIAL_ESCAPE = re.compile(r"\\(?:u[0-9A-Fa-f]{0,3})?\Z")
_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?(?:[eE][+-]?[0-9]++)?")
_PARTIAL_NUMBER = re.compile(r"(?:-|-?(?:0|[1-9][0-9]*+)\.|-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?[eE][+-]?)\Z")
_WORDS = ("true", "false", "null")
_ANY_STRING = re.compile(r'"[^"]*+"?')
"""Of a text without escapes."""
_CONSTANT = re.compile(r"-?(?:NaN|Infinity)")


def diagnose(text: str) -> Fault | None:
    """The first thing that keeps `text` from being one JSON value; None where nothing does. Linear time."""
    opened: list[int] = []
    place = "value"
    at = 0
    while True:
        at = _end(SPACE, text, at)
        char = text[at : at + 1]
        if place == "end":
            return Fault(at, "nothing may follow after the end of the JSON value") if char else None
        if not char:
            return Fault(at, _ends(text, opened), at_end=True)
        if place in ("value", "value or close"):
            if char in "{[":
                opened.append(at)
                place = "key or close" if char == "{" else "value or close"
                at += 1
                continue
            if char == "]" and place == "value or close":
                opened.pop()
            else:
                found = _scalar(text, at, char)
                if isinstance(found, Fault):
                    return found
                at = found - 1
            place = "more" if opened else "end"
            at += 1
        elif place in ("key", "key or close"):
            if char == "}" and place == "key or close":
                opened.pop()
                at += 1
                place = "more" if opened else "end"
                continue
            if char != '"':
                return Fault(at, _no_key(text, at, char))
            found = _string(text, at)
            if isinstance(found, Fault):
                return found
            at, place = found, "colon"
        elif place == "colon":
            if char != ":":
                return Fault(at, "there must be a colon after the name of a field")
            at, place = at + 1, "value"
        else:  # more
            close = "}" if text[opened[-1]] == "{" else "]"
            if char == close:
                opened.pop()
                place = "more" if opened else "end"
            elif char == ",":
                place = "key" if close == "}" else "value"
            else:
                return Fault(at, f"there must be a comma or {close} here")
            at += 1


def _end(pattern: re.Pattern[str], text: str, at: int) -> int:
    """The end of what a pattern matches at `at`, for patterns that match nothing, too."""
    match = pattern.match(text, at)
    assert match is not None
    return match.end()


def _scalar(text: str, at: int, char: str) -> int | Fault:
    """The end of the string, number or word at `at`."""
    if char == '"':
        return _string(text, at)
    for word in _WORDS:
        if text.startswith(word, at):
            return at + len(word)
        if word.startswith(text[at : at + 5]) and len(text) - at < len(word):
            return Fault(len(text), f"the text ends within {word}", at_end=True)
    if _PARTIAL_NUMBER.match(text, at):
        return Fault(len(text), "the text ends within a number", at_end=True)
    number = _NUMBER.match(text, at)
    if number:
        return number.end()
    return Fault(at, _no_value(text, at, char))


def _string(text: str, at: int) -> int | Fault:
    end = at + 1
    while part := _STRING_PART.match(text, end):
        end = part.end()
    stop = text[end : end + 1]
    if stop == '"':
        return end + 1
    if not stop:
        return Fault(end, "the text ends within a string", at_end=True, in_string=True)
    if stop == "\\":
        if _PARTIAL_ESCAPE.match(text, end):
            # Within an escape no byte of a longer character can follow.
            return Fault(len(text), "the text ends within a string", at_end=True)
        return Fault(end, r"there is no such escape in JSON; a backslash itself is written \\")
    what = "a line break" if stop in "\r\n" else "a control character"
    code = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}.get(stop, f"\\u{ord(stop):04x}")
    return Fault(end, f"a string cannot hold {what} as such: a quote is missing, or write {code}")


def _ends(text: str, opened: list[int]) -> str:
    if not opened:
        return "the text ends where a value must stand"
    what = "object" if text[opened[-1]] == "{" else "list"
    line, column = line_column(text, opened[-1])
    return f"the text ends before the {what} that begins in line {line}, column {column} is closed"


def _no_key(text: str, at: int, char: str) -> str:
    if char == "'":
        return "names of fields stand in double quotes"
    if char == "}":
        return "there may be no comma before the closing }"
    return _comment(text, at) or "the name of a field must stand here, in double quotes"


def _no_value(text: str, at: int, char: str) -> str:
    if char == "'":
        return "strings stand in double quotes"
    if char in "]}" and text[:at].rstrip().endswith(","):
        return f"there may be no comma before the closing {char}"
    if _CONSTANT.match(text, at):
        return "NaN and Infinity are no JSON"
    for word in (*_WORDS, "None"):
        if text[at : at + len(word)].lower() == word.lower():
            return f"write {'null' if word == 'None' else word}, in lower case"
    return (
        _comment(text, at)
        or "a value must stand here: a string in double quotes, a number, true, false, {…} or […]"
    )


def _comment(text: str, at: int) -> str | None:
    return "JSON has no comments" if text.startswith(("//", "/*", "#"), at) else None


def line_column(text: str, position: int) -> tuple[int, int]:
    """Line and column (both from 1, in characters) of a position in `text`."""
    return text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)
