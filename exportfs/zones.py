"""Whether this machine knows what its local time is.

The C library takes every time zone that it does not know for UTC, without a word: `TZ=Europe/Berln`, `TZ=CEST`, and
`TZ=Europe/Berlin` where no time zone data is installed. A local time read so is hours off. This looks at the zone as
the C library does (tzset(3)), and says so where it would guess. The offsets themselves are the C library's.
"""

import difflib
import os
import re
import zoneinfo
from collections.abc import Mapping
from pathlib import Path

from exportfs.errors import InvalidArgument

LOCALTIME = Path("/etc/localtime")
DATA = Path("/usr/share/zoneinfo")
"""Where time zone data is, unless TZDIR says otherwise."""

_NAME = r"(?:[A-Za-z]{3,}|<[A-Za-z0-9+-]{3,}>)"
_TIME = r"(?:[0-9]{1,3}(?::[0-5]?[0-9](?::[0-5]?[0-9])?)?)"
_HOURS = r"(?:2[0-4]|[01]?[0-9])(?::[0-5]?[0-9](?::[0-5]?[0-9])?)?"
_DAY = r"(?:M(?:1[0-2]|0?[1-9])\.[1-5]\.[0-6]|J[0-9]{1,3}|[0-9]{1,3})"
_RULE = rf"{_DAY}(?:/[+-]?{_TIME})?"
_POSIX = re.compile(
    rf"{_NAME}[+-]?{_HOURS}(?:(?P<summer>{_NAME})(?:[+-]?{_HOURS})?(?P<rules>,{_RULE},{_RULE})?)?", re.ASCII
)
"""`CET-1CEST,M3.5.0,M10.5.0/3`: a zone spelt out, for which no data is needed."""


_UNIVERSAL = frozenset(
    prefix + name
    for prefix in ("", "Etc/")
    for name in ("UTC", "UCT", "GMT", "Universal", "Zulu", "Greenwich")
)
"""What the C library takes for UTC, and is UTC, whether there is data or not."""


class UnknownZone(InvalidArgument):
    """This machine does not know its own time zone; says why, and what to do."""


def check_local_zone(
    environ: Mapping[str, str] | None = None, localtime: Path = LOCALTIME, data: Path = DATA
) -> str:
    """A few words on where local time comes from, for people. Raises UnknownZone."""
    environ = os.environ if environ is None else environ
    zone = environ.get("TZ")
    if zone is None:
        return _of_machine(localtime)
    name = zone.removeprefix(":")
    if not name:
        return "UTC, as TZ is empty"
    data = Path(environ.get("TZDIR") or data)
    if name in _UNIVERSAL:
        return name
    # An absolute name stays one.
    path = data / name
    if "\0" not in name and _is_zone(path):
        return name
    if spelt := _POSIX.fullmatch(name):
        if spelt["summer"] and not spelt["rules"]:
            # The C library takes the rules of the United States then.
            raise UnknownZone(
                f"TZ={zone} does not say when {spelt['summer']} begins and ends: write a name such as "
                "Europe/Berlin, or add the rules, as in CET-1CEST,M3.5.0,M10.5.0/3"
            )
        return name
    raise UnknownZone(f"TZ={zone} is not a time zone that this machine knows: {_advice(name, data)}")


def _of_machine(localtime: Path) -> str:
    if _is_zone(localtime):
        target = os.path.realpath(localtime)
        return target.partition("/zoneinfo/")[2] or str(localtime)
    if not os.path.lexists(localtime):
        # As it has always been: a machine without a zone has UTC.
        return f"UTC, as {localtime} is not there"
    if localtime.is_symlink() and not localtime.exists():
        target = os.readlink(localtime)
        if target.partition("/zoneinfo/")[2] in _UNIVERSAL:
            return "UTC"
        why = (
            f"{localtime} leads to {target}, which is not there: install the time zone data (package tzdata)"
        )
    else:
        why = f"{localtime} holds no time zone that can be read: set it anew (timedatectl set-timezone)"
    raise UnknownZone(f"this machine does not know its time zone: {why}, or give times with an offset")


def _advice(name: str, data: Path) -> str:
    offset = "or give times with an offset, such as 2026-05-11T10:04:00+02:00"
    if not data.is_dir():
        return f"there is no time zone data in {data}: install it (package tzdata), {offset}"
    # Of abbreviations the nearest is another zone's.
    names = zoneinfo.available_timezones() if "/" in name else set()
    folded = {one.casefold(): one for one in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=0.8)
    if near:
        return f"did you mean {folded[near[0]]}? Set TZ to that, {offset}"
    return f"set TZ to a name such as Europe/Berlin, {offset}"


def _is_zone(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            zoneinfo.ZoneInfo.from_file(file)
    except Exception:  # OSError, ValueError, struct.error: whatever bytes can make of a parser
        return False
    return True
