from collections.abc import Callable

import grpc
import pytest

from exportfs.simulator import Config, ManualClock, MediaConfig, Simulator, TimerConfig
from exportfs.wire import export
from tests.unit.simulator.conftest import Make
from tests.unit.simulator.helpers import COMPLETED, REMOVED, RUNNING, Client, archive, live

SLOW = Config(export_seconds=10_000, media=MediaConfig(max_frames=60))


@pytest.fixture
def slow(make_server: Make, connect: Callable[..., Client]) -> Client:
    """Of a server whose exports never end by themselves."""
    return connect(make_server(SLOW))


def _login(client: Client, clock: ManualClock, seconds: float) -> None:
    clock.advance(seconds)
    client.login()


def _listed(client: Client) -> dict[str, int]:
    return {info.session.id: info.state.state for info in client.all()}


def _gone(client: Client, session: str) -> bool:
    try:
        client.state(session)
    except grpc.RpcError as error:
        return (error.code(), error.details()) == (
            grpc.StatusCode.NOT_FOUND,
            "There is no session with provided ID",
        )
    return False


def test_a_live_stream_nobody_asks_about_is_stopped_after_5_minutes(slow: Client, clock: ManualClock) -> None:
    session = slow.start(live())
    _login(slow, clock, 299)
    assert _listed(slow) == {session: RUNNING}
    _login(slow, clock, 1)
    assert _listed(slow) == {session: COMPLETED}
    [info] = slow.all()
    assert info.state.result.succeeded
    assert len(info.state.result.files) == 1


@pytest.mark.parametrize("options", [archive(), live(seconds=1)], ids=["archive", "live snapshot"])
def test_another_export_is_stopped_after_30_minutes(
    slow: Client, clock: ManualClock, options: export.Options
) -> None:
    if options.HasField("live"):
        options.snapshot.format = export.SnapshotType.EFormat.JPEG
    session = slow.start(options)
    _login(slow, clock, 1799)
    assert _listed(slow) == {session: RUNNING}
    _login(slow, clock, 1)
    assert _listed(slow) == {session: COMPLETED}


def test_asking_resets_the_timer_and_listing_does_not(slow: Client, clock: ManualClock) -> None:
    session = slow.start(live())
    for _ in range(5):
        _login(slow, clock, 290)
        assert slow.state(session).state == RUNNING
    _login(slow, clock, 290)
    assert _listed(slow) == {session: RUNNING}
    _login(slow, clock, 20)
    assert _listed(slow) == {session: COMPLETED}


def test_completed_files_are_deleted_after_an_hour(client: Client, clock: ManualClock) -> None:
    session = client.start(archive())
    clock.advance(2)
    _login(client, clock, 3599)
    assert _listed(client) == {session: COMPLETED}
    _login(client, clock, 1)
    assert _listed(client) == {}
    assert _gone(client, session)


def test_the_hour_begins_with_the_completion_and_not_when_it_is_noticed(
    client: Client, clock: ManualClock
) -> None:
    session = client.start(archive())
    _login(client, clock, 3603)
    assert _gone(client, session)


@pytest.mark.parametrize("use", ["state", "download"])
def test_using_a_completed_session_keeps_it(
    client: Client, simulator: Simulator, clock: ManualClock, use: str
) -> None:
    session = simulator.add_computed(100)
    for _ in range(3):
        _login(client, clock, 3000)
        if use == "state":
            client.state(session)
        else:
            client.read(session, simulator.files(session)[0].path)
    _login(client, clock, 3000)
    assert _listed(client) == {session: COMPLETED}
    _login(client, clock, 601)
    assert _gone(client, session)


def test_sessions_that_never_expire(client: Client, simulator: Simulator, clock: ManualClock) -> None:
    session = simulator.add_computed(1, expires=False)
    _login(client, clock, 1e6)
    assert _listed(client) == {session: COMPLETED}


def test_a_server_that_shows_removed_sessions_for_a_while(
    make_server: Make, connect: Callable[..., Client], clock: ManualClock
) -> None:
    server = make_server(Config(timers=TimerConfig(completed=100, show_removed=50)))
    client = connect(server)
    session = server.simulator.add_computed(5)
    path = server.simulator.files(session)[0].path
    clock.advance(100)
    assert client.state(session).state == REMOVED
    assert not client.state(session).result.files
    with pytest.raises(grpc.RpcError) as caught:
        client.read(session, path)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.RpcError):
        client.destroy(session)
    clock.advance(50)
    assert _gone(client, session)


def test_a_server_that_lists_destroyed_sessions_for_a_while(
    make_server: Make, connect: Callable[..., Client], clock: ManualClock
) -> None:
    server = make_server(Config(timers=TimerConfig(destroyed_stays=9)))
    client = connect(server)
    session = server.simulator.add_computed(5)
    client.destroy(session)
    clock.advance(8)
    assert _listed(client) == {session: COMPLETED}
    assert client.read(session, server.simulator.files(session)[0].path)
    clock.advance(2)
    assert _gone(client, session)


def test_limits_can_be_shortened(
    make_server: Make, connect: Callable[..., Client], clock: ManualClock
) -> None:
    server = make_server(
        Config(export_seconds=1000, timers=TimerConfig(live_stream=1, running=2, completed=3))
    )
    client = connect(server)
    short, long = client.start(live()), client.start(archive())
    clock.advance(1)
    assert _listed(client) == {short: COMPLETED, long: RUNNING}
    clock.advance(1)
    assert _listed(client) == {short: COMPLETED, long: COMPLETED}
    clock.advance(2)
    assert _listed(client) == {long: COMPLETED}


def test_destroy_removes_at_once(client: Client, clock: ManualClock) -> None:
    running, done = client.start(archive()), client.start(archive())
    client.destroy(running)
    assert _gone(client, running)
    clock.advance(2)
    client.destroy(done)
    assert _listed(client) == {}
    for call in (client.destroy, client.stop):
        with pytest.raises(grpc.RpcError) as caught:
            call(done)
        assert caught.value.code() == grpc.StatusCode.NOT_FOUND
