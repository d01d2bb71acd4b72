"""How a call ended, by the headers and trailers of its answer, as a table."""

import grpc
import pytest
from h2.errors import ErrorCodes

from exportfs.errors import (
    AccessDenied,
    Busy,
    Exhausted,
    ExportfsError,
    Interrupted,
    InvalidArgument,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unreachable,
    Unsupported,
)
from exportfs.rpc.answer import Answer, reset


def answer(*headers: tuple[bytes, bytes]) -> Answer:
    """Each of them on its own, as headers and then trailers come."""
    made = Answer(())
    for header in headers:
        made.headers([header])
    return made


@pytest.mark.promise("E7")
@pytest.mark.parametrize(
    ("status", "error"),
    [
        (b"400", InvalidArgument),
        (b"401", AccessDenied),
        (b"403", AccessDenied),
        (b"404", Unsupported),
        (b"405", Unsupported),
        (b"407", AccessDenied),
        (b"413", TooLarge),
        (b"429", Exhausted),
        (b"418", InvalidArgument),
        (b"408", Interrupted),
        (b"499", Interrupted),
        (b"500", Interrupted),
        (b"502", Unreachable),
        (b"503", Unreachable),
        (b"504", Unreachable),
        (b"302", Interrupted),
        (b"\xb2\xb2", Interrupted),
    ],
)
def test_what_http_refuses(status: bytes, error: type[ExportfsError]) -> None:
    refused = answer((b":status", status), (b"server", b"a proxy"))
    for given in (refused.error(), refused.refusal()):
        assert type(given) is error


@pytest.mark.promise("E1")
@pytest.mark.parametrize(
    ("code", "error"),
    [
        (grpc.StatusCode.INVALID_ARGUMENT, InvalidArgument),
        (grpc.StatusCode.NOT_FOUND, NotFound),
        (grpc.StatusCode.FAILED_PRECONDITION, Busy),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, Exhausted),
        (grpc.StatusCode.UNAUTHENTICATED, Unauthenticated),
        (grpc.StatusCode.UNAVAILABLE, Unreachable),
        (grpc.StatusCode.INTERNAL, Interrupted),
    ],
)
def test_what_the_server_says(code: grpc.StatusCode, error: type[ExportfsError]) -> None:
    said = answer(
        (b":status", b"200"),
        (b"grpc-status", str(code.value[0]).encode()),
        (b"grpc-message", b"keine Datei %C3%BC%ff"),
    )
    assert said.refusal() is None, "its trailers say it"
    given = said.error()
    assert type(given) is error
    assert "keine Datei ü\ufffd" in str(given)


@pytest.mark.parametrize(
    ("headers", "success"),
    [
        ([(b":status", b"200"), (b"grpc-status", b"0")], True),
        ([(b":status", b"200")], False),
        ([(b":status", b"200"), (b"grpc-status", b"")], False),
        ([(b":status", b"200"), (b"grpc-status", b"00")], False),
        ([(b":status", b"200"), (b"grpc-status", b"99")], False),
        ([(b":status", b"200"), (b"grpc-status", b"\xff")], False),
    ],
)
def test_nothing_else_is_a_success(headers: list[tuple[bytes, bytes]], success: bool) -> None:
    """A stream that ends without a status has been cut off."""
    error = answer(*headers).error()
    assert error is None if success else type(error) is Interrupted


@pytest.mark.promise("R6")
def test_a_page_that_says_it_is_a_success() -> None:
    """What follows is not made of blocks all the same."""
    assert type(answer((b":status", b"404"), (b"grpc-status", b"0")).refusal()) is Interrupted


@pytest.mark.parametrize(
    ("code", "error"),
    [
        (ErrorCodes.REFUSED_STREAM, Unreachable),
        (ErrorCodes.CANCEL, Interrupted),
        (ErrorCodes.ENHANCE_YOUR_CALM, Exhausted),
        (ErrorCodes.INADEQUATE_SECURITY, AccessDenied),
        (ErrorCodes.INTERNAL_ERROR, Interrupted),
        (0xFACE, Interrupted),
    ],
)
def test_resets(code: ErrorCodes | int, error: type[ExportfsError]) -> None:
    assert type(reset(code)) is error
