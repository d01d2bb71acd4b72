"""How cameras are called: names of their directories, and which camera a name in a request means. All pure."""

from collections import defaultdict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import TypeVar

from exportfs.did_you_mean import nearest
from exportfs.errors import InvalidArgument
from exportfs.naming import legal_name, same_key, tag, with_suffix
from exportfs.site import Agent, Archive, Camera

T = TypeVar("T")

_CANDIDATES = 5
"""Named in an error; more would bury the sentence."""


def directory_names(cameras: Iterable[Camera]) -> dict[str, str]:
    """Name of each camera's directory, by access point; all different.

    The label, made legal. Labels that are equal then (also but for case and Unicode normal form) each get `@NODE`, and
    where that is equal too, `~` and a tag of the access point. So a name depends on other cameras only where something
    is equal.
    """
    known = {camera.access_point: camera for camera in cameras}
    names = {point: legal_name(camera.label) for point, camera in known.items()}
    for point in _equal(names):
        names[point] = with_suffix(names[point], legal_name(f"@{known[point].node}"))
    # A label may itself end like that: then each equal name gets a tag, which no other access point has.
    for _ in range(3):
        for point in _equal(names):
            names[point] = with_suffix(names[point], f"~{tag(point)}")
    return names


def _equal(names: dict[str, str]) -> list[str]:
    """The access points whose names count as the same as another's."""
    groups = _grouped(names, lambda point: same_key(names[point]))
    return [point for group in groups.values() if len(group) > 1 for point in group]


K = TypeVar("K", bound=Hashable)


def _grouped(items: Iterable[T], key: Callable[[T], K]) -> dict[K, list[T]]:
    groups: dict[K, list[T]] = defaultdict(list)
    for item in items:
        groups[key(item)].append(item)
    return groups


def find_camera(text: str, named: Sequence[tuple[str, Camera]]) -> Camera:
    """The camera that a request means; `named` are the directories' names with their cameras.

    Label, display name, id, access point and directory's name count, exactly but for case and Unicode normal form.
    Raises InvalidArgument with the candidates where there are several, with the nearest names where there is none.
    """
    wanted = same_key(text.strip())
    found = [camera for name, camera in named if wanted in _words(name, camera)]
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidArgument(
            f"camera {text!r} is ambiguous: it may be {_listed(f'{c.label} ({c.access_point})' for c in found)};"
            " give one of these access points"
        )
    if not named:
        raise InvalidArgument(
            f"there is no camera {text!r}: the server names no cameras; give an access point"
        )
    # A part of a name is none, but near to it.
    parts = [name for name, camera in named if wanted and wanted in same_key(camera.label)]
    near = _nearest(text, (word for _, camera in named for word in (camera.label, camera.name)))
    near = _did_you_mean(parts[:3]) if parts else near
    raise InvalidArgument(f"there is no camera {text!r}; {near or 'see cameras/ for those that there are'}")


def _words(name: str, camera: Camera) -> set[str]:
    words = (name, camera.label, camera.name, camera.id, camera.access_point)
    return {same_key(word) for word in words if word}


def find_archive(text: str, camera: Camera) -> Archive:
    """The archive of a camera that a request means: by name or access point. Raises InvalidArgument."""
    wanted = same_key(text.strip())
    found = [one for one in camera.archives if wanted in (same_key(one.name), same_key(one.access_point))]
    if len(found) == 1:
        return found[0]
    if found:
        raise InvalidArgument(
            f"archive {text!r} of {camera.label} is ambiguous: it may be "
            f"{_listed(one.access_point for one in found)}; give one of these access points"
        )
    there = _listed(one.name or one.access_point for one in camera.archives)
    raise InvalidArgument(
        f"{camera.label} has no archive {text!r}"
        + (f"; it has {there}" if there else "; the server names none of it")
    )


def find_agent(text: str, agents: Sequence[Agent]) -> Agent:
    """The export agent that a request means: by name or access point. Raises InvalidArgument."""
    wanted = same_key(text.strip())
    found = [one for one in agents if wanted in (same_key(one.name), same_key(one.access_point))]
    if len(found) == 1:
        return found[0]
    there = _listed(f"{one.name} ({one.access_point})" for one in (found or agents))
    if found:
        raise InvalidArgument(f"export agent {text!r} is ambiguous: it may be {there}")
    raise InvalidArgument(
        f"there is no export agent {text!r}"
        + (f"; there is {there}" if there else ": the server names none; give an access point")
    )


def _nearest(text: str, words: Iterable[str]) -> str:
    left = dict.fromkeys(words)
    found: list[str] = []
    while len(found) < 3:
        word = nearest(text, left)
        if word is None:
            break
        found.append(word)
        del left[word]
    return _did_you_mean(found) if found else ""


def _did_you_mean(words: Sequence[str]) -> str:
    return f"did you mean {' or '.join(map(repr, words))}?"


def _listed(words: Iterable[str]) -> str:
    shown = list(words)
    more = len(shown) - _CANDIDATES
    return ", ".join(shown[:_CANDIDATES]) + (f" and {more} more" if more > 0 else "")
