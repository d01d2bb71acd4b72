"""What lets tests run side by side: what may not be disturbed runs alone, what shares a fixture runs in one place, and
every test takes away what it started."""

import fcntl
import gc
import os
import secrets
import select
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling
from xdist.workermanage import WorkerController

from tests.support import prepared, processes
from tests.support.bounds import Bounds, stacks_of

WORKER = os.environ.get("PYTEST_XDIST_WORKER", "main")
RUN = "EXPORTFS_TEST_RUN"
"""The environment variable that names this run to its workers."""
DEAR_FIXTURES = {"stage", "media", "place", "servers"}
"""They cost too much to be made in every worker."""
TOGETHER = (
    "tests/gateway/",
    "tests/pages/test_browser.py",
    "tests/players/",
    "tests/tree/new/test_odd_files.py",
    "tests/tree/new/test_writers.py",
    "tests/unit/bench/test_bench_cpp_server.py",
)
"""Where the tests are that use them."""


class Alone:
    """Readers and writers: a test that is marked `alone` runs while no other does, in no worker."""

    def __init__(self, folder: Path) -> None:
        # Whoever wants to be alone holds the gate while it waits: no new test gets in before it.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
        self._gate = os.open(folder / "gate.lock", flags, 0o600)
        self._room = os.open(folder / "room.lock", flags, 0o600)

    def enter(self, alone: bool) -> None:
        fcntl.flock(self._gate, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(self._room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        fcntl.flock(self._gate, fcntl.LOCK_UN)

    def leave(self) -> None:
        fcntl.flock(self._room, fcntl.LOCK_UN)


class InWorker:
    """The part that is in the process in which tests run."""

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        self._folder = folder
        self._alone = Alone(folder.parent if WORKER != "main" else folder)
        self._number = 0
        self._before: set[str] = set()
        self._set_mark(0)
        if WORKER != "main":
            controller = os.pidfd_open(os.getppid())
            threading.Thread(target=self._end_with, args=(controller,), name="ends with", daemon=True).start()

    def _end_with(self, controller: int) -> None:
        """Whoever gathers the results is gone, and so is who would clean up."""
        select.select([controller], [], [])
        processes.kill(processes.marked(f"{os.environ[RUN]}:{WORKER}:"))
        processes.unmount(processes.mounts_below(self._folder))
        os._exit(1)

    def _set_mark(self, number: int) -> None:
        os.environ[processes.MARK] = mark(WORKER, number)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self._number += 1
        self._alone.enter(item.get_closest_marker("alone") is not None)
        self._set_mark(self._number)
        self._before = processes.names_in_proc()
        try:
            return (yield)
        finally:
            self._set_mark(0)
            self._alone.leave()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_fixture_setup(self, fixturedef: pytest.FixtureDef[Any]) -> Iterator[None]:
        """What a fixture of a wider scope starts outlives the test that asked for it first."""
        if fixturedef.scope == "function":
            return (yield)
        before = os.environ[processes.MARK]
        self._set_mark(0)
        try:
            return (yield)
        finally:
            os.environ[processes.MARK] = before

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        """A test that leaves processes or mounts behind has failed, and they are ended."""
        folder = self._own_folder(item)
        result = yield
        left = processes.marked(os.environ[processes.MARK], folder, self._before)
        if left and not processes.ended(left, processes.ENDS_WITHIN):
            told = processes.stacks(left)
            processes.kill(left)
            processes.unmount(processes.mounts_below(folder))
            pytest.fail(f"the test left processes behind:\n{told}", pytrace=False)
        places = processes.mounts_below(folder)
        processes.unmount(places)
        if places:
            pytest.fail(f"the test left mounts behind: {', '.join(map(str, places))}", pytrace=False)
        return result

    def _own_folder(self, item: pytest.Item) -> Path:
        path = getattr(item, "funcargs", {}).get("tmp_path")
        return path if isinstance(path, Path) else self._folder / "no-such-test"

    def pytest_sessionfinish(self) -> None:
        prepared.close_shared()
        left = processes.marked(mark(WORKER, 0))
        if left and not processes.ended(left, processes.ENDS_WITHIN):
            processes.kill(left)
            raise RuntimeError(f"processes of a shared fixture are left: {', '.join(map(str, left))}")


class InController:
    """The part that outlives the workers: nothing of them stays, however they ended."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """A worker died: its last words are those of the test."""
        worker = report.node.gateway.id if hasattr(report, "node") else ""
        self._end(worker)
        last = stacks_of(self._folder / f"popen-{worker}", worker)
        if last.exists():
            report.sections.append(("Stacks", last.read_text()))

    def pytest_sessionfinish(self) -> None:
        self._end("")

    def _end(self, worker: str) -> None:
        processes.kill(processes.marked(f"{os.environ[RUN]}:{worker}{':' if worker else ''}"))
        folder = self._folder / f"popen-{worker}" if worker else self._folder
        processes.unmount(processes.mounts_below(folder))


def mark(worker: str, number: int) -> str:
    """Of the processes of one test; 0: of all that its worker shares among tests."""
    return f"{os.environ[RUN]}:{worker}:{number};"


class Scheduling(LoadScopeScheduling):
    """Each test where there is room, but those of one of TOGETHER one after the other in one worker, and first.

    xdist's own `loadgroup` renames tests for this, in a way that pytest 9.2 no longer knows.
    """

    def _split_scope(self, nodeid: str) -> str:
        return next((place for place in TOGETHER if nodeid.startswith(place)), nodeid)

    def _assign_work_unit(self, node: WorkerController) -> None:
        """Every third worker takes from the end: what is `slow`, at the beginning, waits for the most part, and what is
        in tests/unit, at the end, computes. Side by side they leave the processors less idle, and the last to be
        begun are short."""
        first = next(iter(self.workqueue))
        if first not in TOGETHER and self.nodes.index(node) % 3 == 2:
            self.workqueue.move_to_end(next(reversed(self.workqueue)), last=False)
        super()._assign_work_unit(node)

    def mark_test_complete(self, node: WorkerController, item_index: int, duration: float = 0) -> None:
        """Also takes out of the worker's list what has ended: xdist looks through all of it with every test."""
        nodeid = self.registered_collections[node][item_index]
        super().mark_test_complete(node, item_index, duration)
        units = self.assigned_work[node]
        scope = self._split_scope(nodeid)
        if all(units[scope].values()):
            del units[scope]

    def remove_node(self, node: WorkerController) -> str | None:
        """The test in which this worker ended, if any. It has failed: the next worker is not given it, too."""
        units = self.assigned_work[node]
        crashed = next((test for unit in units.values() for test, done in unit.items() if not done), None)
        for scope, unit in list(units.items()):
            if crashed in unit:
                unit[crashed] = True
            if all(unit.values()):
                del units[scope]
        super().remove_node(node)
        return crashed


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    return Scheduling(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    # Begun last, a long one would run when nothing is left to run beside it.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)
    for item in items:
        known: dict[str, Any] = (
            item._fixtureinfo.name2fixturedefs if isinstance(item, pytest.Function) else {}
        )
        shared = {name for name in DEAR_FIXTURES & known.keys() if known[name][-1].scope != "function"}
        if shared and not item.nodeid.startswith(TOGETHER):
            raise pytest.UsageError(f"{item.nodeid} uses {shared}: its place belongs in TOGETHER")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """What collecting makes stays: the garbage collector need not look through it, now or with every test."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def bring_own_signals() -> None:
    """A shell's background job and nohup ignore signals, and so would all that we start: programs keep what is ignored.
    A handler of ours goes with exec."""
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, lambda *_: None)


def end_in_order(number: int, frame: FrameType | None) -> None:
    """SIGTERM, from a CI that has waited long enough, say."""
    raise KeyboardInterrupt(f"signal {number}")


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    bring_own_signals()
    # Programs that we start need not compile again what has not changed since.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False
    controls = WORKER == "main"
    if controls:
        os.environ[RUN] = secrets.token_hex(8)
    factory: Any = config._tmp_path_factory  # type: ignore[attr-defined] # there is no public way before the first test
    folder: Path = factory.getbasetemp()
    if controls:
        signal.signal(signal.SIGTERM, end_in_order)
        config.pluginmanager.register(InController(folder), "suite-controller")
    if not controls or not config.getoption("numprocesses", None):
        config.pluginmanager.register(Bounds(config, folder), "suite-bounds")
        config.pluginmanager.register(InWorker(config, folder), "suite-worker")
