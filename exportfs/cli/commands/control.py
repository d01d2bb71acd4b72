"""`stop` and `destroy`: a word written to the session's `.control`."""

import contextlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from exportfs.cli.failures import Failure, complain
from exportfs.cli.params.arguments import SESSIONS
from exportfs.cli.params.session_names import find_session
from exportfs.cli.terminal.text import on_terminal, printable
from exportfs.client.sessions import COMPLETED, CONTROL, ENDED, read_session
from exportfs.errors import ExportfsError, InvalidArgument
from exportfs.os_errors import sentence


def tell(directory: Path, verb: str) -> None:
    """Write the verb to the control file. OSError with the errno of the mount's answer."""
    path = directory / CONTROL
    # Not created where it is not there: then this is no session.
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, f"{verb}\n".encode())
    except OSError as error:
        error.filename = os.fspath(directory)
        os.close(descriptor)
        raise
    try:
        os.close(descriptor)
    except OSError as error:
        error.filename = os.fspath(directory)
        raise


@click.command(short_help="Stop running exports; what they have so far is kept.")
@SESSIONS
def stop(paths: tuple[Path, ...]) -> int:
    """Stop running exports; what they have so far is kept.

    SESSION is a session's name as `status` shows it, its directory, or its link in new/. It prints the name of each
    session that it stopped; one that has ended already is left as it is, which is said and is no error.
    """
    return _for_each(_located(paths), _stop)


@click.command(short_help="Delete export sessions and their results on the server.")
@SESSIONS
@click.option("--yes", is_flag=True, help="Do not ask, even on a terminal.")
def destroy(paths: tuple[Path, ...], yes: bool) -> int:
    """Delete export sessions and their results on the server.

    SESSION is a session's name as `status` shows it, its directory, or its link in new/. On a terminal it asks first.
    It prints the name of each session that it destroyed. Copies elsewhere are not touched.
    """
    located = _located(paths)
    directories = [item for item in located if isinstance(item, Path)]
    if directories and not yes and on_terminal():
        for directory in directories:
            click.echo(f"  {printable(directory.name)}", err=True)
        count = "this session" if len(directories) == 1 else f"these {len(directories)} sessions"
        if not click.confirm(f"Delete {count} and the results on the server?", err=True):
            raise Failure("nothing was destroyed")
    return _for_each(located, _destroy)


def _located(paths: Iterable[Path]) -> list[Path | Exception]:
    """Each session once, and what is wrong with the other paths."""
    found: dict[Path, None] = {}
    wrong: list[Path | Exception] = []
    for path in paths:
        try:
            found[find_session(path)] = None
        except (OSError, ExportfsError) as error:
            wrong.append(error)
    return [*found, *wrong]


def _stop(directory: Path) -> None:
    """Says so where there is nothing to stop."""
    state = read_session(directory).state
    if state in ENDED:
        complain(f"{directory.name}: nothing to stop: its state is {state} already")
        return
    tell(directory, "stop")
    with contextlib.suppress(OSError, InvalidArgument):
        if read_session(directory).state == COMPLETED:
            complain(f"{directory.name}: it was completed before it could be stopped")
            return
    click.echo(f"stopped {printable(directory.name)}")


def _destroy(directory: Path) -> None:
    tell(directory, "destroy")
    click.echo(f"destroyed {printable(directory.name)}")


def _for_each(items: Iterable[Path | Exception], action: Callable[[Path], None]) -> int:
    """A failure with one session does not keep the others from their turn."""
    code = 0
    for item in items:
        try:
            if isinstance(item, Exception):
                raise item
            action(item)
        except OSError as error:
            complain(sentence(error))
            code = 1
        except ExportfsError as error:
            complain(str(error))
            code = 1
    return code
