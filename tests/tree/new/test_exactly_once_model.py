"""Whatever is done to new/, in whatever order, and however the server answers: no request starts two exports, and
none that was started is lost. The tree's own parts on a mock clock, against a small server made of this page."""

import contextlib
import itertools
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import trio
import trio.testing
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from exportfs.errors import (
    ExportfsError,
    NotFound,
)
from exportfs.metrics import RequestCounters
from exportfs.requests import fingerprint, parse
from exportfs.requests.names import is_request
from exportfs.sessions import starter
from exportfs.sessions.catalogue import Catalogue
from exportfs.sessions.control import Actions
from exportfs.sessions.journal import Journal, at_once
from exportfs.sessions.journal_file import JournalFile
from exportfs.sessions.keepalive import KeepAliveConfig
from exportfs.sessions.keeper import Keeper
from exportfs.sessions.ledger import Ledger
from exportfs.sessions.starter import Submitter, new_key
from exportfs.vfs.context import Context
from exportfs.vfs.inodes import Inodes
from exportfs.vfs.new.directory import NewDirectory
from exportfs.vfs.new.file import RequestFile, SessionLink
from exportfs.vfs.node import Owner
from tests.support.fake_server import STARTS, TIMEOUT, FakeServer
from tests.tree.new.drop import request as request_number

CONTENTS = {n: json.dumps(request_number(n)).encode() for n in (1, 2)}
OPTIONS = {n: parse(content).options for n, content in CONTENTS.items()}
MARKS = {n: fingerprint(options, any_agent=True) for n, options in OPTIONS.items()}
NAMES = ("a.json", "b.json", "a.json~", ".x")
QUIET_LOOKS = 10.0
"""Seconds between two looks at what is missed, once all steps are done: with one a second they would be what this page
costs, and nothing comes between them any more."""
QUIET = 3 * TIMEOUT + 100 + QUIET_LOOKS
"""Seconds after which nothing goes on by itself: the latest answer, the listings that show what became of it, and as
long again as until a loss is believed (`SETTLED_AFTER`)."""
SHM = "/dev/shm" if Path("/dev/shm").is_dir() else None


def _number(options: bytes) -> int:
    (number,) = [n for n, known in OPTIONS.items() if known == options]
    return number


def started(server: FakeServer) -> list[int]:
    """Numbers of the requests, in order."""
    return [_number(options) for options in server.started]


class Mounted:
    """new/ and what is behind it, for the life of one mount."""

    def __init__(self, server: FakeServer, journal_path: Path, nursery: trio.Nursery) -> None:
        file = JournalFile(journal_path)
        self.journal = Journal(file, aside=at_once)
        self.ledger = Ledger(file.load(), new_key)
        self.ledger.records.on_change = self.journal.change
        self.catalogue = Catalogue(server, refresh=5, timeout=TIMEOUT)
        self.server, self.nursery = server, nursery

    async def start(self) -> None:
        catalogue, ledger, server = self.catalogue, self.ledger, self.server
        self.nursery.start_soon(catalogue.run)
        while True:
            with contextlib.suppress(ExportfsError):
                await catalogue.update()
                break
        ledger.records.prune({entry.id for entry in catalogue}, time.time())
        keeper = Keeper(server, catalogue, KeepAliveConfig(), lambda _: True, timeout=TIMEOUT)
        requests = RequestCounters()
        submitter = Submitter(
            server, catalogue, ledger, self.journal, keep=keeper.watch, counters=requests, timeout=TIMEOUT
        )
        context = Context(
            catalogue=catalogue,
            keeper=keeper,
            submitter=submitter,
            actions=Actions(server, catalogue, ledger.records),
            ledger=ledger,
            journal=self.journal,
            requests=requests,
            library=None,  # type: ignore[arg-type] # nothing is read here
            cameras=None,  # type: ignore[arg-type] # nor is the template
            footage=None,  # type: ignore[arg-type] # which asks these two
            inodes=Inodes(),
            owner=Owner(0, 0),
            wall=lambda: 1e9,
            mounted_at=1e9,
            mountpoint=Path("/mnt"),
            timeout=TIMEOUT,
            read_only=False,
            agent=None,
            start_soon=self.nursery.start_soon,
        )
        self.new = NewDirectory(context)
        self.nursery.start_soon(submitter.watch)


class Scenario:
    """Does steps, and keeps count of what may have been asked for."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.incarnation = dict.fromkeys(NAMES, 0)
        self.asked: set[tuple[str, int, int]] = set()
        self.merged: list[int] = []
        """Asked for under two names, of which one was then renamed to the other."""
        self.mounted: Mounted
        self.content: dict[RequestFile, int] = {}
        self.has: set[tuple[str, int]] = set()
        """Names that have a session, since they were last removed, and the number of its request."""
        self.twice: list[tuple[str, int]] = []
        """Of those, the ones for which the server was asked once more."""
        server.on_start = self._sent

    def _sent(self, options: bytes) -> None:
        number = _number(options)
        names = {name for name, under_way in self.under_way() if under_way == number}
        self.twice += [(name, number) for name in names if (name, number) in self.has]

    def under_way(self) -> list[tuple[str, int]]:
        marks = {mark: number for number, mark in MARKS.items()}
        return [(name, marks[mark]) for name, mark in self.mounted.ledger.under_way()]

    def look_at_links(self) -> None:
        """Remembers who has a session."""
        for stem, session_id in self.mounted.ledger.links.items():
            has = f"{stem}.json", _number(self.server.sessions[session_id].options)
            # A file that was renamed brings its own submission along, which is not for what the name had.
            if has not in self.under_way():
                self.has.add(has)

    def lose(self, *names: str) -> None:
        self.has = {(name, number) for name, number in self.has if name not in names}

    def ask(self, name: str, number: int) -> None:
        if is_request(name):
            self.asked.add((name, self.incarnation[name], number))

    async def write(self, name: str, number: int, split: bool) -> None:
        new = self.mounted.new
        try:
            node = await new.lookup(name)
        except NotFound:
            file, handle = await new.create(name, 0o644, os.O_WRONLY)
        else:
            if not isinstance(node, RequestFile):
                return
            file, handle = node, await node.open(os.O_WRONLY | os.O_TRUNC)
        data = CONTENTS[number]
        failure = None
        try:
            await handle.write(0, data[:40])
            if split:
                await handle.flush()
                await trio.sleep(0.02)
            await handle.write(40, data[40:])
            self.content[file] = number
            asked_as = self.mounted.ledger.name(file.ino)
            if asked_as is not None:
                self.ask(asked_as, number)
            version = file.version
            try:
                await handle.flush()
            except ExportfsError as error:
                failure = error
            whole = (
                file.version == version
                and asked_as == self.mounted.ledger.name(file.ino)
                and asked_as
                and is_request(asked_as)
            )
            if failure is None and whole and bytes(file.content) == data:
                assert number in started(self.server), "a success for what was not started"
        finally:
            with contextlib.suppress(ExportfsError):
                await handle.release()

    async def rename(self, old: str, new: str) -> None:
        directory = self.mounted.new
        file = directory.file(old)
        if file is None or old == new:
            return
        if is_request(old) and is_request(new):
            moved = {
                (new, self.incarnation[new], n)
                for o, i, n in self.asked
                if (o, i) == (old, self.incarnation[old])
            }
            self.asked = {a for a in self.asked if a[:2] != (old, self.incarnation[old])}
            self.merged += [n for _, _, n in moved & self.asked]
            self.asked |= moved
            self.incarnation[old] += 1
            self.lose(old)
        if self.mounted.ledger.has_started(file.ino) or self.mounted.ledger.submission(file.ino) is not None:
            self.lose(new)  # it brings its own
        if file in self.content:
            self.ask(new, self.content[file])
        with contextlib.suppress(ExportfsError):
            await directory.rename(old, new, replace=True)

    def unlink(self, name: str) -> None:
        try:
            self.mounted.new.unlink(name)
        except ExportfsError:
            return
        self.incarnation[name] += 1
        self.lose(name)

    def check_bound(self) -> None:
        self.look_at_links()
        assert self.twice == [], "sent once more for a name that has its session"
        for number in CONTENTS:
            allowed = sum(1 for _, _, n in self.asked if n == number) + self.merged.count(number)
            assert started(self.server).count(number) <= allowed, (started(self.server), self.asked)

    async def check_end(self) -> None:
        """Everything that was started is known, and linked where a request asks for it."""
        self.check_bound()
        known = self.mounted.ledger.records.session_ids()
        assert set(self.server.sessions) <= known
        assert self.mounted.ledger.records.unresolved() == []
        for name in ("a.json", "b.json"):
            file = self.mounted.new.file(name)
            if file is None or not self.mounted.ledger.has_started(file.ino):
                continue
            if name in self.mounted.ledger.errors:
                continue  # what another file of this name asked for was waited for, and failed
            link = await self.mounted.new.lookup(name.removesuffix(".json"))
            assert isinstance(link, SessionLink)
            assert self.server.sessions[link.session_id].options == OPTIONS[self.content[file]]


STEPS = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(NAMES), st.sampled_from((1, 1, 2)), st.booleans()),
    st.tuples(st.just("rename"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("unlink"), st.sampled_from(NAMES)),
    st.tuples(st.just("wait"), st.sampled_from((0.0, 0.03, 0.2, 8.0, 25.0, 130.0))),
    st.tuples(st.just("remount")),
    st.tuples(st.just("full")),
)
REQUESTS = st.sampled_from(("a.json", "b.json"))
SAVED_BY_RENAME = st.builds(lambda name: [("write", ".x", 1, False), ("rename", ".x", name)], REQUESTS)
MOVED_ASIDE = st.builds(lambda old, new: [("rename", old, ".x"), ("rename", ".x", new)], REQUESTS, REQUESTS)
WRITTEN_AGAIN = st.builds(lambda name: [("unlink", name), ("write", name, 1, False)], REQUESTS)
ACT = st.one_of(st.builds(lambda step: [step], STEPS), SAVED_BY_RENAME, MOVED_ASIDE, WRITTEN_AGAIN)
PAUSE = st.sampled_from(([], [("wait", 0.2)], [("wait", 8.0)], [("wait", 25.0)]))
ACTS = st.lists(st.builds(lambda act, pause: [*act, *pause], ACT, PAUSE), min_size=1, max_size=10).map(
    lambda acts: [step for act in acts for step in act]
)
"""Single steps, and what programs make of them: these are rarely drawn by chance."""


async def run_steps(server: FakeServer, folder: Path, steps: list[Any]) -> None:
    scenario = Scenario(server)
    todo = list(steps)
    async with trio.open_nursery() as outer:
        server.nursery = outer
        while True:
            async with trio.open_nursery() as nursery:
                scenario.mounted = Mounted(server, folder / "journal", nursery)
                scenario.content = {}
                await scenario.mounted.start()
                while todo:
                    step, *rest = todo.pop(0)
                    if step == "write":
                        nursery.start_soon(scenario.write, *rest)
                    elif step == "rename":
                        nursery.start_soon(scenario.rename, *rest)
                    elif step == "unlink":
                        scenario.unlink(*rest)
                    elif step == "full":
                        scenario.mounted.new.make_room()
                    elif step == "wait":
                        await trio.sleep(*rest)
                    else:
                        break
                    await trio.testing.wait_all_tasks_blocked()
                    scenario.check_bound()
                else:
                    server.starts, server.lists = itertools.repeat("ok"), itertools.repeat("ok")
                    with patch.object(starter, "WATCH_EVERY", QUIET_LOOKS):
                        await trio.sleep(QUIET)
                    assert scenario.under_way() == []
                    await scenario.check_end()
                    outer.cancel_scope.cancel()
                    return
                nursery.cancel_scope.cancel()


def play(steps: list[Any], answers: list[str], lists: list[str]) -> FakeServer:
    server = FakeServer(
        delay=0.01,
        starts=itertools.chain(answers, itertools.repeat("ok")),
        lists=itertools.chain(lists, itertools.repeat("ok")),
    )
    with tempfile.TemporaryDirectory(dir=SHM) as folder:
        try:
            trio.run(
                run_steps, server, Path(folder), steps, clock=trio.testing.MockClock(autojump_threshold=0)
            )
        except BaseExceptionGroup as group:
            raise group.exceptions[0] from group
    return server


@pytest.mark.promise("W3", "W12")
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    ACTS,
    st.lists(st.sampled_from(STARTS), max_size=8),
    st.lists(st.sampled_from(("ok", "ok", "slow", "down")), max_size=12),
)
def test_no_interleaving_starts_two_or_loses_one(
    steps: list[Any], answers: list[str], lists: list[str]
) -> None:
    play(steps, answers, lists)


W = ("write", "a.json", 1, False)
A_MINUTE = ("wait", 60.0)


def moved_aside_to(name: str) -> list[Any]:
    return [("rename", "a.json", "a.json~"), ("rename", "a.json~", name)]


def once_more(name: str, how: str) -> list[Any]:
    """The very same request under the name: saved by rename, or written after a remount."""
    saved = [("write", ".x", 1, False), ("wait", 1.0), ("rename", ".x", name), A_MINUTE]
    written = [("remount",), ("write", name, 1, False), A_MINUTE]
    return {"saved by rename": saved, "remounted": written, "both": written + saved}[how]


@pytest.mark.promise("W3")
@pytest.mark.parametrize("how", ["saved by rename", "remounted", "both"])
@pytest.mark.parametrize(
    ("steps", "name"),
    [
        ([W, ("wait", 8.0), ("unlink", "a.json"), W, A_MINUTE], "a.json"),
        ([W, ("wait", 8.0), *moved_aside_to("b.json"), A_MINUTE], "b.json"),
        ([W, A_MINUTE, *moved_aside_to("b.json"), A_MINUTE], "b.json"),
        ([W, A_MINUTE, *moved_aside_to("b.json"), A_MINUTE], "a.json"),
        ([W, ("wait", 8.0), *moved_aside_to("b.json"), ("unlink", "a.json"), A_MINUTE], "b.json"),
    ],
    ids=["removed and back", "two names under way", "two names", "two names, the first", "the second of two"],
)
def test_every_name_that_got_the_session_keeps_it(steps: list[Any], name: str, how: str) -> None:
    assert len(play(steps + once_more(name, how), ["slow"], []).started) == 1


@pytest.mark.promise("W3")
def test_a_name_that_got_it_from_the_file_while_a_listing_misses_it() -> None:
    steps = [
        W,
        ("wait", 8.0),
        ("rename", "a.json", ".x"),
        ("wait", 3.0),
        ("rename", ".x", "b.json"),
        A_MINUTE,
    ]
    # Lists come every two seconds, so those from the fifth to the eighth on miss it, for twelve seconds.
    for full in range(4, 8):
        server = play(steps, [], ["ok"] * full + ["short"] * 6)
        assert len(server.started) == 1


@pytest.mark.parametrize(
    ("steps", "name"),
    [
        # Of the two names of one submission, that one was removed while it was under way, or after.
        ([W, ("wait", 8.0), *moved_aside_to("b.json"), ("unlink", "b.json"), A_MINUTE], "b.json"),
        ([W, A_MINUTE, *moved_aside_to("b.json"), ("unlink", "b.json"), A_MINUTE], "b.json"),
        ([W, ("wait", 8.0), ("unlink", "a.json"), A_MINUTE], "a.json"),
        # Before there is a record, and under another name than it was asked for.
        ([W, ("rename", "a.json", "b.json"), ("unlink", "b.json"), A_MINUTE], "b.json"),
        # Both its names became one.
        (
            [
                *(W, ("wait", 8.0), *moved_aside_to("b.json"), ("write", "a.json", 1, False)),
                *(("rename", "a.json", "b.json"), ("unlink", "b.json"), A_MINUTE),
            ],
            "b.json",
        ),
    ],
    ids=["second name under way", "second name", "the only one", "before the record", "both names as one"],
)
@pytest.mark.parametrize("remounted", [False, True])
def test_a_removed_name_asks_anew(steps: list[Any], name: str, remounted: bool) -> None:
    again = [("remount",)] * remounted + [("write", name, 1, False), A_MINUTE]
    assert len(play(steps + again, ["slow"], []).started) == 2


@pytest.mark.promise("W3", "W15")
@pytest.mark.parametrize("remounted", [False, True])
@pytest.mark.parametrize("again", [[W], [("write", ".x", 1, False), ("rename", ".x", "a.json")]])
@pytest.mark.parametrize("answer", ["ok", "slow", "late", "lost after", "broken"])
def test_what_made_room_is_still_the_same_request(answer: str, again: list[Any], remounted: bool) -> None:
    steps = [
        W,
        A_MINUTE,
        ("full",),
        *[("remount",)] * remounted,
        *again,
        A_MINUTE,
        ("full",),
        *again,
        A_MINUTE,
    ]
    assert len(play(steps, [answer], []).started) == 1


@pytest.mark.parametrize("answer", STARTS)
@pytest.mark.parametrize("wait", [0.03, 8.0, 25.0])
@pytest.mark.parametrize(
    ("steps", "most"),
    [
        ([W], 1),
        ([W, ("rename", "a.json", "b.json")], 1),
        ([W, ("rename", "a.json", "a.json~"), W, ("unlink", "a.json~")], 1),
        ([W, ("rename", "a.json", ".x"), ("rename", ".x", "b.json")], 1),
        (
            [
                ("write", ".x", 1, True),
                ("rename", ".x", "a.json"),
                ("write", ".x", 1, True),
                ("rename", ".x", "a.json"),
            ],
            1,
        ),
        ([W, ("write", "a.json", 2, True), W], 2),
        ([W, ("remount",), W, W], 1),
        ([W, ("unlink", "a.json"), W], 2),
    ],
    ids=[
        "once",
        "renamed",
        "backed up",
        "renamed twice",
        "saved by rename",
        "changed",
        "remounted",
        "removed",
    ],
)
def test_known_interleavings(steps: list[Any], most: int, wait: float, answer: str) -> None:
    spaced = [part for step in steps for part in (step, ("wait", wait))]
    server = play(spaced, [answer], [])
    assert len(server.started) <= most
    # A call that a remount cut off may never have reached the server.
    if answer in ("ok", "slow", "late", "broken", "lost after") and ("remount",) not in steps:
        assert server.started


@pytest.mark.parametrize("answer", ["late", "broken"])
@pytest.mark.parametrize("again", ["a.json", "b.json"])
def test_a_removed_request_whose_outcome_was_never_said(answer: str, again: str) -> None:
    """Removed after the error and dropped again: that is the same request still."""
    steps = [W, ("wait", 100.0), ("unlink", "a.json"), ("write", again, 1, False), ("wait", 40.0)]
    assert len(play(steps, [answer], []).started) == 1


@pytest.mark.parametrize("answer", ["ok", "refused"])
def test_an_unexpected_error_while_showing_does_not_end_the_mount(
    answer: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It ends as an error of the request, or a line in the log; and the session that was started stays the one."""

    show, shown = NewDirectory._show, []

    def fails_once(directory: NewDirectory, name: str) -> None:
        shown.append(name)
        if len(shown) == 1:
            raise RuntimeError("nobody foresaw this")
        show(directory, name)

    monkeypatch.setattr(NewDirectory, "_show", fails_once)
    # Saved by rename: another file, which knows nothing of the first.
    steps = [W, ("wait", 40.0), ("write", ".x", 1, False), ("rename", ".x", "a.json"), ("wait", 40.0)]
    assert len(play(steps, [answer], []).started) == 1
    assert [record for record in caplog.records if record.exc_info and record.name.endswith("submissions")]
