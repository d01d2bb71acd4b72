"""The one table from gRPC status to our errors, and the wording of what the server said."""

from collections.abc import Sequence

import grpc

from exportfs.errors import (
    AccessDenied,
    Busy,
    ExportfsError,
    Interrupted,
    InvalidArgument,
    NotFound,
    NotSent,
    OutOfRange,
    TimedOut,
    Unauthenticated,
    Unreachable,
    Unsupported,
)

_ERRORS: dict[grpc.StatusCode, type[ExportfsError]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.OUT_OF_RANGE: OutOfRange,
    grpc.StatusCode.PERMISSION_DENIED: AccessDenied,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.FAILED_PRECONDITION: Busy,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Busy,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.UNIMPLEMENTED: Unsupported,
    grpc.StatusCode.DEADLINE_EXCEEDED: TimedOut,
    grpc.StatusCode.UNAVAILABLE: Unreachable,
    # A reset of the stream shows as INTERNAL, a server's unforeseen error as UNKNOWN: both may pass.
    grpc.StatusCode.INTERNAL: Interrupted,
    grpc.StatusCode.UNKNOWN: Interrupted,
    grpc.StatusCode.CANCELLED: Interrupted,
    grpc.StatusCode.ABORTED: Interrupted,
    grpc.StatusCode.DATA_LOSS: Interrupted,
}

_WORDS = {
    grpc.StatusCode.UNAVAILABLE: "the server cannot be reached",
    grpc.StatusCode.DEADLINE_EXCEEDED: "the server did not answer in time",
}

_NEVER_CONNECTED = "failed to connect to all addresses"
"""gRPC's own words (observed, 1.85). Should they change, such a failure counts as ambiguous, which is the safe side."""


def translate(error: grpc.RpcError, metadata: Sequence[tuple[str, str]] = ()) -> ExportfsError:
    """Our error for a failed call made with this metadata; the text is the server's own where it gave one."""
    code = error.code() if isinstance(error, grpc.Call) else None
    if code is None:
        return Interrupted("the call failed without a status")
    details = " ".join((error.details() or "").split()) if isinstance(error, grpc.Call) else ""
    for _, secret in metadata:
        # A server's words may quote the token that it refused.
        details = details.replace(secret, "***")
    words = _WORDS.get(code)
    if words is None:
        words = f"the server answered {code.name}"
    if code is grpc.StatusCode.UNAVAILABLE and details.startswith(_NEVER_CONNECTED):
        return NotSent(f"{words}: {details[:500]}")
    translated = _ERRORS.get(code, ExportfsError)(f"{words}: {details[:500]}" if details else words)
    if isinstance(translated, Unauthenticated):
        translated.credentials = metadata
    return translated
