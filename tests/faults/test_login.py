"""Logging in, staying logged in, and logging out."""

import json
import os
import pty
import select
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing

from exportfs.config import ServerConfig
from exportfs.errors import AccessDenied, Corrupt, ExportfsError
from exportfs.rpc.backoff import Backoff
from exportfs.rpc.login import ADVICE
from exportfs.rpc.renewal import Token
from exportfs.rpc.server import Server
from exportfs.rpc.status import redact
from exportfs.simulator import Account, Config, Fail, LoginConfig, Simulator, SimulatorServer
from exportfs.wire import auth
from tests.support.harness import OURS, eventually, is_mounted

OK = auth.AuthenticateResponseEx.AUTHENTICATE_CODE_OK
CODES = {
    name: number for name, number in auth.AuthenticateResponseEx.EAuthenticateCode.items() if number != OK
}
ACCOUNTS = {"demo": Account("demo"), "two": Account("demo", "123456"), "once": Account("demo", max_logins=1)}


@pytest.fixture
def token_life() -> float:
    """In seconds; long for whoever does not wait for its end."""
    return 60.0


@pytest.fixture
def guarded(token_life: float) -> Iterator[SimulatorServer]:
    simulator = Simulator(Config(login=LoginConfig(ACCOUNTS, token_life=token_life)))
    with SimulatorServer(simulator) as server:
        yield server
    simulator.close()


@asynccontextmanager
async def client(
    server: SimulatorServer, user: str = "demo", *, ask_code: Callable[[], str] | None = None
) -> AsyncIterator[Server]:
    config = ServerConfig("127.0.0.1", server.port, user, "demo", insecure=True)
    found = Server(config, timeout=5, ask_code=ask_code)
    try:
        yield found
    finally:
        await found.close()


@pytest.mark.parametrize("name", CODES)
async def test_every_code_says_what_to_do(name: str, guarded: SimulatorServer) -> None:
    assert CODES[name] in ADVICE
    guarded.simulator.accounts.script(CODES[name], description="said by the server")
    async with client(guarded) as server:
        with pytest.raises(AccessDenied) as caught:
            await server.login.start()
    words = str(caught.value)
    assert len(words) > 30
    assert "said by the server" in words
    assert "demo" in words or "{user}" not in ADVICE[CODES[name]]


async def test_unknown_code_and_limit(guarded: SimulatorServer) -> None:
    guarded.simulator.accounts.script(99, reached_connection_limit=True)
    async with client(guarded) as server:
        with pytest.raises(AccessDenied, match=r"code 99.*limit of connections"):
            await server.login.start()


@pytest.mark.parametrize(
    ("name", "value"),
    [("auth token", "t"), (":path", "t"), ("token-bin", "t"), ("", "a\nb"), ("", "Süd")],
)
async def test_a_token_that_no_call_can_carry(
    name: str, value: str, guarded: SimulatorServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gRPC would say in the server's name that its metadata are invalid."""
    answer = auth.AuthenticateResponseEx(token_name=name, token_value=value, expires_in=300)
    async with client(guarded) as server:

        async def call(*_: object) -> auth.AuthenticateResponseEx:
            return answer

        monkeypatch.setattr(server.login, "_call", call)
        with pytest.raises(Corrupt, match="no call can carry"):
            await server.login.start()


async def test_second_factor(guarded: SimulatorServer) -> None:
    async with client(guarded, "two", ask_code=lambda: " 123456\n") as server:
        await server.login.start()
        await server.list_sessions()
    async with client(guarded, "two", ask_code=lambda: "1") as server:
        with pytest.raises(AccessDenied, match="verification code is wrong"):
            await server.login.start()
    async with client(guarded, "two") as server:
        with pytest.raises(AccessDenied, match="mount from a terminal"):
            await server.login.start()
    assert guarded.simulator.accounts.logins() == 0


async def test_one_login_for_many_refused_calls(guarded: SimulatorServer) -> None:
    simulator = guarded.simulator
    session_id = simulator.add_computed(1)
    async with client(guarded) as server:
        await server.login.start()
        simulator.accounts.revoke()
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(server.get_session_state, session_id)
    assert simulator.log.count("AuthenticateEx2") == 2


async def test_one_refusal_for_many_refused_calls(guarded: SimulatorServer) -> None:
    simulator = guarded.simulator
    session_id = simulator.add_computed(1)
    refusals: list[str] = []

    async def call(server: Server) -> None:
        try:
            await server.get_session_state(session_id)
        except AccessDenied as error:
            refusals.append(str(error))

    async with client(guarded) as server:
        await server.login.start()
        simulator.accounts.revoke()
        simulator.accounts.script(CODES["AUTHENTICATE_CODE_WRONG_CREDENTIALS"], times=None)
        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(call, server)
    assert len(refusals) == 50
    assert simulator.log.count("AuthenticateEx2") == 2


async def test_login_that_fails_by_the_way_is_tried_again(guarded: SimulatorServer) -> None:
    simulator = guarded.simulator
    session_id = simulator.add_computed(1)
    async with client(guarded) as server:
        await server.login.start()
        simulator.accounts.revoke()
        simulator.faults.add("AuthenticateEx2", Fail("UNAVAILABLE"), times=3)
        await server.get_session_state(session_id)
    assert simulator.log.count("AuthenticateEx2") == 5


@pytest.mark.parametrize("token_life", [6.0])
async def test_renewal(guarded: SimulatorServer) -> None:
    """Of a life of 6 s four pass; then there is a new token, and no new login."""
    simulator = guarded.simulator
    async with client(guarded) as server, trio.open_nursery() as nursery:
        await server.login.start()
        nursery.start_soon(server.login.keep)
        before = server.login.metadata()
        with trio.fail_after(60):
            while server.login.metadata() == before:  # noqa: ASYNC110 # no event tells
                await trio.sleep(0.05)
        nursery.cancel_scope.cancel()
    (login,), (renewal,) = simulator.log.calls("AuthenticateEx2"), simulator.log.calls("RenewSession2")
    assert 3 < renewal.monotonic - login.monotonic < 6
    assert simulator.accounts.logins() == 0


@pytest.mark.parametrize("token_life", [6.0])
async def test_refused_renewal_keeps_the_login(guarded: SimulatorServer) -> None:
    """There is a new login, and the old one, which is good until then, is closed."""
    simulator = guarded.simulator
    async with client(guarded) as server, trio.open_nursery() as nursery:
        await server.login.start()
        before = server.login.metadata()
        simulator.accounts.script(CODES["AUTHENTICATE_CODE_GENERAL_ERROR"])
        nursery.start_soon(server.login.keep)
        with trio.fail_after(60):
            while not simulator.log.count("CloseSession"):
                assert server.login.metadata()
                await trio.sleep(0.05)
        assert server.login.metadata() != before
        assert simulator.accounts.logins() == 1
        nursery.cancel_scope.cancel()


def test_backoff() -> None:
    backoff, waits = Backoff(), []
    for _ in range(8):
        backoff.refused(0.0, for_good=True)
        waits.append(backoff.wait(0.0))
    assert waits == [30, 60, 120, 240, 300, 300, 300, 300]
    backoff.accepted()
    assert backoff.wait(0.0) == 0


def test_backoff_of_weeks() -> None:
    """2 to the power of 1,100 is too large for a float."""
    backoff = Backoff()
    for _ in range(1100):
        backoff.refused(0.0)
    assert backoff.wait(0.0) == 300


def test_token_hides_its_value() -> None:
    assert "secret-value" not in repr(Token("auth_token", "secret-value", 0, 300))


async def test_errors_quote_no_secret(guarded: SimulatorServer) -> None:
    simulator = guarded.simulator
    async with client(guarded) as server:
        await server.login.start()
        ((_, token),) = server.login.metadata()
        simulator.faults.add("StopSession", Fail("INVALID_ARGUMENT", f"token {token} and more"))
        with pytest.raises(ExportfsError) as caught:
            await server.stop_session("x")
        assert token not in str(caught.value)
        assert "and more" in str(caught.value)


@pytest.mark.parametrize(
    ("secret", "said", "shown"),
    [
        ("Tr0ub4dor", "no user with Tr0ub4dor", "no user with ***"),
        ("hunter", "hunter is wrong", "*** is wrong"),
        ("server", "the server is full", "the server is full"),
        ("Server", "the server is full, says the server", "the server is full, says the server"),
        (
            "server",
            "wrong password 'server' for x on this server",
            "wrong password '***' for x on this server",
        ),
        ("server", "password: server", "password: ***"),
        ("", "nothing to hide", "nothing to hide"),
    ],
)
def test_redaction(secret: str, said: str, shown: str) -> None:
    """A password that is an ordinary word does not hide what a server says."""
    assert redact(said, secret) == shown


class Terminal:
    """A command on a terminal of its own."""

    def __init__(self, *command: str, env: dict[str, str]) -> None:
        pid, self._end = pty.fork()
        if pid == 0:
            os.execve(command[0], list(command), {**os.environ, **env})
        self.pid = pid
        self.shown = ""

    def expect(self, words: str) -> None:
        limit = time.monotonic() + 20
        while words not in self.shown:
            assert time.monotonic() < limit, self.shown
            if select.select([self._end], [], [], 0.1)[0]:
                try:
                    self.shown += os.read(self._end, 4096).decode()
                except OSError:
                    raise AssertionError(f"it ended: {self.shown}") from None

    def type(self, text: str) -> None:
        os.write(self._end, text.encode())

    def ended(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    def close(self) -> None:
        os.close(self._end)


@pytest.mark.mount
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("code", ["123456", "interrupt"])
def test_asked_on_a_terminal(guarded: SimulatorServer, tmp_path: Path, code: str) -> None:
    folder = tmp_path / "mnt"
    folder.mkdir()
    command = (*OURS, "mount", guarded.address, str(folder), "--insecure", "--user", "two")
    terminal = Terminal(*command, env={"XDG_STATE_HOME": str(tmp_path / "state")})
    try:
        terminal.expect("Password of two")
        terminal.type("demo\n")
        terminal.expect("Verification code")
        if code == "interrupt":
            terminal.type("\x03")
            assert terminal.ended() != 0
            assert not is_mounted(folder)
            return
        terminal.type(f"{code}\n")
        assert terminal.ended() == 0
        assert is_mounted(folder)
        assert "demo" not in terminal.shown
        pid = int(json.loads((folder / ".status.json").read_text())["pid"])
        os.kill(pid, signal.SIGTERM)
        eventually(lambda: not is_mounted(folder))
        eventually(lambda: guarded.simulator.accounts.logins() == 0)
    finally:
        terminal.close()
        if is_mounted(folder):
            subprocess.run(["fusermount3", "-u", "-z", folder], check=False)
