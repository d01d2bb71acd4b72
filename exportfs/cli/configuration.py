"""The configuration file with its profiles. The reference for people is docs/configuration.md.

Precedence, highest first: command line, environment (the password alone), profile, `[defaults]`, built-in.
"""

import difflib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exportfs.cli.encodings import BYTE_ORDER_MARK, UTF_16
from exportfs.cli.params.mount_options import profile_keys, profile_value
from exportfs.directories import NoHomeDirectory, config_directory, expanded
from exportfs.errors import InvalidArgument
from exportfs.program import PROGRAM

APPLICATION = PROGRAM
_SECRETS = {"password", "passwd", "passphrase", "secret", "token"}


class ConfigurationError(InvalidArgument):
    """The file cannot be used; says which file, which table and what to write instead."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What the file says. Keys are the parameter names of the command line (`password_file`), values have
    their types: Path, bool, bytes as int, seconds as float, str."""

    path: Path | None = None
    """The file that was read; None where there is none."""
    defaults: Mapping[str, object] = field(default_factory=dict)
    profiles: Mapping[str, Mapping[str, object]] = field(default_factory=dict)

    def profile(self, name: str | None) -> dict[str, object] | None:
        """The profile over the defaults; the defaults alone for no name; None where there is no such one."""
        if name is None:
            return dict(self.defaults)
        if name not in self.profiles:
            return None
        return {**self.defaults, **self.profiles[name]}


def default_path() -> Path:
    """`~/.config/axxon-exportfs/config.toml`, or where XDG_CONFIG_HOME says. Raises NoHomeDirectory."""
    return config_directory() / "config.toml"


def load(path: Path | None = None) -> Configuration:
    """Read and check the file, all of it. Without a path: the default one, which need not be there.

    ConfigurationError for what is wrong in it, OSError where it cannot be read.
    """
    try:
        place = default_path() if path is None else path
    except NoHomeDirectory:
        return Configuration()
    try:
        content = place.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        if path is None:
            return Configuration()
        raise
    if content.startswith(UTF_16):
        raise ConfigurationError(f"{place}: is UTF-16: save it as UTF-8")
    try:
        # Editors of Windows put a byte order mark in front.
        document = tomllib.loads(content.decode().removeprefix(BYTE_ORDER_MARK))
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{place}: not UTF-8 at byte {error.start}") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigurationError(f"{place}: not TOML: {error}") from error
    return _check(place, document)


def _check(place: Path, document: dict[str, Any]) -> Configuration:
    for name in document:
        if name not in ("defaults", "profile"):
            raise ConfigurationError(
                f"{place}: {_unknown(name, ('defaults', 'profile'), 'table')} "
                "(there are [defaults] and [profile.NAME])"
            )
    defaults = _table(place, "[defaults]", document.get("defaults", {}))
    profiles = document.get("profile", {})
    if not isinstance(profiles, dict):
        raise ConfigurationError(f"{place}: `profile` must hold tables: write [profile.NAME]")
    checked = {name: _table(place, f"[profile.{name}]", table) for name, table in profiles.items()}
    return Configuration(place, defaults, checked)


def _table(place: Path, title: str, table: object) -> dict[str, object]:
    if not isinstance(table, dict):
        raise ConfigurationError(f"{place}: {title} must be a table")
    result: dict[str, object] = {}
    keys = profile_keys()
    for key, value in table.items():
        where = f"{place}: {title}"
        if key.lower() in _SECRETS:
            raise ConfigurationError(
                f"{where}: `{key}` does not belong in this file: put it into a file that only you can read "
                "and name that with `password-file`"
            )
        if key not in keys:
            raise ConfigurationError(f"{where}: {_unknown(key, keys, 'key')}")
        try:
            converted = profile_value(keys[key], value)
        except ValueError as error:
            raise ConfigurationError(f"{where}: `{key}`: {error}") from error
        if isinstance(converted, Path):
            try:
                converted = place.absolute().parent / expanded(converted)
            except NoHomeDirectory as error:
                raise ConfigurationError(f"{where}: `{key}`: {error}") from error
        result[key.replace("-", "_")] = converted
    return result


def _unknown(name: str, known: Iterable[str], what: str) -> str:
    near = difflib.get_close_matches(name.lower().replace("_", "-"), list(known), n=1, cutoff=0)
    return f"unknown {what} `{name}`; the nearest known one is `{near[0]}`"
