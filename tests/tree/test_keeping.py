"""Keeping sessions alive, for once in real time: real mounts, and a server whose limits are seconds."""

import contextlib
import json
import os
from collections.abc import Iterator

import pytest

from exportfs.simulator import Config, LoginConfig, ManualClock, Simulator, TimerConfig
from exportfs.simulator.exports.session import RUNNING
from exportfs.wire import export
from tests.conftest import MountFactory
from tests.support.harness import CAMERA, eventually
from tests.tree.looking import directory, exists, record

pytestmark = [pytest.mark.mount, pytest.mark.slow]
LIVE = {"live": {"sources": [{"origin": CAMERA}]}, "stream": {"format": "MKV"}}
LIMIT = 2.0
"""Seconds after which the server ends what nobody asks about. With a refresh of 0.2 s we ask every 0.4 s."""


@pytest.fixture
def clock() -> ManualClock:
    """Of the server: it moves only while a test waits, and no faster than the mount's."""
    return ManualClock()


@pytest.fixture
def simulator(clock: ManualClock) -> Iterator[Simulator]:
    timers = TimerConfig(live_stream=LIMIT, running=LIMIT, completed=LIMIT)
    simulator = Simulator(Config(login=LoginConfig(required=False), timers=timers), clock)
    yield simulator
    simulator.close()


def alive(simulator: Simulator, session_id: str) -> bool:
    return session_id in simulator.sessions.ids()


@pytest.mark.promise("K1", "K2", "K3", "S9")
def test_what_is_kept_and_what_is_not(
    start_mount: MountFactory, simulator: Simulator, clock: ManualClock
) -> None:
    mount = start_mount("--keep-alive", "1.5")
    paused, read, listed = (simulator.add_computed(100_000) for _ in range(3))
    theirs = simulator.sessions.start(
        export.Options(
            live=export.LiveMode(sources=[export.LiveMode.Source(origin=CAMERA)]),
            stream=export.StreamType(format="MKV"),
        )
    )
    tree = mount.tree
    paths = {
        session_id: mount.mountpoint / directory(tree, session_id) for session_id in (paused, read, listed)
    }
    files = {key: path / os.listdir(path)[0] for key, path in paths.items()}
    content = {key: simulator.content(key, simulator.files(key)[0].path) for key in files}
    assert os.listdir(paths[paused])[0].endswith(".mp4")
    player = os.open(files[paused], os.O_RDONLY)
    begin = os.pread(player, 4096, 0)
    # For longer than the limit: one session is open and not read, one read from the page cache, one looked at.
    end = clock.now() + 1.6 * LIMIT

    def passed() -> bool:
        assert files[read].read_bytes() == content[read]
        with contextlib.suppress(OSError):  # it goes at some point
            os.listdir(paths[listed])
            record(tree, f"sessions/{paths[listed].name}")
        clock.advance(0.2)
        return clock.now() > end

    eventually(passed, every=0.2)
    assert alive(simulator, paused)
    assert tree.getxattr(f"sessions/{paths[paused].name}", "user.exportfs.kept_alive") == b"true"
    assert os.pread(player, 4096, 0) == begin
    assert alive(simulator, read)
    assert not alive(simulator, listed)
    eventually(lambda: not exists(tree, f"sessions/{paths[listed].name}"))
    assert theirs not in running(simulator)
    assert simulator.log.calls("GetSessionState", session=theirs) == []
    assert simulator.log.calls("GetSessionState", session=listed) == []
    os.close(player)

    def ended() -> bool:
        clock.advance(0.2)
        return not alive(simulator, paused)

    eventually(ended, every=0.2)


def running(simulator: Simulator) -> list[str]:
    return [key for key in simulator.sessions.ids() if simulator.sessions.find(key).state == RUNNING]


@pytest.mark.promise("K1", "K4")
def test_running_exports_outlive_the_mount(
    start_mount: MountFactory, simulator: Simulator, clock: ManualClock
) -> None:
    mount = start_mount()
    mount.tree.write("new/a.json", json.dumps(LIVE).encode())
    (session_id,) = simulator.sessions.ids()

    def asked_for(seconds: float) -> None:
        end = clock.now() + seconds

        def passed() -> bool:
            # Somebody looks: where nobody does, it is asked as seldom as a real server's limit allows.
            if not mount.tree.listdir("sessions"):
                return False
            clock.advance(0.1)
            return clock.now() > end

        eventually(passed, every=0.1)
        assert running(simulator) == [session_id]

    asked_for(1.2 * LIMIT)
    assert mount.stop() == 0
    mount.start()
    asked_for(1.2 * LIMIT)
    mount.kill()
    mount.start()
    asked_for(1.2 * LIMIT)
    got = record(mount.tree, directory(mount.tree, session_id))
    assert (got["state"], got["started_here"], got["kept_alive"]) == ("running", True, True)
    # Its request's link is there again, too.
    assert directory(mount.tree, session_id) == "sessions/" + mount.tree.readlink("new/a").rpartition("/")[2]
    mount.tree.write(f"{directory(mount.tree, session_id)}/.control", b"stop\n")
    assert running(simulator) == []
