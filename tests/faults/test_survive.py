"""What comes from outside never ends the mount, and what ends it leaves nothing behind."""

import contextlib
import errno
import json
import os
import signal
import stat
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.content import make_file
from bench.processes import Child, python
from exportfs.simulator import (
    Answer,
    Config,
    Hang,
    LoginConfig,
    LongBlock,
    Overrun,
    Proxy,
    RepeatBlock,
    ShortBlock,
    Simulator,
    SimulatorServer,
    SkipBlock,
    Stall,
    SwapBlocks,
    WrongIndex,
    make_certificates,
)
from exportfs.simulator.faults.actions import Action
from tests.conftest import MountFactory
from tests.faults.chaos import digests, results
from tests.support.harness import (
    ARCHIVE_REQUEST,
    DEADLINE,
    MountProcess,
    eventually,
    expect_errno,
    is_mounted,
)

pytestmark = pytest.mark.mount

MIB = 1 << 20
SHM = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""For what a server is to have in memory; None: as everything."""


def only_result(mount: MountProcess) -> Path:
    path: Path = eventually(lambda: next(iter(results(mount.mountpoint).values()), None))
    return path


def status(mount: MountProcess) -> dict[str, object]:
    found: dict[str, object] = json.loads((mount.mountpoint / ".status.json").read_text())
    return found


MALFORMED = [b"\xff" * 64, b"\x08", b"\x0a\xff\xff\xff\xff\x7f", b"\x0a\x02\x0a\x05", b"<html>"]


@pytest.mark.slow
@pytest.mark.parametrize("intervals", [{"exportfs.sessions.keepalive.RETRY": 0.2}], ids=["soon again"])
@pytest.mark.parametrize("method", ["ListSessions", "DownloadFile", "GetSessionState", "StartSession"])
def test_malformed_messages(simulator: Simulator, start_mount: MountFactory, method: str) -> None:
    mount = start_mount("--timeout", "2")
    # What tries again between two faults succeeds: a small file would be at hand as a whole, and nothing asked for.
    session_id = simulator.add_computed(64 * MIB if method == "DownloadFile" else MIB)
    path = only_result(mount)
    true = simulator.content(session_id, simulator.files(session_id)[0].path)
    with path.open("rb"):  # its session is asked about
        for number, raw in enumerate(MALFORMED):
            fault = simulator.faults.add(method, Answer((raw,)), times=None)
            with contextlib.suppress(OSError):
                os.listdir(mount.mountpoint / "sessions")
            with contextlib.suppress(OSError):
                assert path.read_bytes() == true
            if method == "StartSession":
                archive = {**ARCHIVE_REQUEST["archive"], "endTimestamp": f"20260511T08043{number}"}
                with contextlib.suppress(OSError):
                    (mount.mountpoint / f"new/{number}.json").write_text(
                        json.dumps({**ARCHIVE_REQUEST, "archive": archive})
                    )
            eventually(lambda fault=fault: fault.hits)
            simulator.faults.clear()
    assert eventually(lambda: read_or_none(path)) == true


def read_or_none(path: Path) -> bytes | None:
    with contextlib.suppress(OSError):
        return path.read_bytes()
    return None


BLOCKS: list[Action] = [
    ShortBlock(),
    LongBlock(),
    RepeatBlock(),
    SkipBlock(),
    WrongIndex(),
    WrongIndex(rest=True),
    SwapBlocks(),
    Overrun(),
]


@pytest.mark.parametrize("action", BLOCKS, ids=str)
def test_wrong_blocks(simulator: Simulator, mount: MountProcess, action: Action) -> None:
    """Once: then nobody notices; for ever: then a read gives the true bytes or EIO."""
    once, ever = (simulator.add_computed(3 * MIB + 17) for _ in range(2))
    (file_id,) = [file.path for file in simulator.files(once)]
    fault = simulator.faults.add("DownloadFile", action)
    path = eventually(lambda: results(mount.mountpoint).get(file_id))
    assert path.read_bytes() == simulator.content(once, file_id)
    assert fault.hits == 1
    # What it spoilt was fetched again.
    assert len(simulator.log.calls("DownloadFile", once)) > 1

    (file_id,) = [file.path for file in simulator.files(ever)]
    path = eventually(lambda: results(mount.mountpoint).get(file_id))
    true = simulator.content(ever, file_id)
    fault = simulator.faults.add("DownloadFile", action, times=None)
    refused = 0
    with open(path, "rb", buffering=0) as file:
        for offset in (0, MIB + 5, 3 * MIB):
            try:
                assert os.pread(file.fileno(), 4096, offset) == true[offset : offset + 4096]
            except OSError as error:
                assert error.errno == errno.EIO  # noqa: PT017 # an error is one of two right answers
                refused += 1
    assert fault.hits
    assert refused  # the last block at least: nobody gets it before the download has ended as it should


@pytest.mark.parametrize(
    ("announced", "held"), [(2 * MIB, MIB), (MIB, MIB + 5), (MIB + 5, MIB), (5, 0), (0, 5), (0, 5 * MIB)]
)
def test_size_that_does_not_hold(
    simulator: Simulator, mount: MountProcess, announced: int, held: int
) -> None:
    session_id = simulator.add_computed(held, announced=[announced])
    path = only_result(mount)
    true = simulator.content(session_id, simulator.files(session_id)[0].path)
    assert path.stat().st_size == announced
    expect_errno(errno.EIO, path.read_bytes)
    with contextlib.suppress(OSError), open(path, "rb", buffering=0) as file:
        assert os.pread(file.fileno(), 4096, 0) == true[:4096]


def test_content_that_changes_length(simulator: Simulator, mount: MountProcess) -> None:
    session_id = simulator.add_computed(8 * MIB)
    path = only_result(mount)
    (file_id,) = [file.path for file in simulator.files(session_id)]
    with open(path, "rb", buffering=0) as file:
        assert len(os.pread(file.fileno(), 4096, 0)) == 4096
        simulator.resize(session_id, file_id, 5 * MIB)
        expect_errno(errno.EIO, os.pread, file.fileno(), 4096, 7 * MIB)
        simulator.resize(session_id, file_id, 8 * MIB)
        assert os.pread(file.fileno(), 4096, 7 * MIB) == simulator.content(session_id, file_id, 7 * MIB, 4096)


@pytest.mark.slow
def test_many_opens(simulator: Simulator, mount: MountProcess) -> None:
    simulator.add_computed(MIB)
    path = only_result(mount)
    descriptors = [os.open(path, os.O_RDONLY) for _ in range(500)]
    for descriptor in descriptors:
        os.close(descriptor)
    before = open_files(mount)
    for _ in range(2_000):  # of which no more than five may have kept a descriptor
        os.close(os.open(path, os.O_RDONLY))
    assert open_files(mount) <= before + 5
    assert path.read_bytes()


def open_files(mount: MountProcess) -> int:
    """Only root may look at them, as the process is not dumpable; others see for how many there has been room."""
    try:
        return len(os.listdir(f"/proc/{mount.pid}/fd"))
    except PermissionError:
        lines = Path(f"/proc/{mount.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("FDSize:"))


def memory(mount: MountProcess) -> int:
    """Bytes resident, at the most so far."""
    lines = Path(f"/proc/{mount.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024


RSS_BEYOND_CACHE = 96 * MIB
"""What the mount may take besides `--cache-size`, as promised: Python, gRPC and its buffers, what is under way."""


@pytest.mark.slow
def test_many_readers(simulator: Simulator, start_mount: MountFactory) -> None:
    cache = 32 * MIB
    mount = start_mount("--cache-size", str(cache))
    ids = [simulator.add_computed(3 * MIB) for _ in range(32)]
    found = eventually(lambda: len(results(mount.mountpoint)) == 32 and results(mount.mountpoint))
    paths = [found[simulator.files(session_id)[0].path] for session_id in ids]
    truth = [simulator.digest(session_id, simulator.files(session_id)[0].path) for session_id in ids]
    assert digests(paths * 2) == truth * 2
    assert memory(mount) < cache + RSS_BEYOND_CACHE


@pytest.mark.slow
def test_many_readers_of_one_file(simulator: Simulator, server: SimulatorServer, tmp_path: Path) -> None:
    """Each at a place of its own, with a small cache and as many downloads as one may ask for: 85 to 95 MiB. When each
    of them had a stream it was 120 to 133, half of that gaps between pieces of memory."""
    cache, readers, each = 16 * MIB, 32, 16 * MIB
    simulator.add_computed(readers * each)
    options = ("--insecure", "--cache-size", str(cache), "--max-downloads", "64")
    # Of an interpreter of its own: of one that had more before the mount would have it, too.
    mount = MountProcess(server.address, tmp_path, *options, fresh=True)
    try:
        read_side_by_side(only_result(mount.start()), readers, each)
        assert memory(mount) < cache + RSS_BEYOND_CACHE
        mount.check_log()
    finally:
        mount.clean_up()


@pytest.mark.slow
@pytest.mark.parametrize("cache", [16 * MIB, 64 * MIB])
def test_eight_readers_of_one_file_on_a_fast_line(cache: int, tmp_path: Path) -> None:
    """As fast as the machine can, from a server that costs little: 77 to 87 MiB with the small cache, 105 to 123
    with the other."""
    readers, each = 8, 32 * MIB
    with tempfile.TemporaryDirectory(dir=SHM) as shared, ExitStack() as stack:
        make_file(Path(shared, "a.mp4"), readers * each)
        server = Child(python("bench.server", shared), tmp_path / "server.log", pipes=True)
        stack.callback(server.stop)
        options = ("--insecure", "--cache-size", str(cache))
        # Of an interpreter of its own: of one that had more before the mount would have it, too.
        mount = MountProcess(f"127.0.0.1:{server.line()}", tmp_path, *options, fresh=True)
        stack.callback(mount.clean_up)
        read_side_by_side(only_result(mount.start()), readers, each)
        assert memory(mount) < cache + RSS_BEYOND_CACHE
        mount.check_log()


def read_side_by_side(path: Path, readers: int, each: int) -> None:
    """Each reads so many bytes, from where the one before it ends."""
    places = [f"skip={number * each // MIB}" for number in range(readers)]
    command = ["dd", f"if={path}", "of=/dev/null", "bs=1M", f"count={each // MIB}"]
    copies = [subprocess.Popen([*command, place], stderr=subprocess.DEVNULL) for place in places]
    assert [copy.wait(timeout=120) for copy in copies] == [0] * readers


def test_full_log_disk(simulator: Simulator, start_mount: MountFactory) -> None:
    mount = start_mount("--log-file", "/dev/full", "--log-level", "debug")
    session_id = simulator.add_computed(MIB)
    assert only_result(mount).read_bytes() == simulator.content(
        session_id, simulator.files(session_id)[0].path
    )
    assert mount.stop() == 0


def test_full_journal_disk(simulator: Simulator, server: SimulatorServer, tmp_path: Path) -> None:
    """A request that cannot be recorded is not sent, and the mount goes on."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    state = tmp_path / "state"
    state.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k,mode=700", "tmpfs", state], check=True)
    try:
        mount = MountProcess(server.address, tmp_path, "--insecure", "--refresh", "0.5", "--timeout", "5")
        try:
            mount.start()
            request = mount.mountpoint / "new/one.json"
            filler = state / "filler"
            with contextlib.suppress(OSError), filler.open("wb") as file:
                file.write(bytes(1 << 20))
            expect_errno(errno.EIO, request.write_text, json.dumps(ARCHIVE_REQUEST))
            assert "journal" in (mount.mountpoint / "new/one.json.error").read_text()
            assert simulator.log.count("StartSession") == 0
            filler.unlink()
            request.write_text(json.dumps(ARCHIVE_REQUEST))
            assert simulator.log.count("StartSession") == 1
            mount.kill()
            mount.start()
            mount.check_log()
            assert "cannot be read and is passed over" not in mount.log.read_text()
            (session,) = eventually(lambda: list(mount.mountpoint.glob("sessions/*")))
            assert json.loads((session / ".session.json").read_text())["started_here"] is True
        finally:
            mount.clean_up()
    finally:
        subprocess.run(["umount", "-l", state], check=True)


def test_killed_and_mounted_again(simulator: Simulator, mount: MountProcess) -> None:
    (mount.mountpoint / "new/one.json").write_text(json.dumps(ARCHIVE_REQUEST))
    mount.kill()
    expect_errno(errno.ENOTCONN, os.listdir, mount.mountpoint)
    mount.start()
    (session,) = eventually(lambda: list(mount.mountpoint.glob("sessions/*")))
    assert json.loads((session / ".session.json").read_text())["started_here"] is True
    assert simulator.log.count("StartSession") == 1


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[tuple[Simulator, MountProcess]]:
    """A mount with a login."""
    simulator = Simulator(Config(login=LoginConfig(), export_seconds=0.2))
    with SimulatorServer(simulator) as server:
        mount = MountProcess(
            server.address,
            tmp_path,
            "--insecure",
            "--refresh",
            "0.5",
            "--timeout",
            "10",
            "--user",
            "demo",
            env={"EXPORTFS_PASSWORD": "demo"},
        )
        try:
            yield simulator, mount.start()
            mount.check_log()
        finally:
            simulator.faults.clear()
            mount.clean_up()
    simulator.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("doing", ["nothing", "read", "submit"])
def test_signals(guarded: tuple[Simulator, MountProcess], number: signal.Signals, doing: str) -> None:
    simulator, mount = guarded
    simulator.add_computed(32 * MIB)
    path = only_result(mount)
    outcome: list[OSError] = []

    def work(what: Callable[[], object]) -> None:
        try:
            what()
        except OSError as error:
            outcome.append(error)

    user = None
    if doing == "read":
        simulator.faults.add("DownloadFile", Stall(after_bytes=MIB), times=None)
        user = threading.Thread(target=work, args=(path.read_bytes,))
    elif doing == "submit":
        simulator.faults.add("StartSession", Hang(after_work=True))
        request = mount.mountpoint / "new/one.json"
        user = threading.Thread(target=work, args=(lambda: request.write_text(json.dumps(ARCHIVE_REQUEST)),))
    if user is not None:
        user.start()
        method = "DownloadFile" if doing == "read" else "StartSession"
        eventually(lambda: simulator.log.count(method))
    assert mount.stop(number) == 0
    if user is not None:
        user.join(DEADLINE)
        assert not user.is_alive()
        assert outcome
    assert not is_mounted(mount.mountpoint)
    assert os.listdir(mount.mountpoint) == []
    assert simulator.log.count("CloseSession") == 1
    assert simulator.accounts.logins() == 0
    if doing == "submit":
        simulator.faults.clear()
        mount.start()
        # The answer was lost: the next mount finds the session and knows it for its own.
        eventually(lambda: any(started_here(mount)))
        assert simulator.log.count("StartSession") == 1


def started_here(mount: MountProcess) -> list[bool]:
    found = []
    for record in mount.mountpoint.glob("sessions/*/.session.json"):
        found.append(bool(json.loads(record.read_text())["started_here"]))
    return found


def test_unmounted(guarded: tuple[Simulator, MountProcess]) -> None:
    simulator, mount = guarded
    simulator.add_computed(MIB)
    with only_result(mount).open("rb"):
        busy = subprocess.run(
            ["fusermount3", "-u", mount.mountpoint], capture_output=True, text=True, check=False
        )
        assert busy.returncode != 0
        assert is_mounted(mount.mountpoint)
        assert status(mount)["pid"] == mount.pid
    subprocess.run(["fusermount3", "-u", mount.mountpoint], check=True)
    assert mount.process is not None
    assert mount.process.wait(DEADLINE) == 0
    assert simulator.accounts.logins() == 0


def test_private(guarded: tuple[Simulator, MountProcess], tmp_path: Path) -> None:
    """Others get nothing: not through the mount, nor of the journal."""
    _, mount = guarded
    (mount.mountpoint / "new/one.json").write_text(json.dumps(ARCHIVE_REQUEST))
    paths = list((tmp_path / "state").rglob("*"))
    assert any(path.is_file() for path in paths)
    for path in paths:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    if os.geteuid() == 0:
        result = subprocess.run(
            ["ls", mount.mountpoint],
            user=65534,
            group=65534,
            extra_groups=[],
            capture_output=True,
            check=False,
        )
        assert result.returncode != 0


def test_server_without_agents(tmp_path: Path) -> None:
    simulator = Simulator(Config(login=LoginConfig(required=False), agents=()))
    with SimulatorServer(simulator) as server:
        mount = MountProcess(server.address, tmp_path, "--insecure", "--timeout", "5")
        try:
            mount.start()
            request = mount.mountpoint / "new/one.json"
            expect_errno(errno.EBUSY, request.write_text, json.dumps(ARCHIVE_REQUEST))
            assert "agent" in (mount.mountpoint / "new/one.json.error").read_text().lower()
        finally:
            mount.clean_up()
    simulator.close()


@pytest.mark.slow
def test_far_away(simulator: Simulator, tmp_path: Path) -> None:
    """A round trip of 0.7 s, as by satellite, of which TLS takes several: slow, and no fault."""
    tls = make_certificates(tmp_path)
    with SimulatorServer(simulator, tls=tls) as server, Proxy(server.port) as proxy:
        proxy.latency = 0.7
        options = ("--ca-file", str(tls.ca_file), "--tls-server-name", tls.name)
        mount = MountProcess(proxy.address, tmp_path, *options)
        try:
            mount.start()
            session_id = simulator.add_computed(MIB)
            path = only_result(mount)
            with ThreadPoolExecutor(4) as threads:
                assert len(set(threads.map(lambda _: path.read_bytes(), range(4)))) == 1
            assert path.read_bytes() == simulator.content(session_id, simulator.files(session_id)[0].path)
        finally:
            mount.clean_up()
