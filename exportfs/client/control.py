"""Stopping and destroying sessions: a word written to their `.control`."""

import contextlib
import os
from pathlib import Path

from exportfs.client.asking import MountSilent, ask, open_there
from exportfs.client.sessions import read_session
from exportfs.errors import InvalidArgument
from exportfs.record import CONTROL, ENDED


def stop(directory: Path) -> tuple[bool, str]:
    """Stops a running export; what it has so far are its results.

    Whether there was anything to stop (one that has ended is left as it is), and its state afterwards: `running` where
    the mount does not know of the end yet. Raises OSError with the errno of the mount's answer, InvalidArgument where
    there is no session.
    """
    state = read_session(directory).state
    if state in ENDED:
        return False, state
    write_verb(directory, "stop")
    with contextlib.suppress(OSError, InvalidArgument, MountSilent):
        state = read_session(directory).state
    return True, state


def destroy(directory: Path) -> None:
    """Deletes a session and its results on the server, for everybody. Raises OSError with the errno of the mount's
    answer."""
    write_verb(directory, "destroy")


def write_verb(directory: Path, verb: str) -> None:
    """Writes to the control file. OSError with the errno of the mount's answer, MountSilent where there is none."""
    path = directory / CONTROL
    # Not created where it is not there: then this is not a session.
    descriptor = open_there(path, os.O_WRONLY)
    try:
        ask(directory, lambda: _write_and_close(descriptor, verb))
    except OSError as error:
        error.filename = os.fspath(directory)
        raise
    except MountSilent as error:
        raise MountSilent(f"{error}; whether it will {verb} {directory.name} is unknown") from None


def _write_and_close(descriptor: int, verb: str) -> None:
    try:
        os.write(descriptor, f"{verb}\n".encode())
    except OSError:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        raise
    os.close(descriptor)
