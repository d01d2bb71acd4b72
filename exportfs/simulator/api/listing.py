"""ListSessions: pages that stay right while sessions come and go."""

from collections.abc import Iterator

from exportfs.simulator.api.refusal import invalid
from exportfs.simulator.config import ListingConfig
from exportfs.simulator.exports.sessions import Sessions
from exportfs.wire import service

_TOKEN = "after-"


def _after(token: str) -> int:
    """The serial that a page token stands for."""
    if not token:
        return 0
    number = token.removeprefix(_TOKEN)
    # What comes of EndlessPages is answered from the start again.
    if token.startswith("again-"):
        return 0
    if number == token or not (number.isascii() and number.isdigit()):
        raise invalid("page_token is not one of this server")
    return int(number)


def pages(sessions: Sessions, request: service.ListSessionsRequest, config: ListingConfig) -> Iterator[bytes]:
    """Serialized ListSessionsResponse messages; with no sessions none at all (observed). Raises Refused with
    INVALID_ARGUMENT.

    They are put together from entries that are kept serialized: repeated fields add up when concatenated.
    """
    if request.page_size < 0:
        raise invalid("page_size must not be negative")
    entries, last = sessions.page(_after(request.page_token), request.page_size or config.default_page_size)
    step = config.sessions_per_message or max(1, len(entries))
    token = (
        b""
        if last is None
        else service.ListSessionsResponse(next_page_token=f"{_TOKEN}{last}").SerializeToString()
    )
    for first in range(0, len(entries), step):
        is_last = first + step >= len(entries)
        yield b"".join(entries[first : first + step]) + (token if is_last else b"")
