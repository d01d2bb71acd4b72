"""The configuration file with its profiles. The reference for people is docs/configuration.md.

Precedence, highest first: command line, environment (the password alone), profile, `[defaults]`, built-in.
"""

import difflib
import math
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from exportfs.cli.values import duration, size
from exportfs.directories import NoHomeDirectory, config_directory, expanded
from exportfs.errors import InvalidArgument

__all__ = ["KEYS", "Configuration", "ConfigurationError", "default_path", "duration", "load", "size"]

APPLICATION = "axxon-exportfs"
LOG_LEVELS = ("debug", "info", "warning", "error")
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
    try:
        document = tomllib.loads(content.decode())
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
    for key, value in table.items():
        where = f"{place}: {title}"
        if key.lower() in _SECRETS:
            raise ConfigurationError(
                f"{where}: `{key}` does not belong in this file: put it into a file that only you can read "
                "and name that with `password-file`"
            )
        if key not in KEYS:
            raise ConfigurationError(f"{where}: {_unknown(key, KEYS, 'key')}")
        try:
            converted = KEYS[key](value)
        except (TypeError, ValueError) as error:
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


def _text(value: object) -> str:
    if not isinstance(value, str) or not value or not value.isprintable():
        raise ValueError(f"{value!r} is no text: write it in quotes, on one line")
    return value


def _path(value: object) -> Path:
    return Path(_text(value))


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def _level(value: object) -> str:
    if not isinstance(value, str) or value not in LOG_LEVELS:
        raise ValueError(f"{value!r} is none of {', '.join(LOG_LEVELS)}")
    return value


def _number(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{value!r} is no number from 1")
    return value


def _size(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f'{value!r} is no size: write "256M"')
    return size(value)


def _seconds(smallest: float) -> Callable[[object], float]:
    def convert(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float | str):
            raise ValueError(f'{value!r} is no duration: write seconds or "10m"')
        seconds = duration(value)
        if not math.isfinite(seconds) or seconds < smallest:
            raise ValueError(f"{value!r} is too short: {smallest:g} seconds at least")
        return seconds

    return convert


KEYS: dict[str, Callable[[object], object]] = {
    "server": _text,
    "user": _text,
    "password-file": _path,
    "ca-file": _path,
    "tls-server-name": _text,
    "insecure": _flag,
    "agent": _text,
    "read-only": _flag,
    "allow-other": _flag,
    "log-file": _path,
    "log-level": _level,
    "refresh": _seconds(0.1),
    "timeout": _seconds(0.1),
    "keep-alive": _seconds(0),
    "cache-size": _size,
    "max-downloads": _number,
    "mountpoint": _path,
}
"""Every key, with what makes a value of it (ValueError with a sentence where it cannot)."""
