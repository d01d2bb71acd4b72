"""`.metrics`: each number moves with what it counts, as the format's own parser reads it."""

import errno
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families

import exportfs
from exportfs.simulator import (
    Account,
    Config,
    Fail,
    Hang,
    LoginConfig,
    Simulator,
    SimulatorServer,
)
from tests.conftest import IMPATIENT, MountFactory
from tests.support.harness import (
    ARCHIVE_REQUEST,
    MountedTree,
    MountProcess,
    Tree,
    eventually,
    expect_denied,
    expect_errno,
)
from tests.support.swapping import in_the_way
from tests.tree.looking import LIVE_REQUEST, calls_but_listings, directory, results

METRICS = ".metrics"
PREFIX = "axxon_exportfs_"
OLD_TYPES = ("counter", "gauge", "histogram")
"""Those that the format before OpenMetrics has as well: node exporter takes nothing of a file with another one."""
Samples = dict[str, float]


@pytest.fixture
def intervals() -> dict[str, float]:
    """The text stands for a second, a question that failed is asked again after two, and a login after five."""
    return {
        "exportfs.vfs.metrics.file.OLDEST": 0.05,
        "exportfs.sessions.keepalive.RETRY": 0.2,
        "exportfs.rpc.login.EXPIRED_PAUSE": 0.2,
    }


def samples_of(text: bytes) -> Samples:
    """Values by name and labels but for the mount point, in the order of their names: `requests_total invalid`."""
    found: Samples = {}
    for family in text_string_to_metric_families(text.decode()):
        assert family.name.startswith(PREFIX)
        assert family.type in OLD_TYPES
        assert family.documentation
        for sample in family.samples:
            labels = dict(sample.labels)
            labels.pop("mountpoint")
            found[" ".join([sample.name.removeprefix(PREFIX), *(labels[key] for key in sorted(labels))])] = (
                sample.value
            )
    return found


def samples(tree: Tree) -> Samples:
    return samples_of(tree.read(METRICS))


def lists(tree: Tree) -> bool:
    """Whether the sessions can be listed; looking also makes the mount ask for them."""
    try:
        tree.listdir("sessions")
    except OSError:
        return False
    return True


def grows(tree: Tree, name: str, event: Callable[[], object], by: float | None = None) -> Samples:
    """What is counted after an event, as soon as this number has grown, by this much if given."""
    before = samples(tree)
    event()

    def grown() -> Samples | None:
        after = samples(tree)
        moved = after.get(name, 0) - before.get(name, 0)
        return after if (moved > 0 if by is None else moved == by) else None

    found: Samples = eventually(grown, every=0.05)
    return found


@pytest.mark.promise("T18", "T1")
def test_found_and_not_listed(tree: Tree, simulator: Simulator) -> None:
    assert METRICS not in tree.listdir("")
    assert tree.stat(METRICS).st_mode & 0o777 in (0o444, 0o440, 0o400)
    assert tree.read(METRICS).endswith(b"# EOF\n")
    expect_denied(tree.write, METRICS, b"x")
    expect_denied(tree.unlink, METRICS)
    now = samples(tree)
    assert next(key for key in now if key.startswith("build_info ")).endswith(exportfs.__version__)
    assert now["server_reachable"] == 1
    assert now["downloads_limit"] == 4
    assert "logged_in" not in now  # there is nothing to log in to


@pytest.mark.promise("T18")
def test_it_costs_the_server_nothing(tree: Tree, simulator: Simulator) -> None:
    simulator.add_computed(1000)
    simulator.log.clear()
    for _ in range(20):
        tree.stat(METRICS)
        tree.read(METRICS)
    assert calls_but_listings(simulator) == {}


@IMPATIENT
@pytest.mark.promise("T18", "E4")
def test_it_is_there_while_the_server_is_not(tree: Tree, simulator: Simulator) -> None:
    tree.read(METRICS)
    simulator.faults.add("*", Hang(), times=None)
    eventually(lambda: not lists(tree))
    eventually(lambda: samples(tree)["server_reachable"] == 0, every=0.05)
    simulator.faults.clear()
    eventually(lambda: lists(tree))
    eventually(lambda: samples(tree)["server_reachable"] == 1, every=0.05)


@pytest.mark.promise("T18", "T8")
def test_size_and_time_are_those_of_the_text(mount: MountProcess) -> None:
    path = mount.mountpoint / METRICS
    with path.open("rb") as file:
        first = os.fstat(file.fileno())
        assert file.read(10) == b"# HELP axx"
        assert first.st_size == len(b"# HELP axx" + file.read())

    def changed() -> bool:
        list((mount.mountpoint / "sessions").iterdir())  # a call now and then, which is counted
        return path.stat().st_mtime_ns > first.st_mtime_ns

    eventually(changed, every=0.05)


@pytest.mark.promise("T18")
def test_reading(tree: Tree, simulator: Simulator) -> None:
    size = 3_000_001
    path = directory(tree, simulator.add_computed(size))
    name = results(tree, path)[0]
    after = grows(tree, "read_bytes_total", lambda: tree.read(f"{path}/{name}"), size)
    assert after["fetched_bytes_total"] >= size
    assert after["cache_misses_total"] > 0
    assert 0 < after["cache_used_bytes"] <= after["cache_size_bytes"]
    assert after["sessions completed"] == 1
    assert after["sessions_kept"] == 1
    eventually(lambda: samples(tree).get("call_duration_seconds_count OK DownloadFile"), every=0.05)


@pytest.mark.promise("T18")
def test_cache_hits(tree: Tree, simulator: Simulator) -> None:
    path = directory(tree, simulator.add_computed(200_000))
    file = f"{path}/{results(tree, path)[0]}"
    tree.read(file)
    # Where the kernel has the pages it does not ask, but for what it let go when the file was closed.
    if isinstance(tree, MountedTree):
        descriptor = os.open(tree.path(file), os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    grows(tree, "cache_hits_total", lambda: tree.read(file))


@pytest.mark.promise("T18")
def test_a_download_that_fails_is_counted_and_made_again(tree: Tree, simulator: Simulator) -> None:
    path = directory(tree, simulator.add_computed(1000))
    simulator.faults.add("DownloadFile", Fail("UNAVAILABLE"))
    file = f"{path}/{results(tree, path)[0]}"
    after = grows(tree, "retries_total DownloadFile", lambda: tree.read(file))
    assert after["call_duration_seconds_count UNAVAILABLE DownloadFile"] == 1
    assert after["operation_errors_total read"] == 0


@pytest.mark.promise("T18")
def test_reads_that_fail(mount: MountProcess, simulator: Simulator) -> None:
    tree = mount.tree
    path = directory(tree, simulator.add_computed(1000))
    file = f"{path}/{results(tree, path)[0]}"
    simulator.faults.add("DownloadFile", Fail("PERMISSION_DENIED"), times=None)

    def read() -> None:
        expect_errno(errno.EACCES, tree.read, file)

    after = grows(tree, "operation_errors_total read", read)
    assert after["call_duration_seconds_count PERMISSION_DENIED DownloadFile"] >= 1
    assert "read_bytes_total" in after
    assert after["read_bytes_total"] == 0


@pytest.mark.promise("T18")
def test_downloads_wait_for_a_slot(start_mount: MountFactory, simulator: Simulator) -> None:
    mount = start_mount("--max-downloads", "1")
    paths = [directory(mount.tree, simulator.add_computed(1000)) for _ in range(2)]
    files = [mount.tree.path(f"{path}/{results(mount.tree, path)[0]}") for path in paths]
    simulator.faults.add("DownloadFile", Hang(), times=None)
    readers = [
        subprocess.Popen(["cat", file], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for file in files
    ]

    def both() -> bool:
        now = samples(mount.tree)
        return now["downloads_running"] == now["downloads_waiting"] == 1

    try:
        eventually(both, every=0.05)
        assert samples(mount.tree)["operations_running"] >= 3
    finally:
        simulator.faults.clear()
        for reader in readers:
            reader.wait()
    eventually(lambda: samples(mount.tree)["downloads_waiting"] == 0, every=0.05)


@IMPATIENT
@pytest.mark.promise("T18")
def test_requests_by_outcome(tree: Tree, simulator: Simulator) -> None:
    good = json.dumps(ARCHIVE_REQUEST).encode()

    def refused() -> None:
        simulator.faults.add("StartSession", Fail("PERMISSION_DENIED"))
        expect_errno(errno.EACCES, tree.write, "new/c.json", json.dumps(LIVE_REQUEST).encode())

    def lost() -> None:
        simulator.faults.add("StartSession", Fail("UNAVAILABLE"))
        expect_errno(errno.ENOTCONN, tree.write, "new/d.json", json.dumps(LIVE_REQUEST).encode())

    def invalid() -> None:
        expect_errno(errno.EINVAL, tree.write, "new/b.json", b'{"archive": {}}')

    grows(tree, "requests_total started", lambda: tree.write("new/a.json", good), 1)
    grows(tree, "requests_total repeated", lambda: tree.write("new/a.json", good), 1)
    grows(tree, "requests_total invalid", invalid, 1)
    grows(tree, "requests_total refused", refused, 1)
    after = grows(tree, "requests_total unknown", lost, 1)
    assert {key: value for key, value in after.items() if key.startswith("requests_total") and value} == {
        f"requests_total {outcome}": 1 for outcome in ("started", "repeated", "invalid", "refused", "unknown")
    }
    assert after["call_duration_seconds_count OK StartSession"] == 1
    assert after["call_duration_seconds_count PERMISSION_DENIED StartSession"] == 1
    assert after["call_duration_seconds_count UNAVAILABLE StartSession"] == 1
    assert after["call_duration_seconds_bucket UNAVAILABLE +Inf StartSession"] == 1


@pytest.mark.promise("T18")
def test_calls_made_again(tree: Tree, simulator: Simulator) -> None:
    # A mount's first connections try a call each, which is not made again.
    fault = simulator.faults.add("ListSessions", Fail("UNAVAILABLE"), times=3)
    grows(tree, "retries_total ListSessions", lambda: eventually(lambda: lists(tree) and fault.hits == 3))

    def all_made_again() -> bool:
        """Between a failure and the next try there is a pause, in which one more has failed."""
        now = samples(tree)
        return (
            now["call_duration_seconds_count UNAVAILABLE ListSessions"] == now["retries_total ListSessions"]
        )

    eventually(all_made_again, every=0.05)


@IMPATIENT
@pytest.mark.promise("T18", "K5")
def test_keep_alive_polls(tree: Tree, simulator: Simulator) -> None:
    tree.write("new/a.json", json.dumps(LIVE_REQUEST).encode())
    grows(tree, "keepalive_polls_total", lambda: None)
    simulator.faults.add("GetSessionState", Fail("INTERNAL"), times=None)
    after = grows(tree, "keepalive_poll_failures_total", lambda: None)
    eventually(lambda: samples(tree)["keepalive_failing_sessions"] == 1, every=0.05)
    assert after["call_duration_seconds_count INTERNAL GetSessionState"] > 0
    assert after["sessions running"] == after["sessions_kept"] == 1
    simulator.faults.clear()
    eventually(lambda: samples(tree)["keepalive_failing_sessions"] == 0, every=0.05)


@pytest.mark.promise("T18")
def test_a_journal_that_cannot_be_written(tree: Tree, tmp_path: Path) -> None:
    (journal,) = (tmp_path / "state").rglob("*.jsonl")

    def ask() -> None:
        expect_errno(errno.EIO, tree.write, "new/a.json", json.dumps(ARCHIVE_REQUEST).encode())

    with in_the_way(journal, tmp_path / "aside"):
        after = grows(tree, "journal_write_failures_total", ask)
    assert after["requests_total failed"] == 1
    assert after["requests_total started"] == 0
    assert after["journal_unwritten"] == 0  # what was not started need not be known


@pytest.mark.promise("T18")
def test_what_the_journal_does_not_take_waits(tree: Tree, tmp_path: Path) -> None:
    tree.write("new/a.json", json.dumps(ARCHIVE_REQUEST).encode())
    (journal,) = (tmp_path / "state").rglob("*.jsonl")
    with in_the_way(journal, tmp_path / "aside"):
        after = grows(tree, "journal_write_failures_total", lambda: tree.unlink("new/a.json"))
        assert after["journal_unwritten"] >= 1  # what is heard of the footage may be another
    eventually(lambda: samples(tree)["journal_unwritten"] == 0, every=0.05)


@pytest.mark.mount
@pytest.mark.promise("T18", "C6")
def test_log_lines_that_are_dropped(start_mount: MountFactory) -> None:
    mount = start_mount("--log-file", "/dev/full")
    assert samples(mount.tree)["log_lines_dropped_total"] > 0  # that it is mounted, for one


class TestWithLogin:
    """Of servers that want one."""

    PASSWORD = "the-cat-s-name-42"

    @pytest.fixture
    def simulator(self) -> Iterator[Simulator]:
        simulator = Simulator(Config(login=LoginConfig({"ana": Account(self.PASSWORD)}, token_life=3)))
        yield simulator
        simulator.close()

    @pytest.fixture
    def mount(self, start_mount: MountFactory, tmp_path: Path) -> MountProcess:
        secret = tmp_path / "password"
        secret.touch(0o600)
        secret.write_text(self.PASSWORD)
        return start_mount("--user", "ana", "--password-file", str(secret))

    @pytest.mark.mount
    @pytest.mark.promise("T18")
    def test_login(self, mount: MountProcess, simulator: Simulator) -> None:
        tree = mount.tree
        now = samples(tree)
        assert now["logged_in"] == 1
        assert 0 <= now["login_age_seconds"] < 20
        assert now["login_failures_total"] == 0
        ages: list[float] = []

        def renewed() -> bool:
            ages.append(samples(tree)["login_age_seconds"])
            return len(ages) > 1 and ages[-1] < ages[-2]

        eventually(renewed, every=0.05)
        for method in ("RenewSession2", "AuthenticateEx2"):
            simulator.faults.add(method, Fail("UNAVAILABLE"), times=None)
        after = grows(tree, "login_failures_total", lambda: None)
        assert after["call_duration_seconds_count UNAVAILABLE RenewSession2"] > 0
        eventually(lambda: samples(tree)["logged_in"] == 0, every=0.05)
        text = tree.read(METRICS)
        assert self.PASSWORD.encode() not in text
        assert not [key for key in samples_of(text) if "ana" in key.split()]
        simulator.faults.clear()
        eventually(lambda: samples(tree)["logged_in"] == 1, every=0.05)


PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
COMMANDS = re.findall(r"^```\n((?:curl|ln|cp) .*?)^```", PAGE, re.MULTILINE | re.DOTALL)


@pytest.mark.mount
@pytest.mark.promise("T18", "T6")
@pytest.mark.parametrize("command", COMMANDS, ids=[command.split()[0] for command in COMMANDS])
def test_the_page_s_commands(mount: MountProcess, tmp_path: Path, command: str) -> None:
    words = command.replace("/srv/footage", str(mount.mountpoint))
    words = words.replace("/var/lib/prometheus/node-exporter", str(tmp_path))
    done = subprocess.run(["sh", "-c", words], check=True, capture_output=True)
    assert done.stderr.count(b"\n") < 10  # curl draws its progress there
    text = done.stdout if command.startswith("curl") else (tmp_path / "footage.prom").read_bytes()
    assert samples_of(text)["server_reachable"] == 1


@pytest.mark.mount
@pytest.mark.promise("T18", "T6")
def test_copies_leave_it_out(mount: MountProcess, tmp_path: Path) -> None:
    subprocess.run(["cp", "-r", mount.mountpoint, tmp_path / "copy"], check=True)
    assert METRICS not in os.listdir(tmp_path / "copy")


@pytest.mark.mount
def test_mount_points_are_told_apart(start_mount: MountFactory, tmp_path: Path) -> None:
    odd = tmp_path / 'a "b" \\ c\nd'
    mount = start_mount(folder=odd)
    (family, *_) = text_string_to_metric_families(mount.tree.read(METRICS).decode())
    assert family.samples[0].labels["mountpoint"] == str(odd / "mnt")


def test_the_library_is_loaded_only_when_somebody_reads(server: SimulatorServer) -> None:
    """It costs a mount 30 ms of its start, and looks into /proc."""
    code = "import sys, exportfs.app, exportfs.cli.commands.mount; print('prometheus_client' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "False\n"
