"""`setup`: what the system has to know of this program, installed and removed."""

import os
from pathlib import Path

import click

from exportfs.cli.install.files import our_command, packaged, places, things, updatedb
from exportfs.cli.install.installing import Record, Trouble, describe, install, remove
from exportfs.cli.install.trust import changeable_by_others, parts_of_this_program
from exportfs.cli.terminal.output import printable
from exportfs.errors import ExportfsError
from exportfs.program import PROGRAM


@click.command(short_help="Install mount helper, units, completions and man page, or remove them.")
@click.option("--undo", is_flag=True, help="Remove exactly what was installed.")
@click.option("--dry-run", is_flag=True, help="Print what would be done without doing it.")
@click.option(
    "--system/--user",
    "for_system",
    default=None,
    help="For all users (as root), or for yourself. Default: --system as root, else --user.",
)
@click.option(
    "--root",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=None,
    help="Install below this directory, for packagers.",
)
def setup(undo: bool, dry_run: bool, for_system: bool | None, root: Path | None) -> int:
    """Install mount helper, units, completions and man page, or remove them.

    With --system: the mount helper for /etc/fstab, systemd units for the system and for users, shell completions,
    the man page, and an exception for updatedb. With --user: the unit, completions and man page of the user alone.
    Files that are there already and are not ours are left as they are. It prints each thing that it does.

    --system is refused to an installation that others than root can change, such as a user's pipx: units and helper
    run it as root.
    """
    for_system = os.geteuid() == 0 if for_system is None else for_system
    where = places(for_system, root.absolute() if root is not None else Path("/"))
    record = Record.load(where.record)
    troubles: list[str] = []

    def say(what: str, trouble: bool = False) -> None:
        click.echo(printable(what), err=trouble)
        if trouble:
            troubles.append(what)

    if undo:
        if not record.files and not record.edits:
            say("nothing is installed")
        remove(record, say, dry_run=dry_run)
        return 1 if troubles else 0
    if (
        for_system
        and where.root == Path("/")
        and (open_to := changeable_by_others(parts_of_this_program(our_command())))
    ):
        raise ExportfsError(
            f"{open_to}, and root would run it: install the program for the whole machine, where only root can write "
            f"(python3 -m venv /opt/{PROGRAM}; see docs/fstab.md), and run its `setup`; or use --user"
        )
    of_package = for_system and where.root == Path("/") and packaged()
    if of_package:
        say("the package has installed the mount helper, units, completions and man page")
    for thing in () if of_package else things(where):
        try:
            install(thing, record, say, dry_run=dry_run)
        except Trouble as error:
            say(str(error), trouble=True)
    if for_system:
        updatedb(where, record, say, dry_run=dry_run)
    if not dry_run and not troubles:
        describe(where, say)
    return 1 if troubles else 0
