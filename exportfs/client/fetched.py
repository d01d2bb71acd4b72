"""What `fetch` got into a folder before, so that a command that is repeated exports nothing twice."""

import json
from contextlib import suppress
from pathlib import Path

from exportfs.client.asking import ask
from exportfs.client.hand_over import BAG, PAYLOAD
from exportfs.client.manifest import MANIFEST, SIGNATURES
from exportfs.client.sessions import SessionRecord, locate
from exportfs.errors import NotFound

MEMORY = ".axxon-exportfs-fetch.json"
"""In DEST: which request became which folder, by the request's digest."""


def started_before(mountpoint: Path, request: str) -> Path | None:
    """The session that this request (its name in `new/`, without `.json`) started, if it is still on the server.

    Raises OSError where the mount does not answer.
    """
    link = mountpoint / "new" / request
    if not ask(link, link.is_symlink):
        return None
    with suppress(NotFound):
        return locate(link)
    return None


def fetched_before(dest: Path, digest: str) -> Path | None:
    """The folder below `dest` that holds what the request with this digest asked for, whole."""
    name = _memory(dest).get(digest)
    folder = dest / str(name)
    return folder if name and (_payload(folder) / MANIFEST).is_file() else None


def lacking(folder: Path, *, bag: bool, signed: bool) -> str:
    """What is asked for now and was not when the folder was fetched, in words; empty where nothing is."""
    if bag and not (folder / BAG).is_file():
        return "not as a bag"
    if signed and not any((_payload(folder) / name).is_file() for name in SIGNATURES):
        return "not signed"
    return ""


def missing_footage(folder: Path) -> list[str]:
    """The warnings of what was fetched before: its footage stays missing however often one asks."""
    try:
        session = json.loads((_payload(folder) / MANIFEST).read_bytes())["session"]
        return [str(line) for line in (session["coverage"] or {})["warnings"]]
    except (OSError, ValueError, LookupError, TypeError):
        return []


def remember_fetched(dest: Path, digest: str, record: SessionRecord) -> None:
    """Notes that the session's results are in `dest`, all of them. Raises OSError."""
    memory = {**_memory(dest), digest: record.name}
    beside = dest / f"{MEMORY}.part"
    beside.write_text(json.dumps(memory, indent=1) + "\n")
    beside.replace(dest / MEMORY)


def _payload(folder: Path) -> Path:
    """Where results and manifest are: in a bag one level down."""
    return folder / PAYLOAD if (folder / BAG).is_file() else folder


def _memory(dest: Path) -> dict[str, object]:
    try:
        memory = json.loads((dest / MEMORY).read_bytes())
    except (OSError, ValueError):
        return {}
    return memory if isinstance(memory, dict) else {}
