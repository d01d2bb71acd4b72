"""From the server's messages to our model. Reads them leniently: no string of a server's makes a session unreadable."""

from exportfs.errors import Corrupt
from exportfs.model import OptionsSummary, ResultFile, Session, SessionState, State
from exportfs.requests import summarize
from exportfs.rpc.wire_format import MalformedMessage, fields

Value = int | memoryview

LARGEST = (1 << 63) - 1
"""Bytes."""


def session(info: bytes) -> Session:
    """Of a serialized ListSessionsResponse.SessionInfo. Raises Corrupt."""
    try:
        parts = dict(fields(memoryview(info)))
        inner = dict(fields(_view(parts.get(1))))
        options = bytes(_view(inner.get(2)))
        return Session(_text(inner.get(1)), options, _summary(options), _state(_view(parts.get(2))))
    except MalformedMessage as error:
        raise Corrupt(f"a session in the listing cannot be read: {error}") from None


def session_state(answer: bytes) -> SessionState:
    """Of a serialized GetSessionStateResponse or StopSessionResponse, which have the same shape. Raises Corrupt."""
    try:
        return _state(_view(dict(fields(memoryview(answer))).get(1)))
    except MalformedMessage as error:
        raise Corrupt(f"the state of a session cannot be read: {error}") from None


def text(answer: bytes, number: int) -> str:
    """One string field of a serialized message. Raises Corrupt."""
    try:
        return _text(dict(fields(memoryview(answer))).get(number))
    except MalformedMessage as error:
        raise Corrupt(f"the server's answer cannot be read: {error}") from None


def _state(view: memoryview) -> SessionState:
    parts = dict(fields(view))
    files = []
    succeeded = False
    for number, value in fields(_view(parts.get(3))):
        if number == 1 and not isinstance(value, int):
            files.append(_file(dict(fields(value))))
        elif number == 2:
            succeeded = bool(value)
    code = parts.get(1, 0)
    known = isinstance(code, int) and code in State._value2member_map_
    return SessionState(State(code) if known else State.NONE, succeeded, _text(parts.get(2)), tuple(files))


def _file(parts: dict[int, Value]) -> ResultFile:
    size = parts.get(2, 0)
    return ResultFile(
        path=_text(parts.get(1)),
        # Sizes are signed in every filesystem; nothing of this size can be read anyway.
        size=min(size, LARGEST) if isinstance(size, int) else 0,
        mime_type=_text(parts.get(5)),
        min_timestamp=_text(parts.get(3)),
        max_timestamp=_text(parts.get(4)),
        cloud_id=_text(parts.get(7)),
    )


def _summary(options: bytes) -> OptionsSummary:
    try:
        return summarize(options)
    except Corrupt:  # not even a message: shown with what the tree needs at least
        return OptionsSummary()


def _view(value: Value | None) -> memoryview:
    return value if isinstance(value, memoryview) else memoryview(b"")


def _text(value: Value | None) -> str:
    return bytes(_view(value)).decode("utf-8", "surrogateescape")
