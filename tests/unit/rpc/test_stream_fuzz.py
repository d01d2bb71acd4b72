"""Wide downloads from a server whose words are cut anywhere, with faults in between: the right bytes come in order, or
an error does; never a wrong byte, and no thread stays."""

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from exportfs.model import Fetch
from tests.support.answers import BLOCK, Sent, Taken, answers
from tests.support.framed_peer import Peer, Peers
from tests.support.tls import Ends

pytestmark = pytest.mark.promise("R6")


async def take(peers: Peers, sent: Sent, step: int, leave_at: int | None) -> Taken:
    taken = Taken(sent.size, step, leave_at)
    asked = Fetch("s", "f", BLOCK, 0, step, size=sent.size, wide=True)
    taken.download = download = peers.begin(asked, taken)
    with trio.fail_after(60):
        await taken.until_the_end(sent, lambda: any(peer.stalled.is_set() for peer in peers.made))
        while download._waker.descriptor >= 0:  # until its thread has no more to do with it
            await trio.testing.wait_all_tasks_blocked(0.001)
    return taken


@settings(
    deadline=None, max_examples=60, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow]
)
@given(
    calls=st.lists(
        st.tuples(answers(), st.integers(1, 9), st.none() | st.integers(1, 7)), min_size=1, max_size=3
    ),
    pieces=st.lists(st.integers(1, 50) | st.integers(500, 20000), min_size=1, max_size=5).map(tuple),
)
def test_right_or_an_error(
    encryption: Ends | None, calls: list[tuple[Sent, int, int | None]], pieces: tuple[int, ...]
) -> None:
    client, server = (None, None) if encryption is None else (encryption.client, encryption.server)

    async def run() -> None:
        now: list[Sent] = []
        peers = Peers(lambda: Peer(lambda number: now[0](number), pieces, server), tls=client)
        async with trio.open_nursery() as peers.nursery:
            # Whether the server has done what may harm a call or those that follow on its connection.
            faulty = goodbye = False
            for sent, step, leave_at in calls:
                faulty = faulty or sent.fatal is not None
                now[:] = [sent]
                taken = await take(peers, sent, step, leave_at)
                assert faulty or taken.is_as_it_should_be(goodbye), taken.error
                goodbye = goodbye or (taken.left and sent.says_goodbye)
                for peer in peers.made:
                    peer.stalled.clear()
            peers.close()
        for peer in peers.made:
            peer.thread.join(5)
            assert not peer.thread.is_alive()

    trio.run(run)
