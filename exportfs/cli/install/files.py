"""What `setup` installs, and where."""

import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import click
from click.shell_completion import get_completion_class

from exportfs import directories
from exportfs.cli import program, reference
from exportfs.cli.install.installing import Places, Record, Say, Thing, edit
from exportfs.fuse.mountpoint import FILESYSTEM_TYPE
from exportfs.program import PROGRAM

_PRUNEFS = re.compile(r'^(\s*PRUNEFS\s*=\s*")([^"]*)(")', re.MULTILINE)
_WATCHDOG_SECONDS = 60


def places(for_system: bool, root: Path) -> Places:
    """Of Debian and its kin. `root` goes before all of them."""
    if not for_system:
        if root == Path("/"):
            data, config = directories.data_home(), directories.config_home()
            state = directories.state_home()
        else:
            home = root / directories.home().relative_to("/")
            data, config, state = home / ".local/share", home / ".config", home / ".local/state"
        return Places(
            False,
            root,
            record=state / PROGRAM / "setup.json",
            helper=None,
            units=((False, config / "systemd/user"),),
            bash=data / "bash-completion/completions" / PROGRAM,
            zsh=data / "zsh/site-functions" / f"_{PROGRAM}",
            fish=config / "fish/completions" / f"{PROGRAM}.fish",
            man=data / "man/man1" / f"{PROGRAM}.1",
            updatedb=None,
        )
    return Places(
        True,
        root,
        record=root / "var/lib" / PROGRAM / "setup.json",
        helper=root / "sbin" / f"mount.{FILESYSTEM_TYPE}",
        units=((True, root / "etc/systemd/system"), (False, root / "etc/systemd/user")),
        bash=root / "usr/share/bash-completion/completions" / PROGRAM,
        zsh=root / "usr/share/zsh/vendor-completions" / f"_{PROGRAM}",
        fish=root / "usr/share/fish/vendor_completions.d" / f"{PROGRAM}.fish",
        man=root / "usr/local/share/man/man1" / f"{PROGRAM}.1",
        updatedb=root / "etc/updatedb.conf",
    )


def packaged() -> bool:
    """Whether this is the installation of the Debian package, which brings all the files."""
    return Path(sys.prefix) == Path("/usr/lib", PROGRAM)


def places_of_package(root: Path) -> Places:
    """Where a Debian package has them, below `root`. It keeps no record: that is dpkg's."""
    return replace(
        places(True, root),
        helper=root / "usr/sbin" / f"mount.{FILESYSTEM_TYPE}",
        units=((True, root / "usr/lib/systemd/system"), (False, root / "usr/lib/systemd/user")),
        man=root / "usr/share/man/man1" / f"{PROGRAM}.1",
        updatedb=None,
    )


def our_command() -> list[str]:
    """How this very installation is called, from anywhere."""
    beside = Path(sys.executable).with_name(PROGRAM)
    return [os.fspath(beside)] if beside.exists() else [sys.executable, "-m", "exportfs"]


def things(where: Places, command: Sequence[str] | None = None) -> Iterator[Thing]:
    """All files, with their content. `command` is how they call this program; this very installation unless given."""
    command = our_command() if command is None else command
    if where.helper is not None:
        yield Thing("the mount helper for mount(8) and /etc/fstab", where.helper, _helper(command), 0o755)
    for of_system, directory in where.units:
        title = f"the systemd unit for {'the system' if of_system else 'users'}"
        yield Thing(title, directory / f"{PROGRAM}@.service", unit(of_system, command))
    for shell, path in (("bash", where.bash), ("zsh", where.zsh), ("fish", where.fish)):
        yield Thing(f"completions for {shell}", path, completion(shell))
    yield Thing("the man page", where.man, reference.man())


def _helper(command: Sequence[str]) -> str:
    return f'#!/bin/sh\nexec {shlex.join(command)} mount-helper "$@"\n'


def completion(shell: str) -> str:
    """The script that click makes."""
    kind = get_completion_class(shell)
    assert kind is not None
    variable = f"_{PROGRAM.replace('-', '_').upper()}_COMPLETE"
    return kind(program, {}, PROGRAM, variable).source() + "\n"


def unit(of_system: bool, command: Sequence[str] | None = None) -> str:
    """A template: the instance is a profile of the configuration."""
    # systemd splits words by rules of its own; % and $ mean something to it.
    words = our_command() if command is None else command
    start = " ".join(f'"{word}"' for word in words).replace("%", "%%").replace("$", "$$")
    folder = f"/etc/{PROGRAM}" if of_system else f"%E/{PROGRAM}"
    place = "/mnt/axxon/%i" if of_system else "%h/axxon/%i"
    more = " --allow-other" if of_system else ""
    return f"""\
[Unit]
Description=Exports of the Axxon One server %i as a folder
Documentation=man:{PROGRAM}(1)
{"Wants=network-online.target" + chr(10) + "After=network-online.target" + chr(10) if of_system else ""}\
# Tried again for as long as it takes.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
# %i is a profile in {folder}/config.toml; its password is in {folder}/%i.password (mode 0600).
{"Environment=XDG_CONFIG_HOME=/etc XDG_STATE_HOME=/var/lib" + chr(10) if of_system else ""}\
LoadCredential=password:{folder}/%i.password
# Fails on what a crashed mount left there, which the next one replaces.
ExecStartPre=-/bin/mkdir -p {place}
ExecStart={start} mount %i {place} --foreground --password-file %d/password{more}
WatchdogSec={_WATCHDOG_SECONDS}
TimeoutStartSec=90
# SIGTERM is for the mount alone: it unmounts, and its fusermount3 must not die of it.
KillMode=mixed
Restart=on-failure
RestartSec=5
# 2: a wrong option of ExecStart=, which trying again does not mend.
RestartPreventExitStatus=2
# Nothing here that gives the service a file system namespace of its own: nobody else would see the mount.

[Install]
WantedBy={"multi-user.target" if of_system else "default.target"}
"""


def updatedb(where: Places, record: Record, say: Say, *, dry_run: bool) -> None:
    """`locate` must not read through every export at night."""

    def change(text: str) -> str | None:
        changed, count = _PRUNEFS.subn(rf"\g<1>\g<2> {FILESYSTEM_TYPE}\g<3>", text, count=1)
        return changed if count else None

    if where.updatedb is not None:
        try:
            edit(where.updatedb, FILESYSTEM_TYPE, change, record, say, dry_run=dry_run)
        except OSError as error:
            raise click.ClickException(f"{where.updatedb}: {error.strerror}") from None
