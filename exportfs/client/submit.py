"""Dropping a request into `new/` of a mount."""

import contextlib
import errno
import os
import secrets
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import FrameType

from exportfs.client.asking import MountSilent, ask, open_there
from exportfs.client.request import Wish, check_name, default_name, request_text
from exportfs.errors import ExportfsError, InvalidArgument, NotFound
from exportfs.os_errors import sentence
from exportfs.program import quoted
from exportfs.record import NOTHING_SENT, PERHAPS_SENT_BEFORE, SENT_BEFORE

# After these the server has started nothing for certain, and the request can go.
_NOTHING_STARTED = frozenset(
    {
        errno.EINVAL,
        errno.EACCES,
        errno.EPERM,
        errno.ENOENT,
        errno.EOPNOTSUPP,
        errno.EFBIG,
        errno.EROFS,
        errno.EBUSY,
    }
)

_UNKNOWN = "unknown whether an export was started; the request is"


@contextlib.contextmanager
def interrupt_held_back() -> Iterator[None]:
    """Ctrl-C counts at the end of the block, where it raises `KeyboardInterrupt` as ever.

    The close of a request cannot be interrupted, and whoever presses Ctrl-C meanwhile must learn what it
    has started. The main thread only.
    """
    seen = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal seen
        seen = True

    before = signal.signal(signal.SIGINT, note)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if seen:
        raise KeyboardInterrupt


def export(mountpoint: Path, wish: Wish, *, name: str | None = None) -> Path:
    """Starts an export; its session's directory.

    name: of the request in new/, without `.json`; None: the camera, the start and something random. Raises
    InvalidArgument for wishes that do not go together and for a name that exists, ExportfsError with the mount's own
    sentence where no export was started, or where that is not known.
    """
    text = request_text(wish)
    stem = default_name(wish, secrets.token_hex(4)) if name is None else check_name(name)
    return submit(mountpoint, stem, text.encode())


def submit(mountpoint: Path, name: str, content: bytes, *, again: bool = False) -> Path:
    """Write `new/NAME.json`, whose close starts the export; the session's directory.

    again: the same request may be there already; writing it once more starts nothing.

    Fails with the mount's own sentence where the server refuses: the file is then removed again. After an
    error that leaves open whether something was started, it stays.
    """
    new = mountpoint / "new"
    if not ask(mountpoint, new.is_dir):
        raise NotFound(
            f"{mountpoint}: no exportfs is mounted there; first `axxon-exportfs mount SERVER {quoted(mountpoint)}`"
        )
    request = new / f"{name}.json"
    try:
        flags = os.O_TRUNC if again else os.O_EXCL
        descriptor = open_there(request, os.O_WRONLY | os.O_CREAT | flags)
    except FileExistsError:
        raise InvalidArgument(f"{request}: this request exists already; give another --name") from None
    try:
        ask(request, lambda: _write(descriptor, content))
    except OSError as error:
        raise ask(request, partial(_refusal, request, error, again=again)) from error
    except MountSilent as error:
        raise MountSilent(f"{error}; {_UNKNOWN} {request}") from None
    link = new / name
    try:
        return ask(link, lambda: link.resolve() if link.is_symlink() else _no_link(request))
    except OSError as error:
        raise ExportfsError(sentence(error)) from error


def _write(descriptor: int, content: bytes) -> None:
    """Write and close, once each: it is the close that counts."""
    rest = memoryview(content)
    try:
        while rest:
            rest = rest[os.write(descriptor, rest) :]
    except OSError:
        with contextlib.suppress(OSError):
            os.close(descriptor)
        raise
    os.close(descriptor)


def _refusal(request: Path, error: OSError, *, again: bool) -> ExportfsError:
    reason = ""
    with contextlib.suppress(OSError):
        reason = request.with_name(f"{request.name}.error").read_text(errors="replace").strip()
    error.filename = error.filename or os.fspath(request)
    text = reason or sentence(error)
    if NOTHING_SENT in reason and again:
        return ExportfsError(text)  # but perhaps when it was written before
    before = SENT_BEFORE in reason or PERHAPS_SENT_BEFORE in reason
    if NOTHING_SENT in reason or (error.errno in _NOTHING_STARTED and not before):
        with contextlib.suppress(OSError):
            request.unlink()
        return ExportfsError(f"no export was started: {text}")
    return ExportfsError(f"{text} ({_UNKNOWN} {request})")


def _no_link(request: Path) -> Path:
    raise ExportfsError(
        f"{request}: written, but no session was started: is {request.parent.parent} a mount of exportfs?"
    )
