"""Downloads to the byte from a server whose words are cut anywhere, with faults in between: the right bytes come in
order, or an error does; never a wrong byte."""

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from exportfs.model import Fetch
from exportfs.rpc.exact import ExactDownload
from tests.support.answers import BLOCK, Sent, Taken, answers
from tests.support.exact_peer import PeerConnection
from tests.support.framed_peer import Peer
from tests.support.tls import Ends

pytestmark = pytest.mark.promise("R6")


async def take(connection: PeerConnection, sent: Sent, step: int, leave_at: int | None, window: int) -> Taken:
    taken = Taken(sent.size, step, leave_at)
    asked = Fetch("s", "f", BLOCK, 0, step, size=sent.size)
    taken.download = download = ExactDownload(connection, asked, taken)
    connection.start(download, "/x", b"request", ())
    download.window(window)
    with trio.fail_after(60):
        await taken.until_the_end(sent, connection.peer.stalled.is_set)
    return taken


LATE_GOODBYE = Sent(20000, [(9000, None)], [(2, "ping")] * 40 + [(2, "goodbye")], None)
"""Said byte by byte it comes after the first block has been taken, and the call left."""


@settings(
    deadline=None,
    max_examples=60,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow],
)
@given(
    calls=st.lists(
        st.tuples(
            answers(), st.integers(1, 9), st.none() | st.integers(1, 7), st.sampled_from([17000, 1 << 20])
        ),
        min_size=1,
        max_size=3,
    ),
    pieces=st.lists(st.integers(1, 50) | st.integers(500, 20000), min_size=1, max_size=5).map(tuple),
)
@example(
    calls=[(LATE_GOODBYE, 3, 1, 1 << 20), (Sent(20000, [(9000, None)], [], None), 3, None, 1 << 20)],
    pieces=(1,),
)
def test_right_or_an_error(
    encryption: Ends | None, calls: list[tuple[Sent, int, int | None, int]], pieces: tuple[int, ...]
) -> None:
    server, roots = (None, None) if encryption is None else (encryption.server, encryption.roots)

    async def run() -> None:
        now: list[Sent] = []
        made: list[PeerConnection] = []
        async with trio.open_nursery() as nursery:
            faulty = goodbye = False
            for sent, step, leave_at, window in calls:
                if not made or not made[-1].usable or made[-1].full:
                    peer = Peer(lambda number: now[0](number), pieces, server)
                    made.append(PeerConnection(peer, roots=roots))
                    nursery.start_soon(made[-1].serve)
                    faulty = goodbye = False
                faulty = faulty or sent.fatal is not None
                now[:] = [sent]
                taken = await take(made[-1], sent, step, leave_at, window)
                assert faulty or taken.is_as_it_should_be(goodbye), taken.error
                goodbye = goodbye or (taken.left and sent.says_goodbye)
                if sent.stalls:
                    made[-1].suspect()  # it says nothing to any other call either
            for connection in made:
                connection.close()
        for connection in made:
            connection.peer.thread.join(5)
            assert not connection.peer.thread.is_alive()

    trio.run(run)
