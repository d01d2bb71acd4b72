"""What can go wrong, in the filesystem's own terms. `str()` of each is a sentence for people.

The errno of each stands in one table, `exportfs/fuse/errnos.py`; the gRPC status that becomes each in one
table, `exportfs/rpc/status.py`. Nothing here knows of either.
"""

from collections.abc import Sequence


class ExportfsError(Exception):
    """Base of all errors raised on purpose. An instance of the base itself means: input/output error."""

    status: str | None = None
    """The name of the status with which the server answered, for counting; None where it did not."""


class InvalidArgument(ExportfsError):
    """The request is wrong and will stay wrong."""


class OutOfRange(InvalidArgument):
    """There is nothing at this place, and there never was or no longer is."""


class AccessDenied(ExportfsError):
    """The server does not let this user do it, or the login failed."""


class Unauthenticated(AccessDenied):
    """The token was refused; a fresh login may mend it. `credentials` are the ones that were refused."""

    credentials: Sequence[tuple[str, str]] = ()


class Busy(ExportfsError):
    """Not now: the server is at a limit, or the session is in a state that does not allow it."""


class Exhausted(Busy):
    """The server is at a limit, which passes."""


class NotFound(ExportfsError):
    """There is no such thing."""


class Gone(ExportfsError):
    """What is held open no longer exists on the server."""


class Unsupported(ExportfsError):
    """The server does not offer it."""


class TimedOut(ExportfsError):
    """Nothing moved for as long as we are allowed to wait."""


class Unreachable(ExportfsError):
    """The server cannot be reached."""


class NotSent(Unreachable):
    """The request certainly did not reach the server: no connection could be made."""


class NotProcessed(NotSent):
    """The server turned the request away before it looked at it, so it may be sent again at once."""


class Interrupted(ExportfsError):
    """The connection or the server broke off; what was asked for may or may not have happened."""


class Corrupt(ExportfsError):
    """The server sent what cannot be right: a lost, short or misnumbered block, an early end."""


class Unwanted(ExportfsError):
    """Not a failure: what the kernel has asked for by itself is wanted by nobody. No program sees it."""


class ReadOnly(ExportfsError):
    """The mount, or this part of it, changes nothing."""


class NotPermitted(ExportfsError):
    """The tree does not allow this operation here."""


class Exists(ExportfsError):
    """The name is taken."""


class NotADirectory(ExportfsError):
    """A directory was needed."""


class IsADirectory(ExportfsError):
    """Something other than a directory was needed."""


class NotEmpty(ExportfsError):
    """A directory that holds something cannot be removed."""


class TooLarge(ExportfsError):
    """More than a request may hold."""


class NoSpace(ExportfsError):
    """No room for more in this mount's memory."""


class NoAttribute(ExportfsError):
    """There is no such extended attribute."""


class BadHandle(ExportfsError):
    """The file is not open, or not open for this."""
