"""What `fetch` got into a folder before, so that a command that is repeated exports nothing twice."""

import json
from contextlib import suppress
from pathlib import Path

from exportfs.client.sessions import SessionRecord, locate
from exportfs.errors import NotFound

MEMORY = ".axxon-exportfs-fetch.json"
"""In DEST: which request became which folder, by the request's digest."""


def started_before(mountpoint: Path, request: str) -> Path | None:
    """The session that this request (its name in `new/`, without `.json`) started, if it is still on the server.

    Raises OSError where the mount does not answer.
    """
    link = mountpoint / "new" / request
    if not link.is_symlink():
        return None
    with suppress(NotFound):
        return locate(link)
    return None


def fetched_before(dest: Path, digest: str) -> Path | None:
    """The folder below `dest` that holds what the request with this digest asked for, whole."""
    name = _memory(dest).get(digest)
    folder = dest / str(name)
    return folder if name and (folder / "manifest.json").is_file() else None


def remember_fetched(dest: Path, digest: str, record: SessionRecord) -> None:
    """Notes that the session's results are in `dest`, all of them. Raises OSError."""
    memory = {**_memory(dest), digest: record.name}
    beside = dest / f"{MEMORY}.part"
    beside.write_text(json.dumps(memory, indent=1) + "\n")
    beside.replace(dest / MEMORY)


def _memory(dest: Path) -> dict[str, object]:
    try:
        memory = json.loads((dest / MEMORY).read_bytes())
    except (OSError, ValueError):
        return {}
    return memory if isinstance(memory, dict) else {}
