"""Pages of a listing, from servers whose tokens mean one thing or another: all sessions, or an error; never a part, and
never without end. No server: a function answers for it."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from trio.testing import MockClock

from exportfs.config import ServerConfig
from exportfs.errors import Corrupt, ExportfsError, Interrupted, InvalidArgument
from exportfs.rpc.server import Server
from exportfs.wire import service as wire

IDS = [f"hosts/Server/{number}" for number in range(6)]


class Listed:
    """Answers with the messages that `answer` gives for a token and a size of pages, or with the error it raises."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.answer: Callable[[str, int], list[wire.ListSessionsResponse]] = lambda token, size: []
        self.asked: list[tuple[str, int]] = []

    async def collect(self, *args: Any, moved: Callable[[Any], None], **_: object) -> list[Any]:
        request, take = wire.ListSessionsRequest.FromString(args[2]), args[5]
        self.asked.append((request.page_token, request.page_size))
        assert len(self.asked) < 100
        taken = []
        for message in self.answer(request.page_token, request.page_size):
            taken.append(take(message.SerializeToString()))
            moved(taken[-1])
        return taken

    async def ids(self) -> list[str]:
        return [session.id for session in (await self.server.list_sessions()).sessions]


def page(*ids: str, token: str = "") -> wire.ListSessionsResponse:
    message = wire.ListSessionsResponse(next_page_token=token)
    for session_id in ids:
        message.sessions.add().session.id = session_id
    return message


@pytest.fixture
def listed(monkeypatch: pytest.MonkeyPatch) -> Iterator[Listed]:
    server = Server(ServerConfig("127.0.0.1", 1, insecure=True), timeout=30)
    listed = Listed(server)
    monkeypatch.setattr("exportfs.rpc.server.collect", listed.collect)
    yield listed
    server.connections.close()


@pytest.mark.promise("T2")
async def test_a_token_of_each_page(listed: Listed, autojump_clock: MockClock) -> None:
    listed.answer = lambda token, size: {
        "": [page(*IDS[:2], token="a")],
        "a": [page(IDS[2]), page(IDS[3], token="b")],
        "b": [page(token="c"), page(IDS[4])],
        "c": [page(IDS[5])],
    }[token]
    assert await listed.ids() == IDS
    assert [token for token, _ in listed.asked] == ["", "a", "b", "c"]


@pytest.mark.promise("T2")
async def test_a_cursor_keeps_its_token(listed: Listed, autojump_clock: MockClock) -> None:
    """It stands for where the server is, and not for a page."""
    rest = iter(IDS[1:])

    def answer(token: str, size: int) -> list[wire.ListSessionsResponse]:
        here = next(rest, None) if token else IDS[0]
        return [page(here, token="cursor") if here else page()]

    listed.answer = answer
    assert await listed.ids() == IDS


@pytest.mark.promise("E3")
@pytest.mark.parametrize("tokens", [["a"], ["a", "b"]], ids=["to itself", "there and back"])
async def test_a_circle(listed: Listed, autojump_clock: MockClock, tokens: list[str]) -> None:
    """It ends, as an error: what has come so far may be a part."""
    listed.answer = lambda token, size: [page(IDS[0], token=tokens[0] if token == tokens[-1] else tokens[-1])]
    with pytest.raises(Corrupt, match="circles"):
        await listed.ids()


@pytest.mark.promise("T2")
async def test_a_token_that_has_died(listed: Listed, autojump_clock: MockClock) -> None:
    """The list has changed meanwhile: it is asked for from the first page again, in pages as large as before."""
    dead = [InvalidArgument("no such token")]

    def answer(token: str, size: int) -> list[wire.ListSessionsResponse]:
        if token and dead:
            raise dead.pop()
        return [page(*IDS[3:])] if token else [page(*IDS[:3], token="a")]

    listed.answer = answer
    assert await listed.ids() == IDS
    assert listed.asked == [("", 1000), ("a", 1000), ("", 1000), ("a", 1000)]


@pytest.mark.promise("E3")
async def test_tokens_that_always_die(listed: Listed, autojump_clock: MockClock) -> None:
    def answer(token: str, size: int) -> list[wire.ListSessionsResponse]:
        if token:
            raise InvalidArgument("no such token")
        return [page(*IDS[:3], token="a")]

    listed.answer = answer
    with pytest.raises(Interrupted, match="broke off"):
        await listed.ids()
    assert autojump_clock.current_time() <= 30


@pytest.mark.parametrize("most", [100, 10])
async def test_pages_that_are_too_large(listed: Listed, autojump_clock: MockClock, most: int) -> None:
    """Who refuses more than was observed is asked for no more from then on; who refuses that too, for nothing."""

    def answer(token: str, size: int) -> list[wire.ListSessionsResponse]:
        if size > most:
            raise InvalidArgument("too many")
        return [page(*IDS)]

    listed.answer = answer
    if most == 100:
        assert await listed.ids() == IDS
        assert await listed.ids() == IDS
        assert [size for _, size in listed.asked] == [1000, 100, 100]
    else:
        with pytest.raises(InvalidArgument):
            await listed.ids()
        assert [size for _, size in listed.asked] == [1000, 100]


async def test_one_that_fails_in_the_middle_is_no_list(listed: Listed, autojump_clock: MockClock) -> None:
    failures: list[ExportfsError] = [Interrupted("lost"), Interrupted("lost")]

    def answer(token: str, size: int) -> list[wire.ListSessionsResponse]:
        if token and failures:
            raise failures.pop()
        return [page(*IDS[3:])] if token else [page(*IDS[:3], token="a")]

    listed.answer = answer
    assert await listed.ids() == IDS
    assert [token for token, _ in listed.asked] == ["", "a"] * 3
