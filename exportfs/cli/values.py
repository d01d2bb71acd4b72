"""Sizes and durations as people write them, for the command line and the configuration alike."""

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(i?B)?)?", re.ASCII | re.IGNORECASE)
_FACTORS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_LARGEST_SIZE = 1 << 62

_DURATION_PART = re.compile(r"(\d+(?:\.\d+)?)\s*(d|h|m|s)?\s*", re.ASCII | re.IGNORECASE)
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_LONGEST = 100 * 366 * 86400


def size(text: str | int) -> int:
    """Bytes of `4096`, `64K`, `256M`, `1.5G` (binary units). ValueError, a sentence, where it is none."""
    match = _SIZE.fullmatch(str(text).strip())
    if not match:
        raise ValueError(f"{text!r} is no size: write bytes, or a number with K, M, G or T (1024-fold): 256M")
    value = int(float(match[1]) * _FACTORS[(match[2] or "").upper()]) if match[2] else _whole(match[1], text)
    if value > _LARGEST_SIZE:
        raise ValueError(f"{text!r} is too large for a size")
    return value


def _whole(number: str, text: object) -> int:
    if "." in number:
        raise ValueError(f"{text!r} is no size: there is no part of a byte")
    return int(number)


def duration(text: str | float) -> float:
    """Seconds of `90`, `1.5`, `10m`, `1h`, `1h30m`. ValueError, with a sentence, where it is none."""
    rest = str(text).strip()
    wrong = ValueError(
        f"{text!r} is no duration: write seconds, or numbers with d, h, m or s: 90, 10m, 1h30m"
    )
    seconds, previous, position = 0.0, math.inf, 0
    while position < len(rest):
        match = _DURATION_PART.match(rest, position)
        # A bare number stands alone: `1h30` could be minutes or seconds.
        if not match or (match[2] is None and match.span() != (0, len(rest))):
            raise wrong
        factor = _SECONDS[(match[2] or "s").lower()]
        if factor >= previous:
            raise wrong
        seconds, previous, position = seconds + float(match[1]) * factor, factor, match.end()
    if not rest:
        raise wrong
    if seconds > _LONGEST:
        raise ValueError(f"{text!r} is too long for a duration")
    return seconds


class _Quantity(click.ParamType):  # type: ignore[type-arg] # generic in newer versions only
    """A parameter type made of one of the parsers above. `least` is the smallest value, and `shown` how to write it."""

    def __init__(self, name: str, parse: Callable[[str], float], least: float, shown: str) -> None:
        self.name = name
        self.parse = parse
        self.least = least
        self.shown = shown

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        if isinstance(value, str):
            try:
                value = self.parse(value)
            except ValueError as error:
                self.fail(str(error), param, ctx)
        if isinstance(value, int | float) and value < self.least:
            self.fail(f"must be {self.shown} at least", param, ctx)
        return value


class Size(_Quantity):
    """Bytes, as an int."""

    def __init__(self, least: int = 0) -> None:
        super().__init__("size", size, least, f"{least >> 20}M" if least else "0")


class Duration(_Quantity):
    """Seconds, as a float."""

    def __init__(self, least: float = 0.0) -> None:
        super().__init__("duration", duration, least, f"{least:g} seconds")


class _Text(click.ParamType):  # type: ignore[type-arg] # generic in newer versions only
    """Something on one line: an empty word is a variable that was not set, rather than a wish."""

    name = "text"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        if isinstance(value, str):
            if not value.strip():
                self.fail("must not be empty", param, ctx)
            if not value.isprintable():
                self.fail(f"must be on one line, without control characters: {value!r}", param, ctx)
        return value


class _File(click.Path):
    """A path, and not an empty one. It is not looked at: click would, and wait for ever for a mount whose process is
    stopped."""

    def __init__(self) -> None:
        super().__init__(path_type=Path)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            self.fail("must not be empty", param, ctx)
        if isinstance(value, str) and "\0" in value:
            self.fail("holds a NUL", param, ctx)
        return Path(value)


SIZE = Size()
DURATION = Duration()
TEXT = _Text()
FILE = _File()
