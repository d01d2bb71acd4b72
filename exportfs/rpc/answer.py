"""How a call over HTTP/2 ended, from its headers and trailers, or from the code of a reset."""

import urllib.parse
from collections.abc import Iterable

import grpc
from h2.errors import ErrorCodes

from exportfs.errors import ExportfsError, Interrupted
from exportfs.rpc.channel import Metadata
from exportfs.rpc.status import translate_status


class Answer:
    """What the headers and trailers of an answer say."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata
        self._headers: dict[bytes, bytes] = {}
        self.begun = False
        """Whether its headers have come."""

    def headers(self, headers: Iterable[tuple[bytes, bytes]]) -> None:
        self.begun = True
        self._headers.update(headers)

    def refusal(self) -> ExportfsError | None:
        """What a call ends with that HTTP itself refused: what follows is a page for people."""
        if self._headers.get(b":status", b"200") == b"200":
            return None
        return self.error() or Interrupted("the call was refused as a success")

    def error(self) -> ExportfsError | None:
        """None where the call was a success."""
        status = self._headers.get(b"grpc-status")
        if status is None:
            text = self._headers.get(b":status", b"")
            http = int(text) if text.isdigit() else 0
            if http == 200:
                return Interrupted("the call ended without a status")
            code = _HTTP.get(http, grpc.StatusCode.UNKNOWN)
            return self._translated(code, f"Received http2 header with status: {http}")
        if status == b"0":
            return None
        code = _CODES.get(status.decode("ascii", "replace"), grpc.StatusCode.UNKNOWN)
        details = urllib.parse.unquote_to_bytes(self._headers.get(b"grpc-message", b""))
        return self._translated(code, details.decode("utf-8", "replace"))

    def _translated(self, code: grpc.StatusCode, details: str) -> ExportfsError:
        proxy = self._headers.get(b"via") or self._headers.get(b"server")
        name = None if proxy is None else proxy[:100].decode("utf-8", "replace")
        return translate_status(code, details, self._metadata, proxy=name)


def reset(error_code: ErrorCodes | int) -> ExportfsError:
    """What a call ends with whose stream the server reset, with this code of HTTP/2's."""
    code = _RESETS.get(error_code, grpc.StatusCode.INTERNAL)
    return translate_status(code, "the server reset the stream")


_CODES: dict[str, grpc.StatusCode] = {str(code.value[0]): code for code in grpc.StatusCode}
_HTTP = {
    400: grpc.StatusCode.INTERNAL,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.UNIMPLEMENTED,
    429: grpc.StatusCode.UNAVAILABLE,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.UNAVAILABLE,
}
"""https://github.com/grpc/grpc/blob/master/doc/http-grpc-status-mapping.md"""
_RESETS: dict[ErrorCodes | int, grpc.StatusCode] = {
    ErrorCodes.REFUSED_STREAM: grpc.StatusCode.UNAVAILABLE,
    ErrorCodes.CANCEL: grpc.StatusCode.CANCELLED,
    ErrorCodes.ENHANCE_YOUR_CALM: grpc.StatusCode.RESOURCE_EXHAUSTED,
    ErrorCodes.INADEQUATE_SECURITY: grpc.StatusCode.PERMISSION_DENIED,
}
"""https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md#errors"""
