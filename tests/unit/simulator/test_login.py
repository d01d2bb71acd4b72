from collections.abc import Callable

import grpc
import pytest

from exportfs.simulator import Account, Config, LoginConfig, ManualClock, SimulatorServer, timestamps
from exportfs.wire import auth, service
from tests.unit.simulator.conftest import Make
from tests.unit.simulator.helpers import Client

Codes = auth.AuthenticateResponseEx.EAuthenticateCode


def _code(call: Callable[[], object]) -> grpc.StatusCode:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value.code()


def test_a_login_gives_a_token_that_opens_the_service(client: Client, clock: ManualClock) -> None:
    answer = client.login()
    assert answer.error_code == Codes.AUTHENTICATE_CODE_OK
    assert answer.token_name == "auth_token"
    assert answer.expires_in == 300
    assert timestamps.parse(answer.expires_at) == clock.now() + 300
    assert len(answer.expires_at) == len("20201112T144147")
    assert client.all() == []


def test_a_wrong_password_is_a_code_and_not_a_status(server: SimulatorServer) -> None:
    client = Client(server.address)
    answer = client.login("demo", "wrong")
    assert answer.error_code == Codes.AUTHENTICATE_CODE_WRONG_CREDENTIALS
    assert answer.error_description.description
    assert not answer.token_value
    assert client.login("nobody", "demo").error_code == Codes.AUTHENTICATE_CODE_WRONG_CREDENTIALS
    client.close()


@pytest.mark.parametrize("metadata", [[], [("auth_token", "guess")], [("other", "x")]])
def test_every_call_needs_a_token(client: Client, metadata: list[tuple[str, str]]) -> None:
    client.metadata = metadata
    calls: list[Callable[[], object]] = [
        lambda: client.all(),
        lambda: client.state("x"),
        lambda: client.stop("x"),
        lambda: client.destroy("x"),
        lambda: client.blocks("x", "y"),
        lambda: client.stub.StartSession(service.StartSessionRequest(), metadata=metadata),
        lambda: client.auth.RenewSession2(auth.RenewSessionRequest(), metadata=metadata),
        lambda: client.auth.CloseSession(auth.CloseSessionRequest(), metadata=metadata),
    ]
    assert {_code(call) for call in calls} == {grpc.StatusCode.UNAUTHENTICATED}


def test_a_token_ends_and_renewal_must_come_before(client: Client, clock: ManualClock) -> None:
    clock.advance(200)
    fresh = client.auth.RenewSession2(auth.RenewSessionRequest(), metadata=client.metadata)
    assert fresh.token_value != client.metadata[0][1]
    clock.advance(99)
    client.all()
    clock.advance(1)
    assert _code(client.all) == grpc.StatusCode.UNAUTHENTICATED
    client.metadata = [(fresh.token_name, fresh.token_value)]
    client.all()
    clock.advance(200)
    call = lambda: client.auth.RenewSession2(auth.RenewSessionRequest(), metadata=client.metadata)  # noqa: E731
    assert _code(call) == grpc.StatusCode.UNAUTHENTICATED


def test_renewal_can_end_the_old_token(make_server: Make, connect: Callable[..., Client]) -> None:
    client = connect(make_server(Config(login=LoginConfig(renewal_ends_old_token=True))))
    client.auth.RenewSession2(auth.RenewSessionRequest(), metadata=client.metadata)
    assert _code(client.all) == grpc.StatusCode.UNAUTHENTICATED


def test_close_session_ends_the_login(client: Client, server: SimulatorServer) -> None:
    assert server.simulator.accounts.logins("demo") == 1
    answer = client.auth.CloseSession(auth.CloseSessionRequest(), metadata=client.metadata)
    assert answer.error_code == auth.CloseSessionResponse.OK
    assert server.simulator.accounts.logins() == 0
    assert _code(client.all) == grpc.StatusCode.UNAUTHENTICATED


def test_who_never_closes_logins_locks_the_user_out(make_server: Make) -> None:
    server = make_server(Config(login=LoginConfig(accounts={"demo": Account("demo", max_logins=2)})))
    client = Client(server.address)
    assert [client.login().error_code for _ in range(3)] == [0, 0, Codes.AUTHENTICATE_CODE_ALREADY_LOGGED]
    assert client.login().error_description.reached_connection_limit.value
    client.auth.CloseSession(auth.CloseSessionRequest(), metadata=client.metadata)
    assert client.login().error_code == 0
    client.close()


def test_wrong_passwords_in_a_row_lock_the_user(make_server: Make) -> None:
    server = make_server(Config(login=LoginConfig(accounts={"demo": Account("demo", lock_after=2)})))
    client = Client(server.address)
    client.login("demo", "a")
    client.login("demo", "b")
    assert client.login().error_code == Codes.AUTHENTICATE_CODE_USER_LOCKED
    client.close()


def test_a_second_factor(make_server: Make, clock: ManualClock) -> None:
    server = make_server(
        Config(login=LoginConfig(accounts={"demo": Account("demo", second_factor="123456")}))
    )
    client = Client(server.address)

    def answer(session_id: str, code: str) -> int:
        request = auth.AuthenticateBySecondFactorRequest(session_id=session_id, verification_code=code)
        result = client.auth.AuthenticateBySecondFactor(request)
        if result.token_value:
            client.metadata = [(result.token_name, result.token_value)]
        return int(result.error_code)

    first = client.login()
    assert first.error_code == Codes.AUTHENTICATE_CODE_SECOND_FACTOR_AUTH_NEEDED
    assert not first.token_value
    info = first.auth_second_factor_info
    assert timestamps.parse(info.session_expires_at) > clock.now()
    assert answer(info.session_id, "000000") == Codes.AUTHENTICATE_CODE_TFA_WRONG_CODE
    assert answer(info.session_id, "123456") == 0
    client.all()
    assert answer(info.session_id, "123456") == Codes.AUTHENTICATE_CODE_GENERAL_ERROR
    late = client.login().auth_second_factor_info.session_id
    clock.advance(121)
    assert answer(late, "123456") == Codes.AUTHENTICATE_CODE_TFA_TIME_EXCEEDED
    guessed = client.login().auth_second_factor_info.session_id
    codes = [answer(guessed, "000000") for _ in range(3)]
    assert codes[-1] == Codes.AUTHENTICATE_CODE_TFA_ATTEMPT_LIMIT_EXCEEDED
    client.close()


@pytest.mark.parametrize("code", [*Codes.values()[1:], 99])
def test_every_code_can_be_scripted(server: SimulatorServer, code: int) -> None:
    client = Client(server.address)
    server.simulator.accounts.script(code, times=2, description="why", reached_connection_limit=True)
    answers = [client.login() for _ in range(3)]
    assert [answer.error_code for answer in answers] == [code, code, 0]
    assert answers[0].error_description.description == "why"
    assert answers[0].error_description.reached_connection_limit.value
    client.close()


def test_a_server_without_logins(make_server: Make) -> None:
    client = Client(make_server(Config(login=LoginConfig(required=False))).address)
    assert client.all() == []
    client.close()


def test_revoked_tokens(client: Client, server: SimulatorServer) -> None:
    server.simulator.accounts.revoke()
    assert _code(client.all) == grpc.StatusCode.UNAUTHENTICATED
    client.login()
    client.all()
