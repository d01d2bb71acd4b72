"""The suite's own promises: a bound on every test, stacks when it is passed, and nothing left behind."""

import os
import re
import signal
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from tests.support.drawing import SEED
from tests.support.harness import eventually
from tests.support.processes import mounts_below
from tests.support.side_by_side import TOGETHER, Scheduling

PROJECT = Path(__file__).parents[1]
# Each starts runs of pytest.
pytestmark = [pytest.mark.timeout(240), pytest.mark.slow]
WITHOUT = ("-p", "no:cacheprovider", "-p", "no:hypothesispytest")
WITHOUT_TASKS = ("-p", "no:trio")
"""Its plugin imports hypothesis, a third of what a run costs."""
HEAD = """
import os, subprocess, sys, threading, time
import pytest
pytest_plugins = ["tests.support.side_by_side"]
"""


def suite(
    folder: Path, text: str, *options: str, tasks: bool = False, through: tuple[str, ...] = ()
) -> "subprocess.CompletedProcess[str]":
    """Runs pytest on this text to its end."""
    with begin(folder, text, *options, tasks=tasks, through=through) as process:
        out, err = process.communicate(timeout=200)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def begin(
    folder: Path, text: str, *options: str, tasks: bool = False, through: tuple[str, ...] = ()
) -> "subprocess.Popen[str]":
    """Runs pytest on this text, in a process and with settings of its own; `tasks`: some tests are of trio."""
    mode = "trio_mode = true\n" if tasks else ""
    folder.joinpath("pytest.ini").write_text(f"[pytest]\n{mode}markers =\n  alone: alone\n  deep: deep\n")
    folder.joinpath("conftest.py").write_text(HEAD)
    folder.joinpath("test_it.py").write_text(HEAD.replace("pytest_plugins", "_") + text)
    words = [sys.executable, "-m", "pytest", *WITHOUT, *(() if tasks else WITHOUT_TASKS)]
    words += [f"--basetemp={folder}/tmp", *options]
    environment = {**os.environ, "PYTHONPATH": os.fspath(PROJECT)}
    # As a run of its own: it is not a worker of ours.
    for name in ("PYTEST_XDIST_WORKER", "PYTEST_XDIST_WORKER_COUNT", "PYTEST_XDIST_TESTRUNUID"):
        environment.pop(name, None)
    return subprocess.Popen(
        [*through, *words, "-c", folder / "pytest.ini", folder / "test_it.py"],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_test_that_waits_is_ended_and_tells_where(tmp_path: Path) -> None:
    done = suite(
        tmp_path,
        "import trio\ndef test_waits():\n    threading.Event().wait()\n"
        "async def test_task():\n    await trio.sleep_forever()\n"
        "def test_after():\n    pass\n",
        "--timeout=1",
        tasks=True,
    )
    assert "2 failed, 1 passed" in done.stdout, done.stdout + done.stderr
    assert "test_it.py::test_waits took longer than 1 s" in done.stdout
    assert "in test_waits" in done.stdout
    assert "in test_task" in done.stdout.partition("tasks of the test:")[2]


def test_a_mount_tells_its_stacks(tmp_path: Path) -> None:
    done = suite(
        tmp_path,
        "from tests.conftest import *\n@pytest.mark.timeout(1, func_only=True)\n"
        "def test_waits(mount):\n    threading.Event().wait()\n",
        tasks=True,
    )
    assert "1 failed" in done.stdout, done.stdout + done.stderr
    assert "Mount.run" in done.stdout.partition("processes of the test:")[2]
    assert not (set(running()) & {line for line in running() if os.fspath(tmp_path) in line})


@pytest.mark.parametrize("options", [(), ("-n1",)], ids=["alone", "side by side"])
def test_one_that_cannot_be_interrupted_ends_its_worker(tmp_path: Path, options: tuple[str, ...]) -> None:
    done = suite(
        tmp_path,
        "import signal\nfrom tests.support import bounds\nbounds.TELLS_WITHIN = bounds.ENDS_WITHIN = 0.5\n"
        "def test_stuck():\n    subprocess.Popen(['sleep', '1000'])\n"
        "    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])\n    threading.Event().wait()\n",
        "--timeout=1",
        *options,
    )
    text = done.stdout + done.stderr
    assert done.returncode != 0
    assert "in test_stuck" in text
    assert "sleep 1000" in text
    if options:
        assert "1 failed" in done.stdout
        assert "crashed while running" in done.stdout


def test_what_is_left_behind_fails_and_ends(tmp_path: Path) -> None:
    done = suite(
        tmp_path,
        "from tests.support import processes\nprocesses.ENDS_WITHIN = 0.2\n"
        f"def test_leaves():\n    subprocess.Popen(['setsid', 'sh', '-c', ': {tmp_path}; sleep 1001; :'])\n"
        "def test_after():\n    pass\n",
    )
    assert "2 passed, 1 error" in done.stdout, done.stdout + done.stderr
    assert "left processes behind" in done.stdout
    assert "sleep 1001" in done.stdout
    assert not [line for line in running() if os.fspath(tmp_path) in line]


@pytest.mark.mount
def test_a_mount_ends_with_a_test_that_is_killed(tmp_path: Path) -> None:
    test = (
        "from tests.conftest import *\ndef test_it(mount):\n"
        f"    open('{tmp_path}/started', 'w').close()\n    threading.Event().wait()\n"
    )
    with begin(tmp_path, test, tasks=True) as process:
        eventually((tmp_path / "started").exists, within=60)
        process.kill()
        process.communicate(timeout=60)
    eventually(lambda: not mounts_below(tmp_path), within=60)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_nothing_outlives_the_run(tmp_path: Path, number: signal.Signals) -> None:
    test = (
        "def test_it():\n"
        f"    subprocess.run(['setsid', 'sh', '-c', 'echo > {tmp_path}/started; sleep 1002; :'])\n"
    )
    with begin(tmp_path, test, "-n1") as process:
        eventually((tmp_path / "started").exists, within=60)
        process.send_signal(number)
        process.communicate(timeout=200)
    eventually(lambda: not [line for line in running() if os.fspath(tmp_path) in line])


def test_ignored_signals_are_not_handed_on(tmp_path: Path) -> None:
    """As in a shell's background job, or under nohup."""
    done = suite(
        tmp_path,
        "def test_it():\n    child = 'import signal; print(*map(int, map(signal.getsignal, (1, 3))))'\n"
        "    told = subprocess.run([sys.executable, '-c', child], capture_output=True, text=True).stdout\n"
        "    assert told == '0 0\\n'\n",
        through=("sh", "-c", "trap '' INT HUP QUIT; exec \"$@\"", "sh"),
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_alone_is_alone(tmp_path: Path) -> None:
    """Each test says when it began and ended; those of one that is alone overlap with none."""
    body = (
        "    begun = time.monotonic()\n    time.sleep(0.2)\n"
        "    open('times', 'a').write(f'{who} {begun} {time.monotonic()}\\n')\n"
    )
    text = f"@pytest.mark.parametrize('who', range(6))\ndef test_others(who):\n{body}"
    text += f"@pytest.mark.alone\n@pytest.mark.parametrize('who', 'ab')\ndef test_alone(who):\n{body}"
    done = suite(tmp_path, text, "-n2")
    assert "8 passed" in done.stdout, done.stdout + done.stderr
    rows = [line.split() for line in (tmp_path / "times").read_text().splitlines()]
    for who, begun, ended in rows:
        if who in "ab":
            others = [row for row in rows if row[0] != who]
            assert all(float(row[2]) <= float(begun) or float(row[1]) >= float(ended) for row in others)


DEEP = ("-p", "tests.support.deep")


def test_what_fails_one_run_in_many_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EXPORTFS_DEEP", "200")
    done = suite(
        tmp_path,
        "from hypothesis import given, settings, strategies\ntried = []\n"
        "@settings(max_examples=1, database=None)\n@given(strategies.none())\n"
        "def test_rare(_):\n    tried.append(_)\n    assert len(tried) < 9\n"
        "def test_without_examples():\n    pass\n",
        *DEEP,
    )
    assert "1 failed, 1 deselected" in done.stdout, done.stdout + done.stderr
    assert "9 test_it.py::test_rare" in done.stdout


def test_what_is_found_with_a_seed_is_repeated_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    test = (
        "from tests.support.drawing import drawing\n@pytest.mark.deep\ndef test_rare():\n"
        "    with drawing() as rng:\n        assert rng.randrange(9), f'drawn: {rng.random()}'\n"
    )
    monkeypatch.delenv(SEED, raising=False)
    monkeypatch.setenv("EXPORTFS_DEEP", "200")
    found = suite(tmp_path, test, *DEEP)
    assert "1 failed" in found.stdout, found.stdout + found.stderr
    drawn = re.search(r"drawn: [\d.e-]+", found.stdout)
    seeds = re.findall(rf"{SEED}=(\d+) repeats it", found.stdout)
    assert drawn
    assert len(set(seeds)) == 1, found.stdout
    monkeypatch.setenv(SEED, seeds[0])
    again = suite(tmp_path, test)
    assert "1 failed" in again.stdout, again.stdout + again.stderr
    assert drawn[0] in again.stdout


@pytest.mark.parametrize("options", [(), ("-n1",)], ids=["alone", "side by side"])
def test_each_round_has_fixtures_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    """Also what is printed and what a test of trio waits for; one that is skipped is not repeated."""
    monkeypatch.setenv("EXPORTFS_DEEP", "200")
    done = suite(
        tmp_path,
        "import trio\nrounds = []\n@pytest.fixture\ndef made():\n    yield []\n    rounds.append('torn down')\n"
        "@pytest.mark.deep\nasync def test_it(made, tmp_path):\n    tmp_path.joinpath('mine').touch(exist_ok=False)\n"
        "    made.append('made')\n    print(f'round {len(rounds)}')\n    await trio.sleep(0)\n"
        "    assert made == ['made']\n    assert len(rounds) < 4\n"
        "@pytest.mark.deep\ndef test_skipped():\n    pytest.skip()\n",
        *DEEP,
        *options,
        tasks=True,
    )
    assert "1 failed, 1 skipped" in done.stdout, done.stdout + done.stderr
    assert "5 test_it.py::test_it" in done.stdout
    assert re.findall(r"^round \d", done.stdout, re.M) == ["round 4"]


def test_all_rounds_together_may_take_longer_than_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXPORTFS_DEEP", "1")
    text = "@pytest.mark.deep\n@pytest.mark.timeout(0.5)\ndef test_it():\n    pass\n"
    done = suite(tmp_path, text, *DEEP)
    assert "1 passed" in done.stdout, done.stdout + done.stderr


class Node:
    """A worker of xdist, which is handed tests."""

    def __init__(self, tests: list[str], given: list[str]) -> None:
        self._tests, self._given = tests, given

    def send_runtest_some(self, numbers: list[int]) -> None:
        self._given += [self._tests[number] for number in numbers]


def test_every_third_worker_begins_at_the_end() -> None:
    """But for what runs in one place, which comes first."""
    place = TOGETHER[0] + "test_it.py"
    tests = [f"{place}::a", f"{place}::b", *"cdefgh"]
    given: list[list[str]] = [[], [], []]
    nodes: list[Any] = [Node(tests, one) for one in given]
    scheduling = Scheduling.__new__(Scheduling)
    scheduling.assigned_work = {node: {} for node in nodes}
    scheduling.registered_collections = dict.fromkeys(nodes, tests)
    units = {TOGETHER[0]: dict.fromkeys(tests[:2], False), **{test: {test: False} for test in tests[2:]}}
    scheduling.workqueue = OrderedDict(units)
    for number in (2, 0, 1, 2, 2, 0, 1):
        scheduling._assign_work_unit(nodes[number])
    assert given == [["c", "e"], ["d", "f"], [*tests[:2], "h", "g"]]
    assert not scheduling.workqueue


def running() -> list[str]:
    """Command lines of all processes."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(path.read_bytes().replace(b"\0", b" ").decode(errors="replace"))
        except OSError:
            continue
    return [line for line in found if line]
