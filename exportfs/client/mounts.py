"""The mounts of this machine, and what each says of itself."""

import errno
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exportfs.client.asking import MountSilent, ask
from exportfs.client.sessions import SessionRecord, read_session
from exportfs.directories import user_name
from exportfs.errors import ExportfsError
from exportfs.fuse.mountpoint import PROBE_TIMEOUT, MountEntry, mount_table, place_of, probe, top
from exportfs.os_errors import sentence
from exportfs.program import PROGRAM
from exportfs.record import STATUS

_SEE = f"see `{PROGRAM} status` for what is mounted"


@dataclass(frozen=True, slots=True)
class MountStatus:
    """One mount: its `.status.json` and its sessions, or why they cannot be read."""

    mountpoint: Path
    status: Mapping[str, Any] = field(default_factory=dict)
    sessions: tuple[SessionRecord, ...] = ()
    error: str = ""
    private_to: str = ""
    """Whose private mount it is, where it is another user's: only they can look in, and that is not an error."""

    def as_json(self) -> dict[str, Any]:
        return {
            "mountpoint": str(self.mountpoint),
            "status": dict(self.status) if self.status else None,
            "error": self.error or None,
            "private_to": self.private_to or None,
            "sessions": [{**record.raw, "path": str(record.directory)} for record in self.sessions],
        }


def read_mount(mountpoint: Path) -> MountStatus:
    """What the mount says now; never raises."""
    if probe(mountpoint) == errno.ETIMEDOUT:
        return MountStatus(mountpoint, error=f"{mountpoint}: does not answer; its process may be stopped")
    try:
        return ask(mountpoint, lambda: _read_mount(mountpoint))
    except MountSilent as error:
        return MountStatus(mountpoint, error=str(error))


def _read_mount(mountpoint: Path) -> MountStatus:
    try:
        status = json.loads((mountpoint / STATUS).read_bytes())
        if not isinstance(status, dict):
            raise ValueError("not an object")
    except FileNotFoundError:
        return MountStatus(mountpoint, error=f"{mountpoint}: no exportfs is mounted there; {_SEE}")
    except PermissionError as error:
        owner = private_to(mountpoint)
        return MountStatus(mountpoint, error="" if owner else sentence(error), private_to=owner)
    except OSError as error:
        return MountStatus(mountpoint, error=sentence(error))
    except ValueError as error:
        return MountStatus(mountpoint, error=f"{mountpoint / STATUS}: invalid JSON: {error}")
    try:
        sessions, trouble = _sessions(mountpoint / "sessions")
    except OSError as error:
        return MountStatus(mountpoint, status, error=sentence(error))
    return MountStatus(mountpoint, status, sessions, trouble)


def private_to(mountpoint: Path) -> str:
    """The user whose private mount is there, where that is not us; empty otherwise."""
    entry = top(place_of(mountpoint), mount_table())
    return owner_of(entry) if entry is not None and entry.private else ""


def owner_of(entry: MountEntry) -> str:
    """The name of the user who mounted it, or the id of one who has none; empty where the table does not say."""
    return "" if entry.user_id is None else user_name(entry.user_id) or str(entry.user_id)


def _sessions(folder: Path) -> tuple[tuple[SessionRecord, ...], str]:
    """All sessions by name, and what is wrong with one that could not be read."""
    records, trouble = [], ""
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries if entry.is_dir(follow_symlinks=False))
    for name in names:
        try:
            records.append(_record(folder / name))
        except OSError as error:
            trouble = sentence(error)
        except ExportfsError as error:
            trouble = str(error)
    return tuple(record for record in records if record is not None), trouble


def _record(directory: Path) -> SessionRecord | None:
    """None for one that went away since the listing."""
    try:
        return read_session(directory)
    except FileNotFoundError:
        return None


def server_address(session: Path) -> str:
    """The server that a session directory's mount shows; empty where the mount does not say."""
    try:
        status = json.loads(ask(session, (session.parent.parent / STATUS).read_bytes))
        address = status["server"]["address"]
    except (OSError, ValueError, KeyError, TypeError, MountSilent):
        return ""
    return address if isinstance(address, str) else ""


def mount_with(path: Path) -> Path | None:
    """The mount that a path is in, which need not be there. Raises MountSilent where one on the way does not
    answer."""
    places = usable_mounts()
    if not places:
        return None
    real = Path(ask(path, lambda: os.path.realpath(path)))
    return next((place for place in places if real.is_relative_to(place)), None)


def members(value: object) -> Iterable[Mapping[str, Any]]:
    """The objects of a JSON list; nothing for anything else."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def usable_mounts(*, own: bool = False) -> list[Path]:
    """Where exportfs is mounted, without the private mounts of other users, which the kernel keeps to them.

    own: without all mounts of other users.
    """
    table = mount_table()
    others = {entry.place for entry in table if entry.private or (own and entry.user_id != os.geteuid())}
    return list(dict.fromkeys(entry.place for entry in table if entry.ours and entry.place not in others))


def answering_mounts(within: float = PROBE_TIMEOUT) -> list[Path]:
    """Those of `usable_mounts` that can be used just now: their process is there, and answers in so many seconds."""
    return asked_mounts(within)[0]


def asked_mounts(within: float = PROBE_TIMEOUT) -> tuple[list[Path], list[Path]]:
    """`answering_mounts`, and those that have not answered yet: their process is stopped, or the machine is busy.

    One whose process is gone shows nothing, and is in neither.
    """
    answers = {mount: probe(mount, within) for mount in usable_mounts()}
    answering = [mount for mount, answer in answers.items() if not answer]
    return answering, [mount for mount, answer in answers.items() if answer == errno.ETIMEDOUT]
