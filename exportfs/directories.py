"""Users, and where the files of this one are: configuration, state, data. The one place that asks for a home directory,
which a user without an entry in the passwd database and without HOME does not have."""

import os
import pwd
from pathlib import Path

from exportfs.errors import ExportfsError
from exportfs.program import PROGRAM

APPLICATION = PROGRAM


def user_name(user_id: int) -> str | None:
    """None for a user without an entry in the passwd database."""
    try:
        return pwd.getpwuid(user_id).pw_name
    except KeyError:
        return None


class NoHomeDirectory(ExportfsError):
    """Nothing says where files of this user belong. The text says what to set."""


def home() -> Path:
    """The home directory, which may not exist. Raises NoHomeDirectory."""
    place = os.environ.get("HOME", "")
    if not os.path.isabs(place):
        try:
            place = pwd.getpwuid(os.getuid()).pw_dir
        except KeyError:
            place = ""
    if not os.path.isabs(place):
        raise NoHomeDirectory(
            f"the user with the id {os.getuid()} has no home directory: set HOME, or XDG_STATE_HOME and "
            "XDG_CONFIG_HOME, to directories that this user can write"
        )
    return Path(place)


def config_directory() -> Path:
    """`~/.config/axxon-exportfs`, or where XDG_CONFIG_HOME says. Raises NoHomeDirectory."""
    return config_home() / APPLICATION


def config_home() -> Path:
    """`~/.config`, or where XDG_CONFIG_HOME says. Raises NoHomeDirectory."""
    return _base("XDG_CONFIG_HOME", ".config")


def state_directory() -> Path:
    """`~/.local/state/axxon-exportfs`, or where XDG_STATE_HOME says: what must outlive a restart. Raises
    NoHomeDirectory."""
    return state_home() / APPLICATION


def state_home() -> Path:
    """`~/.local/state`, or where XDG_STATE_HOME says. Raises NoHomeDirectory."""
    return _base("XDG_STATE_HOME", ".local/state")


def data_home() -> Path:
    """`~/.local/share`, or where XDG_DATA_HOME says. Raises NoHomeDirectory."""
    return _base("XDG_DATA_HOME", ".local/share")


def _base(variable: str, below_home: str) -> Path:
    # A relative path is to be ignored (XDG base directory specification).
    place = os.environ.get(variable, "").strip()
    return Path(place) if os.path.isabs(place) else home() / below_home


def expanded(path: Path) -> Path:
    """With the home directory for a leading `~`. Raises NoHomeDirectory, or for `~NAME` of an unknown user."""
    if path.parts[:1] == ("~",):
        return home().joinpath(*path.parts[1:])
    try:
        return path.expanduser()
    except RuntimeError:
        raise NoHomeDirectory(f"{path}: there is no user {path.parts[0][1:]} here") from None


def current_umask() -> int:
    """Of this process. It can only be read by setting it: for a moment it is 077."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
