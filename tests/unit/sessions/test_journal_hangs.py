"""The journal on a file system that hangs: nobody waits for it longer than they say, what is written late is accounted
for, and it goes on by itself."""
# ruff: noqa: ASYNC240 # nothing else runs here

import errno
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio
import trio.testing

from exportfs.errors import ExportfsError, TimedOut
from exportfs.sessions.journal import Journal, at_once
from exportfs.sessions.journal_file import JournalFile
from exportfs.sessions.ledger import Drop, Put, Record
from tests.unit.sessions.test_journal import keys, record

SOON = 5.0
Clock = trio.testing.MockClock


class Disk:
    """Does what it is asked for when the test says so."""

    def __init__(self) -> None:
        self.hangs = True
        self._asked: deque[tuple[Callable[[], None], Callable[[], None]]] = deque()

    def aside(self, work: Callable[[], None], after: Callable[[], None]) -> None:
        if not self.hangs:
            at_once(work, after)
            return
        assert not self._asked, "one thing after another"
        self._asked.append((work, after))

    def works(self) -> Callable[[], None]:
        """Does what it was asked for, of which the mount does not know before it is told so."""
        work, after = self._asked.popleft()
        work()
        return after

    def answers(self) -> None:
        self.hangs = False
        self.works()()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "journal"
    assert JournalFile(path).load() == []
    return path


@pytest.fixture
def disk() -> Disk:
    return Disk()


@pytest.fixture
def journal(path: Path, disk: Disk) -> Journal:
    return Journal(JournalFile(path), aside=disk.aside, clock=trio.current_time)


async def test_a_record_that_is_written_too_late_is_taken_back(
    journal: Journal, disk: Disk, path: Path, autojump_clock: Clock
) -> None:
    begun = trio.current_time()
    with pytest.raises(TimedOut, match=r"does not answer: its file system hangs"):
        await journal.put(record("a"), SOON)
    assert trio.current_time() - begun == SOON
    disk.answers()
    assert '"key": "a"' in path.read_text(), "it was written"
    assert keys(path) == []
    await journal.put(record("b"), SOON)
    assert keys(path) == ["b"]


async def test_one_that_is_written_in_the_moment_of_giving_up_is_taken_back(
    journal: Journal, disk: Disk, path: Path, autojump_clock: Clock
) -> None:
    """The thread is through, and the mount has not heard of it: what was answered is what counts."""
    after: list[Callable[[], None]] = []

    async def just_in_time() -> None:
        await trio.sleep(SOON - 0.001)
        after.append(disk.works())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(just_in_time)
        with pytest.raises(TimedOut):
            await journal.put(record("a"), SOON)
    disk.hangs = False
    after[0]()
    assert keys(path) == []


async def test_one_whose_turn_did_not_come_is_never_written(
    journal: Journal, disk: Disk, path: Path, autojump_clock: Clock
) -> None:
    journal.change(Put(record("a")))
    with pytest.raises(TimedOut):
        await journal.put(record("b"), SOON)
    disk.answers()
    assert keys(path) == ["a"]
    assert '"key": "b"' not in path.read_text()


async def test_what_became_of_requests_meanwhile_is_written_when_it_goes_on(
    journal: Journal, disk: Disk, path: Path, autojump_clock: Clock
) -> None:
    journal.change(Put(record("a")))
    for session_id in ("first", "second"):
        journal.change(Put(replace(record("a"), session_id=session_id)))
        journal.catch_up()
    journal.change(Drop("b"))
    assert journal.unwritten == 4
    disk.answers()
    assert journal.unwritten == 0
    assert len(path.read_text().splitlines()) == 4
    assert [each.session_id for each in JournalFile(path).load()] == ["second"]


async def test_who_need_not_wait_does_so_once(journal: Journal, disk: Disk, autojump_clock: Clock) -> None:
    journal.change(Drop("a"))
    begun = trio.current_time()
    await journal.written()
    first = trio.current_time() - begun
    assert 0 < first < SOON
    await trio.sleep(0.01)
    begun = trio.current_time()
    await journal.written()
    assert await journal.settled() is None
    assert trio.current_time() == begun


async def test_the_end_waits_for_what_can_be_written_soon(
    journal: Journal, disk: Disk, path: Path, autojump_clock: Clock
) -> None:
    journal.change(Put(record("a")))

    async def slow() -> None:
        await trio.sleep(0.5)
        disk.answers()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(slow)
        await journal.close()
        assert journal.unwritten == 0
    assert keys(path) == ["a"]


async def test_what_other_mounts_have_heard_is_not_waited_for(
    journal: Journal, disk: Disk, autojump_clock: Clock
) -> None:
    with trio.fail_after(SOON):
        assert await journal.settled() is None
    disk.answers()
    assert await journal.settled() == []


async def test_loading_ends(journal: Journal, autojump_clock: Clock) -> None:
    with pytest.raises(TimedOut, match="does not answer"):
        await journal.load(SOON)


async def test_a_record_that_may_be_there_is_taken_back(
    path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch, autojump_clock: Clock
) -> None:
    """fsync fails and so does taking it back, as on a network's file system: the line may be there."""
    disk.hangs = False
    journal = Journal(JournalFile(path), aside=disk.aside)

    def fails(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", fails)
        patch.setattr("os.ftruncate", fails)
        with pytest.raises(ExportfsError, match="Input/output error"):
            await journal.put(record("a"), SOON)
    journal.catch_up()
    assert '"key": "a"' in path.read_text()
    assert keys(path) == []


async def test_who_waits_for_a_record_and_is_cancelled(path: Path, disk: Disk) -> None:
    disk.hangs = False
    journal = Journal(JournalFile(path), aside=disk.aside)
    with trio.CancelScope() as ended:
        ended.cancel()
        await journal.put(record("a"), SOON)
    assert ended.cancelled_caught
    assert keys(path) == []


class TestOfAMountThatStartsNothing:
    async def test_it_need_not_be_there(self, tmp_path: Path) -> None:
        path = tmp_path / "missing" / "journal"
        journal = Journal(JournalFile(path), read_only=True)
        assert await journal.load(SOON) == []
        journal.change(Put(record("a")))
        await journal.written()
        assert journal.unwritten == 0
        assert await journal.settled() == []
        await journal.close()
        assert not path.parent.exists()

    async def test_what_others_wrote_is_known(self, path: Path) -> None:
        started: Record = replace(record("a"), session_id="session")
        JournalFile(path).append([Put(started)])
        path.chmod(0o400)
        before = path.read_bytes()
        journal = Journal(JournalFile(path), read_only=True)
        assert await journal.load(SOON) == [started]
        assert await journal.settled() == [started]
        assert path.read_bytes() == before

    async def test_one_that_cannot_be_read_is_done_without(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        path.unlink()
        path.mkdir()
        assert await Journal(JournalFile(path), read_only=True).load(SOON) == []
        assert "which sessions were started here is not known" in caplog.text

    async def test_one_that_hangs_is_done_without(
        self, journal: Journal, disk: Disk, path: Path, autojump_clock: Clock
    ) -> None:
        journal = Journal(JournalFile(path), read_only=True, aside=disk.aside)
        assert await journal.load(SOON) == []
