"""Where in a JSON text a value or a name stands."""

import contextlib
from dataclasses import dataclass

from exportfs.requests.json_text import DECODER, SPACE

Path = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """A value in a JSON text by its keys and indices; or, with `key`, the last name in the path itself."""

    path: Path
    key: bool = False
    repeated: bool = False
    """The second one of equal names."""


def locate(text: str, places: set[Place]) -> dict[Place, int]:
    """The positions of `places` in `text`, which must be whole JSON. What is not there is left out."""
    found: dict[Place, int] = {}
    inner: set[Path] = {place.path[:n] for place in places for n in range(len(place.path))}
    # It was read from about the same depth of the stack. Should that be the edge: no places, but a message.
    with contextlib.suppress(RecursionError):
        _locate(text, _skip(text, 0), (), places, inner, found)
    return found


def _skip(text: str, at: int) -> int:
    match = SPACE.match(text, at)
    assert match is not None  # It matches nothing, too.
    return match.end()


def _locate(
    text: str, at: int, path: Path, places: set[Place], inner: set[Path], found: dict[Place, int]
) -> int:
    """Walks over the value at `at`, as deep as the places lie; gives its end."""
    place = Place(path)
    if place in places:
        found[place] = at
    if path not in inner or text[at] not in "{[":
        return int(DECODER.raw_decode(text, at)[1])
    is_object = text[at] == "{"
    at = _skip(text, at + 1)
    index = 0
    seen: set[str] = set()
    while text[at] not in "}]":
        step: str | int = index
        if is_object:
            name, end = DECODER.raw_decode(text, at)
            step = str(name)
            key = Place((*path, step), True, step in seen)
            if key in places:
                found[key] = at
            seen.add(step)
            at = _skip(text, _skip(text, end) + 1)
        at = _skip(text, _locate(text, at, (*path, step), places, inner, found))
        if text[at] == ",":
            at = _skip(text, at + 1)
        index += 1
    return at + 1
