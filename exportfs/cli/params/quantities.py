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

_DURATION_PART = re.compile(
    r"(\d+(?:\.\d+)?)\s*(d(?:ays?)?|h(?:rs?|ours?)?|m(?:ins?|inutes?)?|s(?:ecs?|econds?)?)?(?![a-z])\s*",
    re.ASCII | re.IGNORECASE,
)
_CLOCK = re.compile(r"(\d+):([0-5]\d):([0-5]\d(?:\.\d+)?)", re.ASCII)
_HALF_CLOCK = re.compile(r"(\d+):(\d\d)", re.ASCII)
_SECONDS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_LONGEST = 100 * 366 * 86400


def size(text: str | int) -> int:
    """Bytes of `4096`, `64K`, `256M`, `1.5G` (binary units). ValueError, a sentence, where it is none."""
    match = _SIZE.fullmatch(str(text).strip())
    if not match:
        raise ValueError(
            f"invalid size {text!r}: give bytes, or a number with K, M, G or T (powers of 1024), as in 256M"
        )
    value = int(float(match[1]) * _FACTORS[(match[2] or "").upper()]) if match[2] else _whole(match[1], text)
    if value > _LARGEST_SIZE:
        raise ValueError(f"invalid size {text!r}: at most {_LARGEST_SIZE >> 60} EiB")
    return value


def _whole(number: str, text: object) -> int:
    if "." in number:
        raise ValueError(
            f"invalid size {text!r}: bytes must be a whole number; or give a unit, as in {number}M"
        )
    return int(number)


def duration(text: str | float) -> float:
    """Seconds of `90`, `1.5`, `10m`, `10min`, `1h30m`, `0:10:00`. ValueError, with a sentence, where it is none."""
    rest = str(text).strip()
    wrong = ValueError(
        f"invalid duration {text!r}: give seconds, numbers with d, h, m or s, or H:MM:SS, as in 90, 10m, 1h30m, 0:10:00"
    )
    if half := _HALF_CLOCK.fullmatch(rest):
        # Minutes to who reads a player, hours to who reads a clock.
        readings = f"{half[0]}:00 or 0:{half[1].zfill(2)}:{half[2]}"
        raise ValueError(f"invalid duration {text!r}: it may be hours or minutes; give {readings}")
    if clock := _CLOCK.fullmatch(rest):
        return _within_bounds(int(clock[1]) * 3600 + int(clock[2]) * 60 + float(clock[3]), text)
    seconds, previous, position = 0.0, math.inf, 0
    while position < len(rest):
        match = _DURATION_PART.match(rest, position)
        # A bare number stands alone: `1h30` could be minutes or seconds.
        if not match or (match[2] is None and match.span() != (0, len(rest))):
            raise wrong
        factor = _SECONDS[(match[2] or "s")[0].lower()]
        if factor >= previous:
            raise wrong
        seconds, previous, position = seconds + float(match[1]) * factor, factor, match.end()
    if not rest:
        raise wrong
    return _within_bounds(seconds, text)


def _within_bounds(seconds: float, text: object) -> float:
    if seconds > _LONGEST:
        raise ValueError(f"invalid duration {text!r}: at most 100 years")
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
            self.fail(f"must be at least {self.shown}", param, ctx)
        return value


class Size(_Quantity):
    """Bytes, as an int."""

    def __init__(self, least: int = 0) -> None:
        super().__init__("size", size, least, f"{least >> 20}M" if least else "0")


class Duration(_Quantity):
    """Seconds, as a float."""

    def __init__(self, least: float = 0.0) -> None:
        super().__init__("duration", duration, least, f"{least:g} seconds")


class Whole(click.IntRange):
    """A whole number from `min` to `max`."""

    name = "integer"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return super().convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"{value!r} is not a whole number from {self.min} to {self.max}", param, ctx)


class _Text(click.ParamType):  # type: ignore[type-arg] # generic in newer versions only
    """Something on one line: an empty word is a variable that was not set, rather than a wish."""

    name = "text"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        if isinstance(value, str):
            if not value.strip():
                self.fail("must not be empty", param, ctx)
            if not value.isprintable():
                self.fail(f"must be one line without control characters, not {value!r}", param, ctx)
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
            self.fail("must not contain a NUL character", param, ctx)
        return Path(value)


SIZE = Size()
DURATION = Duration()
TEXT = _Text()
FILE = _File()
