"""A bound on every test. When it is passed, the stacks of all threads, of trio's tasks and of the test's mounts are in
the report, the test fails, and what it started is ended; where even that does not help, its worker is.

pytest-timeout says which bound holds for which test (`timeout` in pyproject.toml, `--timeout`, the mark `timeout`, none
under a debugger); what happens then is ours: its own ways see this process only, and one of them ends the whole run.
"""

import contextlib
import faulthandler
import gc
import os
import signal
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import pytest_timeout
import trio

from exportfs import supervision
from tests.support import processes

TELLS_WITHIN = 10.0
"""Seconds for a test to end once it was interrupted; then its processes are killed, which frees calls into mounts."""
ENDS_WITHIN = 30.0
"""Seconds after that until this process is ended."""
EXIT_CODE = 70


class Watchdog:
    """One thread that watches the test that runs."""

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        self._config = config
        self._folder = folder
        self._wake = threading.Condition()
        self._item: pytest.Item | None = None
        self._bound = 0.0
        self._report = ""
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()
        signal.signal(signal.SIGALRM, self._interrupt)

    def begin(self, item: pytest.Item, seconds: float) -> None:
        with self._wake:
            self._item, self._bound = item, seconds
            self._wake.notify()

    def end(self) -> None:
        with self._wake:
            self._item = None
            self._wake.notify()

    def _watch(self) -> None:
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._item is not None)
                item = self._item
                if self._over(item, self._bound) or pytest_timeout.is_debugging():
                    self._over(item, None)
                    continue
            assert item is not None
            self._report = f"{item.nodeid} took longer than {self._bound:g} s\n{self._explain()}"
            self._path(item.nodeid).write_text(self._report)
            with self._wake:
                if self._item is not item:
                    continue
                signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGALRM)
                if self._over(item, TELLS_WITHIN):
                    continue
            processes.kill(self._of_test())
            with self._wake:
                if self._over(item, ENDS_WITHIN):
                    continue
            self._end_all()

    def _over(self, item: pytest.Item | None, seconds: float | None) -> bool:
        """Whether it ends in time; with the lock held."""
        return self._wake.wait_for(lambda: self._item is not item, seconds)

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self._report:
            report, self._report = self._report, ""
            pytest.fail(report, pytrace=True)

    def _of_test(self) -> list[processes.Process]:
        return processes.marked(os.environ.get(processes.MARK, "?"), self._folder)

    def _explain(self) -> str:
        parts = ["threads of the test:", threads(), "tasks of the test:", tasks()]
        parts += ["processes of the test:", processes.stacks(self._of_test())]
        return "\n".join(parts)

    def _path(self, nodeid: str) -> Path:
        return stacks_of(self._folder, os.environ.get("PYTEST_XDIST_WORKER", "main"))

    def _end_all(self) -> None:
        """Nothing that runs in the main thread helps any more."""
        capture: Any = self._config.pluginmanager.getplugin("capturemanager")
        with contextlib.suppress(Exception):
            capture.suspend_global_capture(in_=True)
        with contextlib.suppress(OSError):
            os.write(2, f"\n{self._path('').read_text()}\nand does not end: its worker is ended\n".encode())
        processes.unmount(processes.mounts_below(self._folder))
        os._exit(EXIT_CODE)


def stacks_of(folder: Path, worker: str) -> Path:
    """Where a worker leaves the last report, for when it does not live to tell it."""
    return folder / f"stacks-{worker}.txt"


def threads() -> str:
    """The stacks of all threads of this process."""
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        names = {thread.ident: thread.name for thread in threading.enumerate()}
        file.seek(0)
        text = file.read()
    for ident, name in names.items():
        if ident is not None:
            text = text.replace(f"0x{ident:016x}", f"0x{ident:016x} ({name})")
    return text


def tasks() -> str:
    """The trees of tasks of all runs of trio in this process, whichever thread they are in."""
    trees = []
    for task in [thing for thing in gc.get_objects() if isinstance(thing, trio.lowlevel.Task)]:
        # They go on while we look: what cannot be told is left out.
        with contextlib.suppress(Exception):
            if task.parent_nursery is None and task.coro.cr_frame is not None:
                trees.append("".join(supervision.branch(task, 0)))
    return "\n".join(trees) or "    (none)"


class Bounds:
    """The plugin."""

    def __init__(self, config: pytest.Config, folder: Path) -> None:
        self._config = config
        self._watchdog = Watchdog(config, folder)

    @pytest.hookimpl(tryfirst=True)
    def pytest_timeout_set_timer(self, item: pytest.Item, settings: pytest_timeout.Settings) -> bool:
        self._watchdog.begin(item, settings.timeout)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_timeout_cancel_timer(self, item: pytest.Item) -> bool:
        """Also called when a test has failed, before it is torn down: then it goes on, but for a debugger."""
        if self._config.getoption("usepdb"):
            self._watchdog.end()
        return True

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        try:
            return (yield)
        finally:
            self._watchdog.end()
