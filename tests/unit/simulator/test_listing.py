import time
from collections.abc import Callable

import grpc
import pytest

from exportfs.simulator import Config, ListingConfig, Simulator
from tests.unit.simulator.conftest import Make
from tests.unit.simulator.helpers import COMPLETED, RUNNING, Client, archive


def test_a_listing_shows_id_options_and_state(client: Client, simulator: Simulator) -> None:
    options = archive()
    running, done = client.start(options), simulator.add_computed(7)
    first, second = client.all()
    assert (first.session.id, first.state.state, first.session.options) == (running, RUNNING, options)
    assert first.state.last_frame_timestamp
    assert (second.session.id, second.state.state) == (done, COMPLETED)
    assert second.state.result.succeeded
    assert second.state.result.files[0].size == 7


def test_pages_follow_each_other(client: Client, simulator: Simulator) -> None:
    ids = simulator.add_many(25)
    [page] = client.page(size=10)
    assert [info.session.id for info in page.sessions] == ids[:10]
    assert page.next_page_token
    assert [info.session.id for info in client.all(10)] == ids
    [page] = client.page(size=25)
    assert not page.next_page_token
    assert [info.session.id for info in client.all()] == ids


def test_pages_stay_right_while_sessions_change(client: Client, simulator: Simulator) -> None:
    ids = simulator.add_many(10)
    [page] = client.page(size=4)
    simulator.sessions.destroy(ids[1])
    simulator.sessions.destroy(ids[3])
    simulator.sessions.destroy(ids[5])
    late = simulator.add_computed(1)
    seen = [
        info.session.id for message in client.page(page.next_page_token, 100) for info in message.sessions
    ]
    assert seen == [ids[4], *ids[6:], late]


def test_a_page_may_be_several_messages(make_server: Make, connect: Callable[..., Client]) -> None:
    config = Config(listing=ListingConfig(default_page_size=10, sessions_per_message=4))
    server = make_server(config)
    ids = server.simulator.add_many(15)
    client = connect(server)
    messages = client.page()
    assert [len(message.sessions) for message in messages] == [4, 4, 2]
    assert [bool(message.next_page_token) for message in messages] == [False, False, True]
    assert [info.session.id for info in client.all()] == ids


def test_an_empty_listing_is_no_message(client: Client) -> None:
    assert client.page() == []


@pytest.mark.parametrize(("token", "size"), [("nonsense", 0), ("after-x", 0), ("", -1)])
def test_wrong_pages_are_refused(client: Client, token: str, size: int) -> None:
    with pytest.raises(grpc.RpcError) as caught:
        client.page(token, size)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.slow
def test_ten_thousand_sessions_are_listed_fast(client: Client, simulator: Simulator) -> None:
    simulator.add_many(10_000)
    client.all()
    begin = time.process_time()
    assert len(client.all()) == 10_000
    assert time.process_time() - begin < 5
