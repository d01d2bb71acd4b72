"""The lines of the journal: what is written of a change, and what is read of it, also of one that is damaged or of a
later version. Pure."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from exportfs.sessions.ledger import Change, Drop, Put, Record

_FIELDS = frozenset(each.name for each in fields(Record))
_TYPES: Mapping[type | tuple[type, ...], tuple[str, ...]] = {
    str: ("key", "name", "fingerprint", "outline"),
    bool: ("any_agent", "stopped", "reported", "forgotten", "destroyed"),
    list: ("before",),
    (int, float): ("at", "gone", "within"),
    (str, type(None)): ("session_id",),
    (dict, type(None)): ("footage",),
}


class _OfLaterVersion(ValueError):
    """A line that this version does not understand, or not all of it."""


@dataclass(slots=True)
class View:
    """What lines say, one after another."""

    records: dict[str, Record] = field(default_factory=dict)
    damaged: list[bytes] = field(default_factory=list)
    """Lines that nobody can read: cut short by a crash, or spoilt."""
    later: int = 0
    """How many are of a later version."""

    def take(self, data: bytes) -> None:
        """Lines, whose last one need not be whole."""
        for line in data.split(b"\n"):
            self._take(line)

    def _take(self, line: bytes) -> None:
        # A file system may leave NULs at the end of what was written at a power cut.
        line = line.strip(b"\0 \t\r")
        if not line:
            return
        try:
            change = _change(line)
        except _OfLaterVersion as error:
            self.later += 1
            change = error.args[0]
        except (ValueError, TypeError, KeyError, RecursionError):
            self.damaged.append(line)
            return
        if isinstance(change, Put):
            self.records[change.record.key] = change.record
        elif change is not None:
            self.records.pop(change.key, None)


def line_of(change: Change) -> str:
    """With its end."""
    entry = {"put": asdict(change.record)} if isinstance(change, Put) else {"drop": change.key}
    return json.dumps(entry) + "\n"


def _change(line: bytes) -> Change:
    """What a line says. Raises ValueError, TypeError, KeyError or RecursionError where it is damaged, and
    _OfLaterVersion, with as much of it as is understood, or None."""
    entry = json.loads(line.decode("utf-8", "replace"))
    if not isinstance(entry, dict) or not entry:
        raise TypeError
    put, drop = entry.get("put"), entry.get("drop")
    if isinstance(drop, str):
        return Drop(drop)
    if not isinstance(put, dict):
        if "put" in entry or "drop" in entry:
            raise TypeError
        raise _OfLaterVersion(None)
    if not isinstance(put["key"], str):
        raise TypeError
    try:
        change = Put(_record({key: value for key, value in put.items() if key in _FIELDS}))
    except (TypeError, KeyError):
        raise _OfLaterVersion(None) from None
    # A later version, that was here before or is another mount's, may know more of it.
    if not put.keys() <= _FIELDS:
        raise _OfLaterVersion(change)
    return change


def _record(values: Mapping[str, Any]) -> Record:
    """Raises TypeError or KeyError where it is none."""
    for types, names in _TYPES.items():
        for name in names:
            if name in values and not isinstance(values[name], types):
                raise TypeError(name)
    before = values["before"]
    if not all(isinstance(each, str) for each in before):
        raise TypeError("before")
    return Record(**{**values, "before": tuple(before)})
