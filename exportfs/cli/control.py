"""`stop` and `destroy`: a word written to the session's `.control`."""

import os
from collections.abc import Iterable
from pathlib import Path

import click

from exportfs.cli.failures import Failure, complain, sentence
from exportfs.cli.options import PATHS
from exportfs.cli.sessions import CONTROL, locate
from exportfs.cli.text import on_terminal, printable
from exportfs.errors import ExportfsError


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
@PATHS
def stop(paths: tuple[Path, ...]) -> int:
    """Stop running exports; what they have so far is kept.

    PATH is a session's directory, or its link in new/.
    """
    return _tell_all(_located(paths), "stop", "stopped")


@click.command(short_help="Delete export sessions and their results on the server.")
@PATHS
@click.option("--yes", is_flag=True, help="Do not ask, even on a terminal.")
def destroy(paths: tuple[Path, ...], yes: bool) -> int:
    """Delete export sessions and their results on the server.

    PATH is a session's directory, or its link in new/. On a terminal it asks first. It prints the name of
    each session that it destroyed. What was copied elsewhere stays there.
    """
    located = _located(paths)
    directories = [item for item in located if isinstance(item, Path)]
    if directories and not yes and on_terminal():
        for directory in directories:
            click.echo(f"  {printable(directory.name)}", err=True)
        count = "this session" if len(directories) == 1 else f"these {len(directories)} sessions"
        if not click.confirm(f"Delete {count} and the results on the server?", err=True):
            raise Failure("nothing was destroyed")
    return _tell_all(located, "destroy", "destroyed")


def _located(paths: Iterable[Path]) -> list[Path | Exception]:
    """Each session once, and what is wrong with the other paths."""
    found: dict[Path, None] = {}
    wrong: list[Path | Exception] = []
    for path in paths:
        try:
            found[locate(path)] = None
        except (OSError, ExportfsError) as error:
            wrong.append(error)
    return [*found, *wrong]


def _tell_all(items: Iterable[Path | Exception], verb: str, done: str) -> int:
    """A failure with one session does not keep the others from being told."""
    code = 0
    for item in items:
        try:
            if isinstance(item, Exception):
                raise item
            tell(item, verb)
        except OSError as error:
            complain(sentence(error))
            code = 1
        except ExportfsError as error:
            complain(str(error))
            code = 1
        else:
            assert isinstance(item, Path)
            click.echo(f"{done} {printable(item.name)}")
    return code
