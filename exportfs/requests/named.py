"""Names in a request where access points belong: which there are, and the request with what they mean.

Who knows what they mean is not of this room.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from exportfs.requests.collect import Collector
from exportfs.requests.parse import Request, read_text
from exportfs.requests.positions import Path
from exportfs.requests.problems import RequestError
from exportfs.requests.summary import read_options, summarize

CAMERA, ARCHIVE, AGENT = "camera", "archive", "agent"
_AGENT_FIELDS = ("export_agent_access_point", "exportAgentAccessPoint")


@dataclass(frozen=True, slots=True)
class Named:
    """A text that may be a name: it does not look like an access point."""

    kind: str
    """`camera`, `archive` or `agent`."""
    text: str
    path: Path
    """Of the field in the Options, such as `archive sources 0 storages 1`."""
    origin: str = ""
    """Of an archive: what the request gives as the camera, a name or an access point."""


def looks_like_access_point(text: str) -> bool:
    """Whether a text can only be meant as an access point: those are sent as they are (observed form)."""
    return text.startswith("hosts/")


def named_in(request: Request) -> tuple[Named, ...]:
    """All names in a request, cameras before their archives."""
    message = read_options(request.options)
    mode = message.WhichOneof("mode")
    found: list[Named] = []
    for index, source in enumerate(getattr(message, mode).sources if mode else ()):
        where: Path = (mode, "sources", index)
        if not looks_like_access_point(source.origin):
            found.append(Named(CAMERA, source.origin, (*where, "origin")))
        for place, storage in enumerate(getattr(source, "storages", ())):
            if not looks_like_access_point(storage):
                found.append(Named(ARCHIVE, storage, (*where, "storages", place), source.origin))
    agent = message.export_agent_access_point
    if agent and not looks_like_access_point(agent):
        found.append(Named(AGENT, agent, (_AGENT_FIELDS[0],)))
    return tuple(found)


def with_access_points(request: Request, points: Mapping[Named, str]) -> Request:
    """The request with what its names mean; what is not in `points` stays as it is."""
    message = read_options(request.options)
    for named, point in points.items():
        _set(message, named.path, point)
    options: bytes = message.SerializeToString(deterministic=True)
    digest = hashlib.sha256(options).hexdigest()
    return replace(request, options=options, digest=digest, summary=summarize(options))


def refusal(request: Request, content: bytes, named: Named, message: str) -> RequestError:
    """The error for a name that means nothing, with the place where it stands in the request's text."""
    found = Collector(None)
    paths = [(field,) for field in _AGENT_FIELDS] if named.kind == AGENT else [named.path]
    text = read_text(content)
    errors = []
    for path in paths:
        found = Collector(None)
        found.add((*request.where, *path), message)
        try:
            found.raise_for(text)
        except RequestError as error:
            errors.append(error)
    # Of two spellings of one field the one that is there.
    return next((error for error in errors if error.problems[0].line is not None), errors[0])


def _set(message: Any, path: Path, value: str) -> None:
    *steps, last = path
    for step in steps:
        message = message[step] if isinstance(step, int) else getattr(message, step)
    if isinstance(last, int):
        message[last] = value
    else:
        setattr(message, last, value)
