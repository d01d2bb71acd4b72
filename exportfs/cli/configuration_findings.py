"""What `doctor` finds in the configuration file, and in the password files that it names."""

import os
from collections.abc import Iterator
from pathlib import Path

from exportfs.cli import configuration
from exportfs.cli.server import read_password_file
from exportfs.directories import NoHomeDirectory
from exportfs.doctor.finding import Finding
from exportfs.doctor.machine import Machine
from exportfs.errors import ExportfsError
from exportfs.program import quoted


def configuration_findings(machine: Machine) -> Iterator[Finding]:
    """Nothing where there is no file."""
    try:
        path = machine.configuration_directory() / "config.toml"
    except NoHomeDirectory:
        return  # said already
    try:
        config = configuration.load(path)
    except FileNotFoundError:
        return
    except ExportfsError as error:
        yield Finding(False, "configuration", str(error), f"correct {path}")
        return
    except OSError as error:
        yield Finding(False, "configuration", f"{path}: {error.strerror}", f"make {path} readable for you")
        return
    yield Finding(True, "configuration", f"{path}, profiles: {', '.join(config.profiles) or 'none'}")
    places = {table.get("password_file") for table in (config.defaults, *config.profiles.values())}
    for place in sorted(place for place in places if isinstance(place, Path)):
        yield _password_file(place)


def _password_file(path: Path) -> Finding:
    title = "password file"
    try:
        status = path.stat()
    except OSError as error:
        return Finding(False, title, f"{path}: {error.strerror}", "create it, or correct `password-file`")
    if status.st_mode & 0o077:
        return Finding(False, title, f"other users can read {path}", f"chmod 600 {quoted(path)}")
    if not os.access(path, os.R_OK):
        return Finding(False, title, f"{path} is not readable by you", f"chown {os.geteuid()} {quoted(path)}")
    try:
        read_password_file(path)
    except ExportfsError as error:
        return Finding(False, title, str(error), f"write the password into {path} anew")
    return Finding(True, title, str(path))
