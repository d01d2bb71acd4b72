"""The one table from our errors to errno."""

import errno

from exportfs.errors import (
    AccessDenied,
    BadHandle,
    Busy,
    Exists,
    ExportfsError,
    Gone,
    InvalidArgument,
    IsADirectory,
    NoAttribute,
    NoSpace,
    NotADirectory,
    NotEmpty,
    NotFound,
    NotPermitted,
    ReadOnly,
    TimedOut,
    TooLarge,
    Unreachable,
    Unsupported,
    Unwanted,
)

ERRNOS: dict[type[ExportfsError], int] = {
    InvalidArgument: errno.EINVAL,
    AccessDenied: errno.EACCES,
    Busy: errno.EBUSY,
    NotFound: errno.ENOENT,
    Gone: errno.ESTALE,
    Unsupported: errno.EOPNOTSUPP,
    TimedOut: errno.ETIMEDOUT,
    Unreachable: errno.ENOTCONN,
    ReadOnly: errno.EROFS,
    NotPermitted: errno.EPERM,
    Exists: errno.EEXIST,
    NotADirectory: errno.ENOTDIR,
    IsADirectory: errno.EISDIR,
    NotEmpty: errno.ENOTEMPTY,
    TooLarge: errno.EFBIG,
    NoSpace: errno.ENOSPC,
    NoAttribute: errno.ENODATA,
    BadHandle: errno.EBADF,
    Unwanted: errno.EAGAIN,
    ExportfsError: errno.EIO,
}


def errno_of(error: ExportfsError) -> int:
    """The errno of an error: that of its class, or of the nearest base that has one."""
    return next(ERRNOS[kind] for kind in type(error).__mro__ if kind in ERRNOS)
