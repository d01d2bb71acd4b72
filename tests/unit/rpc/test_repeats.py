"""Which calls are made again after which failure, and how long each may take. No server: its answers are a list."""

from collections.abc import Iterator
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from exportfs.config import ServerConfig
from exportfs.errors import (
    AccessDenied,
    Busy,
    Corrupt,
    Exhausted,
    ExportfsError,
    Interrupted,
    InvalidArgument,
    NotFound,
    NotProcessed,
    NotSent,
    TimedOut,
    Unauthenticated,
    Unreachable,
)
from exportfs.rpc.renewal import Token
from exportfs.rpc.server import Server
from exportfs.rpc.wire_format import message
from exportfs.wire import auth

Outcome = bytes | type[ExportfsError]
STARTED = message((1, b"hosts/Server/1"))
TIMEOUT = 30.0
OTHERS = [
    *(AccessDenied, Busy, Corrupt, Exhausted, ExportfsError, Interrupted),
    *(InvalidArgument, NotFound, NotSent, TimedOut, Unreachable),
]
"""Refusals, and what leaves open whether the server had the call."""


class Answers:
    """In place of the bridge: each method's calls end with what its list says, the last entry ever again. One that ends
    with TimedOut takes all of its time, any other `takes` seconds."""

    def __init__(self, **lists: list[Outcome]) -> None:
        self._lists = lists
        self.takes: dict[str, float] = {}
        self.calls: list[tuple[str, float]] = []
        """Method and seconds of each, in their order."""

    async def call(
        self, path: str, request: bytes, metadata: Any, timeout: float, *, hints: Any = ()
    ) -> bytes:
        method = path.rpartition("/")[2]
        self.calls.append((method, timeout))
        outcomes = self._lists[method]
        outcome = outcomes.pop(0) if len(outcomes) > 1 else outcomes[0]
        await trio.sleep(timeout if outcome is TimedOut else self.takes.get(method, 0.0))
        if isinstance(outcome, bytes):
            return outcome
        error = outcome("as the list says")
        if isinstance(error, Unauthenticated):
            error.credentials = metadata
        raise error

    def count(self, method: str) -> int:
        return [name for name, _ in self.calls].count(method)

    def times(self, method: str) -> list[float]:
        return [seconds for name, seconds in self.calls if name == method]


def login(token: str = "new") -> bytes:
    code = auth.AuthenticateResponseEx.AUTHENTICATE_CODE_OK
    answer = auth.AuthenticateResponseEx(error_code=code, token_name="t", token_value=token, expires_in=3600)
    return bytes(answer.SerializeToString())


@pytest.fixture
def server() -> Iterator[Server]:
    config = ServerConfig("127.0.0.1", 1, user="u", password="p", insecure=True)
    server = Server(config, timeout=TIMEOUT)
    server.login._token = Token("t", "old", 0.0, 1e9)
    yield server
    server.connections.close()


def answering(server: Server, monkeypatch: pytest.MonkeyPatch, **lists: list[Outcome]) -> Answers:
    answers = Answers(**lists)
    monkeypatch.setattr(server._bridge, "call", answers.call)
    return answers


@pytest.mark.promise("W12")
@pytest.mark.parametrize("failure", OTHERS)
async def test_a_start_that_may_have_worked_is_not_repeated(
    server: Server, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, failure: type[ExportfsError]
) -> None:
    answers = answering(server, monkeypatch, StartSession=[failure, STARTED])
    with pytest.raises(failure):
        await server.start_session(b"options", within=7.0)
    assert answers.calls == [("StartSession", 7.0)]


@pytest.mark.promise("W12")
async def test_a_start_without_an_id_is_in_doubt(
    server: Server, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = answering(server, monkeypatch, StartSession=[b"", STARTED])
    with pytest.raises(Interrupted, match="did not name its session"):
        await server.start_session(b"options", within=7.0)
    assert answers.count("StartSession") == 1


@pytest.mark.promise("E7")
async def test_a_start_that_was_not_processed_is_sent_again(
    server: Server, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = answering(server, monkeypatch, StartSession=[NotProcessed, NotProcessed, STARTED])
    assert await server.start_session(b"options", within=7.0) == "hosts/Server/1"
    assert answers.count("StartSession") == 3
    times = answers.times("StartSession")
    assert times == sorted(times, reverse=True)
    assert times[-1] < 7.0, "all of them have one time together"


async def test_a_start_that_is_never_processed_ends(
    server: Server, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As what it is, and within its time: who wrote the request hears that nothing was started."""
    answers = answering(server, monkeypatch, StartSession=[NotProcessed])
    answers.takes["StartSession"] = 0.5
    with pytest.raises(NotSent):
        await server.start_session(b"options", within=7.0)
    assert trio.current_time() <= 7.0
    assert min(answers.times("StartSession")) >= 0.7


async def test_a_start_that_was_refused_for_its_login(
    server: Server, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is sent again with a fresh one, and not for ever."""
    answers = answering(
        server,
        monkeypatch,
        StartSession=[Unauthenticated],
        AuthenticateEx2=[login("1"), login("2"), login("3")],
    )
    with pytest.raises(Unauthenticated):
        await server.start_session(b"options", within=7.0)
    assert answers.count("StartSession") == 3
    assert answers.count("AuthenticateEx2") == 2


@pytest.mark.parametrize(
    ("failure", "seen"), [(Unreachable, NotSent), (TimedOut, NotSent), (AccessDenied, AccessDenied)]
)
async def test_without_a_login_nothing_was_started(
    server: Server,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    failure: type[ExportfsError],
    seen: type[ExportfsError],
) -> None:
    """Whatever kept the login from being made leaves nothing open about the export."""
    server.login._token = None
    answers = answering(server, monkeypatch, StartSession=[STARTED], AuthenticateEx2=[failure])
    with pytest.raises(seen):
        await server.start_session(b"options", within=7.0)
    assert answers.count("StartSession") == 0
    assert trio.current_time() <= 7.0


async def test_a_deletion_is_made_once(
    server: Server, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = answering(server, monkeypatch, DestroySession=[b"", NotFound])
    await server.destroy_session("hosts/Server/1")
    assert answers.calls == [("DestroySession", TIMEOUT / 3)]


@pytest.mark.parametrize("lost", [Interrupted, Unreachable, TimedOut])
async def test_a_deletion_whose_answer_was_lost(
    server: Server, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, lost: type[ExportfsError]
) -> None:
    """It has deleted the session by then, which is gone for good reason, after another failure as well."""
    answers = answering(server, monkeypatch, DestroySession=[lost, Exhausted, NotFound])
    await server.destroy_session("hosts/Server/1")
    assert answers.count("DestroySession") == 3


@pytest.mark.parametrize("before", [[], [Exhausted], [Unauthenticated]], ids=["none", "limit", "login"])
async def test_a_deletion_of_what_is_not_there(
    server: Server, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, before: list[Outcome]
) -> None:
    """Nothing was done that could have been lost."""
    answers = answering(server, monkeypatch, DestroySession=[*before, NotFound], AuthenticateEx2=[login()])
    with pytest.raises(NotFound):
        await server.destroy_session("hosts/Server/1")
    assert answers.count("DestroySession") == 1 + len(before)


@pytest.mark.promise("E3")
@pytest.mark.parametrize("method", ["DestroySession", "GetSessionState", "StopSession"])
async def test_a_second_try_has_what_is_left(
    server: Server, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """The first finds out whether the connection is alive; a server that is slow has two thirds for the second."""
    failures: list[Outcome] = [Unreachable, TimedOut]
    answers = answering(server, monkeypatch, **{method: failures})
    calls = {
        "DestroySession": server.destroy_session,
        "GetSessionState": server.get_session_state,
        "StopSession": server.stop_session,
    }
    with pytest.raises(TimedOut):
        await calls[method]("hosts/Server/1")
    first, second, third = answers.times(method)
    assert first == second == TIMEOUT / 3
    assert TIMEOUT / 2 < third < TIMEOUT * 2 / 3
    assert trio.current_time() <= TIMEOUT


@pytest.mark.promise("E3")
@pytest.mark.parametrize(
    ("failure", "seen"), [(Unreachable, Unreachable), (TimedOut, TimedOut), (AccessDenied, AccessDenied)]
)
async def test_a_login_that_cannot_be_made_ends_in_time(
    server: Server,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    failure: type[ExportfsError],
    seen: type[ExportfsError],
) -> None:
    """What can pass is tried until then; a refusal is none of that: it would lock the user out."""
    answers = answering(server, monkeypatch, GetSessionState=[Unauthenticated], AuthenticateEx2=[failure])
    with pytest.raises(seen):
        await server.get_session_state("hosts/Server/1")
    assert trio.current_time() <= TIMEOUT
    assert answers.count("GetSessionState") == 1
    assert (answers.count("AuthenticateEx2") > 1) is (failure is not AccessDenied)


async def test_a_call_is_made_again_once_the_login_has_been(
    server: Server, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = answering(
        server,
        monkeypatch,
        StopSession=[Unauthenticated, NotFound],
        AuthenticateEx2=[Unreachable, login()],
    )
    with pytest.raises(NotFound):
        await server.stop_session("hosts/Server/1")
    assert [name for name, _ in answers.calls] == [
        "StopSession",
        "AuthenticateEx2",
        "AuthenticateEx2",
        "StopSession",
    ]
