"""Whose file is whose, where each camera has files of its own."""

import re
from collections.abc import Sequence

from exportfs.coverage.asked import Asked
from exportfs.model import ResultFile


def by_camera(asked: Asked, files: Sequence[ResultFile]) -> dict[str, list[ResultFile]] | None:
    """Files that together are to hold the interval, by a name for their source; None where it cannot be told."""
    if not asked.discrete or len(asked.sources) < 2:
        return {"": list(files)}
    named = _by_name(asked.sources, files)
    if named is not None:
        return named
    if len(files) == len(asked.sources):
        return {f"file {number} of {len(files)}": [file] for number, file in enumerate(files, 1)}
    return None


def _by_name(sources: Sequence[str], files: Sequence[ResultFile]) -> dict[str, list[ResultFile]] | None:
    """By the camera's name in the file id; None unless every file names exactly one camera, and all are named."""
    names = [_camera(source) for source in sources]
    if len(set(names)) != len(names):
        return None
    groups: dict[str, list[ResultFile]] = {name: [] for name in names}
    for file in files:
        last = re.split(r"[/\\]", file.path)[-1]
        fitting = [name for name in names if _names(last, name)]
        if len(fitting) != 1:
            return None
        groups[fitting[0]].append(file)
    return groups if all(groups.values()) else None


def _names(file: str, camera: str) -> bool:
    """Whether a file's name holds a camera's: `DeviceIpint.1`, but not `DeviceIpint.10`."""
    return re.search(rf"(?<![0-9A-Za-z]){re.escape(camera)}(?![0-9A-Za-z])", file) is not None


def _camera(source: str) -> str:
    """`DeviceIpint.1` of `hosts/Server/DeviceIpint.1/SourceEndpoint.video:0:0`."""
    parts = [part for part in source.removeprefix("hosts/").split("/") if part]
    return parts[1] if len(parts) > 2 else parts[-1] if parts else source


def sources_without_file(asked: Asked, files: Sequence[ResultFile]) -> str:
    """A sentence where there are fewer files than cameras that were to have one; else empty."""
    count = len(asked.sources)
    if not asked.discrete or len(files) >= count:
        return ""
    last = [re.split(r"[/\\]", file.path)[-1] for file in files]
    absent = [name for name in map(_camera, asked.sources) if not any(_names(one, name) for one in last)]
    which = f": there is none of {', '.join(absent)}" if len(absent) == count - len(files) else ""
    files_there = "is one file" if len(files) == 1 else f"are {len(files)} files"
    return f"a file for each of {count} cameras was asked for, and there {files_there}{which}"
