"""The one table from gRPC status to our errors, and the wording of what the server said."""

import re
from collections.abc import Sequence
from http import HTTPStatus

import grpc

from exportfs.errors import (
    AccessDenied,
    Busy,
    Exhausted,
    ExportfsError,
    Interrupted,
    InvalidArgument,
    NotFound,
    NotProcessed,
    NotSent,
    OutOfRange,
    TimedOut,
    TooLarge,
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
    grpc.StatusCode.RESOURCE_EXHAUSTED: Exhausted,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.UNIMPLEMENTED: Unsupported,
    grpc.StatusCode.DEADLINE_EXCEEDED: TimedOut,
    grpc.StatusCode.UNAVAILABLE: Unreachable,
    # A reset of the stream shows as INTERNAL, a server's unexpected error as UNKNOWN: both may pass.
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

NEVER_CONNECTED = "failed to connect to all addresses"
OTHER_NAME = "call host does not match SSL server name"
"""gRPC's own words, with UNAUTHENTICATED, for a certificate without a name in it that fits: nothing has been sent."""
_NOT_PROCESSED = (
    # A GOAWAY that names an earlier stream as its last. (One that names ours, or a later one: "Stream removed (Socket
    # closed (GOAWAY received; ...".) gRPC sends such a call again once by itself; this is the second time in a row.
    "Stream removed (GOAWAY received;",
    # REFUSED_STREAM (RFC 9113, 8.7): not processed, by the words of the standard.
    "Stream removed (RST_STREAM (Received RST_STREAM with error code 7",
)
"""gRPC's own words (observed, 1.85), all with UNAVAILABLE. Should they change, such a failure counts as ambiguous,
which is the safe side; that no other failure has them, tests/servers/test_retries.py looks at."""
_OF_A_STREAM = "Stream removed ("
"""gRPC's own words for a stream that broke: with RESOURCE_EXHAUSTED, a reset with ENHANCE_YOUR_CALM, or an answer with
more metadata than we take. The server may have done what it was asked for all the same."""

DROPPED_HEADER = "it may drop the header"
"""Our words where a proxy may have dropped the token of a login."""
PASSED_ON = {
    "nginx": "underscores_in_headers on",
    "Caddy": "expected_underscore_headers {header}",
    "Envoy": "headers_with_underscores_action: ALLOW",
}
"""Settings without which these proxies drop headers that are written with an underscore; Envoy does so only where it is
set otherwise."""
_SERVERS = ("kestrel",)
"""What calls itself so is a gRPC server, and no proxy that drops headers: .NET's."""
_HTTP = re.compile(r"Received http2 header with status: (\d{3})")
"""gRPC's words for an answer that is not a gRPC answer: a proxy's."""
_HTTP_REFUSALS: dict[int, type[ExportfsError]] = {
    401: AccessDenied,
    403: AccessDenied,
    404: Unsupported,
    405: Unsupported,
    407: AccessDenied,
    413: TooLarge,
    429: Exhausted,
}
_HTTP_AMBIGUOUS = {408, 499}
"""A time-out of the proxy's: the server may have had the request."""


def translate(error: grpc.RpcError, metadata: Sequence[tuple[str, str]] = ()) -> ExportfsError:
    """Our error for a failed call made with this metadata; the text is the server's own where it gave one."""
    code = error.code() if isinstance(error, grpc.Call) else None
    if code is None:
        return Interrupted("the call failed without a status")
    details = (error.details() or "") if isinstance(error, grpc.Call) else ""
    return translate_status(code, details, metadata, proxy=proxy_of(error))


def translate_status(
    code: grpc.StatusCode,
    details: str,
    metadata: Sequence[tuple[str, str]] = (),
    *,
    proxy: str | None = None,
) -> ExportfsError:
    """Our error for a status and the server's words, of a call made with this metadata. proxy: what calls itself one in
    the answer's headers."""
    details = one_line(details)
    for _, secret in metadata:
        # A server's words may quote the token that it refused.
        details = redact(details, secret)
    http = _HTTP.search(details)
    translated = (
        _of_a_server(code, details, metadata, proxy) if http is None else _of_a_proxy(int(http[1]), code)
    )
    translated.status = code.name
    return translated


def one_line(text: str) -> str:
    """A server's words as one line that no terminal obeys: `cat` shows them, and logs and `.error` files hold them."""
    text = " ".join(text.split())
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)


def _of_a_server(
    code: grpc.StatusCode, details: str, metadata: Sequence[tuple[str, str]], proxy: str | None
) -> ExportfsError:
    """details: in one line, and without secrets."""
    words = _WORDS.get(code)
    if words is None:
        words = f"the server answered {code.name}"
    if code is grpc.StatusCode.UNAVAILABLE and details.startswith(NEVER_CONNECTED):
        return NotSent(f"{words}: {details[:500]}")
    if code is grpc.StatusCode.UNAVAILABLE and details.startswith(_NOT_PROCESSED):
        return NotProcessed(f"the server did not take the call: {details[:500]}")
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and details.startswith(_OF_A_STREAM):
        return Interrupted(_sentence(words, details))
    if details == OTHER_NAME:
        return NotSent("the server's certificate is for another name")
    text = _sentence(words, details)
    if code is grpc.StatusCode.UNAUTHENTICATED:
        text += _dropped_header(proxy, metadata)
    translated = _ERRORS.get(code, ExportfsError)(text)
    if isinstance(translated, Unauthenticated):
        translated.credentials = metadata
    return translated


def _sentence(words: str, details: str) -> str:
    """In one sentence."""
    return f"{words}: {details[:500]}" if details else words


_ORDINARY = frozenset(
    # One text, since a hundred lines would say no more.
    (  # noqa: SIM905
        "access account address admin administrator agent allowed already another archive auth authentication axxon "
        "busy call camera cannot certificate check client closed code connection could credentials database denied "
        "disabled does domain error exists expired export failed file found host internal invalid license limit locked "
        "logged login machine name network not only operation password permission please reached refused request root "
        "server service session system the token unavailable unknown user was with wrong you your"
    ).split()
)
"""Words that a server uses for their own sake."""
_QUOTED = (
    r"""(['"`<(\[\u00ab\u2018\u201c]\s*|\b(?:password|passwd|pass|pwd|token|secret)\b\W{0,3}(?:is\s+)?)"""
)


def redact(text: str, secret: str) -> str:
    """The text without the secret.

    One that is an ordinary word (as "server" is) is left out only where the text quotes it: in quotes, or after a word
    for it. Otherwise a server's own words would be unreadable, and the gaps would tell the secret.
    """
    if not secret:
        return text
    if secret.lower() not in _ORDINARY:
        return text.replace(secret, "***")
    return re.sub(rf"{_QUOTED}{re.escape(secret)}(?!\w)", r"\1***", text, flags=re.IGNORECASE)


def _of_a_proxy(status: int, code: grpc.StatusCode) -> ExportfsError:
    """Of an HTTP status. 4xx is a refusal, with which nothing has reached the server; after 5xx something may have."""
    try:
        name = f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        name = str(status)
    where = "what answered is not a gRPC server: a proxy before it, or a web server"
    if 400 <= status < 500 and status not in _HTTP_AMBIGUOUS:
        kind = _HTTP_REFUSALS.get(status, InvalidArgument)
        return kind(f"a proxy refused the call with HTTP {name} ({where})")
    kind = _ERRORS.get(code, ExportfsError)
    # Whatever gRPC makes of it: it says nothing of what the server did with the request.
    kind = kind if issubclass(kind, Unreachable | Interrupted | TimedOut) else Interrupted
    return kind(f"a proxy answered with HTTP {name} ({where})")


def _dropped_header(proxy: str | None, metadata: Sequence[tuple[str, str]]) -> str:
    """What to look at where the login's header may have been lost on the way."""
    name = next((key for key, _ in metadata if "_" in key), None)
    if name is None or proxy is None or proxy.lower() in _SERVERS:
        return ""
    who = next((known for known in PASSED_ON if known.lower() in proxy.lower()), "nginx")
    setting = PASSED_ON[who].format(header=name)
    return f" (a proxy is in between, {proxy}: {DROPPED_HEADER} {name}, as {who} does without `{setting}`)"


def proxy_of(error: grpc.RpcError) -> str | None:
    """What calls itself a proxy in the headers of an answer."""
    for source in ("initial_metadata", "trailing_metadata"):
        get = getattr(error, source, None)
        for key, value in (get() if get is not None else None) or ():
            if key in ("server", "via") and isinstance(value, str):
                return value[:100]
    return None
