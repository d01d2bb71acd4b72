"""The journal beside another mount that keeps it locked: nothing of this mount stands still, and nothing is lost."""
# ruff: noqa: ASYNC240 # nothing else runs here

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from exportfs.errors import ExportfsError
from exportfs.sessions import journal_file
from exportfs.sessions.journal import Journal, at_once
from exportfs.sessions.journal_file import JournalFile
from exportfs.sessions.ledger import Drop, Put, Record

SOON = 1.0


def record(key: str) -> Record:
    return Record(key, f"{key}.json", "fingerprint", False, "outline", (), at=1e12)


def keys(path: Path) -> list[str]:
    return [each.key for each in JournalFile(path).load()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture(autouse=True)
def nothing_stays_open(path: Path) -> Iterator[None]:
    """A mount writes thousands of times."""
    yield
    open_now = [Path(f"/proc/self/fd/{number}") for number in os.listdir("/proc/self/fd")]
    assert not [
        str(each) for each in open_now if each.is_symlink() and each.readlink().is_relative_to(path.parent)
    ]


@pytest.fixture
def journal(path: Path) -> Journal:
    file = JournalFile(path)
    assert file.load() == []
    return Journal(file, aside=at_once)


async def test_a_record_that_cannot_be_written_is_an_error(journal: Journal, path: Path) -> None:
    with path.open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ExportfsError, match="locked"):
            await journal.put(record("a"), SOON)
    await journal.put(record("b"), SOON)
    assert keys(path) == ["b"]


async def test_what_became_of_requests_meanwhile_is_written_later(journal: Journal, path: Path) -> None:
    for key in ("a", "b", "c"):
        await journal.put(record(key), SOON)
    with path.open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        journal.change(Put(replace(record("a"), session_id="session")))
        journal.change(Drop("b"))
    assert keys(path) == ["a", "b", "c"]
    journal.catch_up()
    (a, c) = JournalFile(path).load()
    assert (a.session_id, c.key) == ("session", "c")


async def test_and_before_the_next_record(journal: Journal, path: Path) -> None:
    await journal.put(record("a"), SOON)
    with path.open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        journal.change(Drop("a"))
    await journal.put(record("a"), SOON)
    assert keys(path) == ["a"]


async def test_what_is_loaded_is_rewritten_with_what_still_counts(journal: Journal, path: Path) -> None:
    for key in ("a", "b"):
        await journal.put(record(key), SOON)
    journal.change(Put(replace(record("a"), forgotten=True)))
    journal.change(Drop("b"))
    with path.open("ab") as file:
        file.write(b'{"put": {"key": "c", "na')  # killed while it wrote
    kept = JournalFile(path).load()
    assert kept == [replace(record("a"), forgotten=True)]
    assert len(path.read_bytes().splitlines()) == 1
    assert JournalFile(path).load() == kept


async def test_a_copy_that_cannot_be_written_leaves_the_file(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    await journal.put(record("a"), SOON)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.replace", full)
        assert keys(path) == ["a"]
    assert path.read_bytes() == before
    assert [each.name for each in path.parent.iterdir()] == ["journal"]
    assert "cannot be rewritten: No space left" in caplog.text


async def test_what_other_mounts_have_heard(journal: Journal, path: Path) -> None:
    await journal.put(record("a"), SOON)
    other = Journal(JournalFile(path), aside=at_once)
    await other.put(record("b"), SOON)
    other.change(Put(replace(record("b"), session_id="session")))
    assert await journal.settled() == [replace(record("b"), session_id="session")]
    with path.open("r+b") as third:
        fcntl.flock(third, fcntl.LOCK_EX)
        assert await journal.settled() is None


def emptied(path: Path) -> None:
    path.write_bytes(b"")


def made_anew(path: Path) -> None:
    """By another mount, which had read nothing."""
    path.unlink()
    JournalFile(path).append([Put(record("theirs"))])


def written_over(path: Path) -> None:
    """As a backup that is put back with `cp`, or a new file that has got the old one's inode: by size it has grown."""
    emptied(path)
    JournalFile(path).append([Put(record("theirs")), *(Drop(f"another-{number}") for number in range(100))])


@pytest.mark.parametrize("somebody", [Path.unlink, emptied, made_anew, written_over])
async def test_what_is_taken_away_is_there_again(
    journal: Journal, path: Path, somebody: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Otherwise the same request after a remount starts a second export."""
    for key in ("a", "b"):
        await journal.put(record(key), SOON)
    journal.change(Put(replace(record("a"), session_id="session")))
    journal.change(Drop("b"))
    somebody(path)
    await journal.put(record("c"), SOON)
    found = {each.key: each.session_id for each in JournalFile(path).load()}
    found.pop("theirs", None)
    assert found == {"a": "session", "c": None}
    assert "had lost 1 of its requests" in caplog.text


async def test_at_the_end_too(journal: Journal, path: Path) -> None:
    await journal.put(record("a"), SOON)
    path.unlink()
    await journal.close()
    assert keys(path) == ["a"]


async def test_the_end_with_what_cannot_be_written(journal: Journal, path: Path) -> None:
    """Nothing is under way that could be waited for."""
    await journal.put(record("a"), SOON)
    with path.open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        journal.change(Drop("a"))
        await journal.close()
    assert journal.unwritten == 1


async def test_the_same_trouble_is_told_once(
    journal: Journal, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Until it is over; and who asks for an export is told each time."""
    for _ in range(2):
        caplog.clear()
        with path.open("r+b") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            for key in ("a", "b", "c"):
                journal.change(Drop(key))
            told = [each.getMessage() for each in caplog.records]
            with pytest.raises(ExportfsError, match="locked"):
                await journal.put(record("d"), SOON)
        assert told == [f"cannot write the journal {path}: another process keeps it locked"]
        assert len(caplog.records) == 1
        journal.catch_up()
        assert journal.unwritten == 0


async def test_one_that_is_taken_away_while_its_lock_is_waited_for(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written into a file that has no name any more is lost."""
    await journal.put(record("a"), SOON)
    lock, again = journal_file._lock, [None]

    def taken_away_first(descriptor: int, until: float) -> None:
        if again:
            again.pop()
            path.unlink()
        lock(descriptor, until)

    monkeypatch.setattr(journal_file, "_lock", taken_away_first)
    await journal.put(record("b"), SOON)
    assert sorted(keys(path)) == ["a", "b"]


async def test_what_nobody_foresaw(
    journal: Journal, path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The record may be there nevertheless, and is taken back: nothing was sent."""
    append = JournalFile.append

    def breaks(*args: Any) -> None:
        append(*args)
        raise RuntimeError("nobody foresaw this")

    with monkeypatch.context() as patch:
        patch.setattr(JournalFile, "append", breaks)
        with pytest.raises(ExportfsError, match="nobody foresaw this"):
            await journal.put(record("a"), SOON)
    await journal.put(record("b"), SOON)
    assert keys(path) == ["b"]
    caplog.clear()


async def test_no_thread_for_it(journal: Journal, path: Path) -> None:
    def none(work: Callable[[], None], after: Callable[[], None]) -> None:
        raise RuntimeError("can't start new thread")

    journal._aside = none
    journal.change(Put(record("a")))
    with pytest.raises(ExportfsError, match="can't start new thread"):
        await journal.put(record("b"), SOON)
    journal._aside = at_once
    await journal.put(record("c"), SOON)
    assert keys(path) == ["a", "c"]


async def test_also_what_was_found_and_when_it_is_only_looked_at(journal: Journal, path: Path) -> None:
    """As it is while an answer is missing, and a crash would leave nothing of the question."""
    await journal.put(replace(record("a"), session_id="session"), SOON)
    await journal.put(record("b"), SOON)
    file = JournalFile(path)
    file.load()
    path.unlink()
    assert [each.key for each in await Journal(file, aside=at_once).settled() or []] == ["a"]
    assert keys(path) == ["a", "b"]


async def test_what_another_mount_has_rewritten_is_whole(
    journal: Journal, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for key in ("a", "b"):
        await journal.put(record(key), SOON)
    journal.change(Drop("b"))
    assert keys(path) == ["a"]
    await journal.put(record("c"), SOON)
    assert [json.loads(line)["put"]["key"] for line in path.read_text().splitlines()] == ["a", "c"]
    assert not caplog.text


async def test_one_for_who_writes_nothing(journal: Journal, path: Path) -> None:
    await journal.put(replace(record("a"), session_id="session"), SOON)
    looking = Journal(JournalFile(path), read_only=True, aside=at_once)
    assert await looking.load(SOON) == await looking.settled() == [replace(record("a"), session_id="session")]


async def test_it_is_private(tmp_path: Path) -> None:
    """Names of files in new/ and of cameras are nobody else's business."""
    path = tmp_path / "home" / "exports" / "journal"
    umask = os.umask(0)
    try:
        JournalFile(path).load()
        for _ in range(2):
            assert (path.parent.stat().st_mode & 0o777, path.stat().st_mode & 0o777) == (0o700, 0o600)
            shutil.rmtree(path.parent)
            JournalFile(path).append([Put(record("a"))])
    finally:
        os.umask(umask)


async def test_a_later_version_knows_more_of_a_record(journal: Journal, path: Path) -> None:
    """Nothing is asked for twice since an earlier version was installed again."""
    await journal.put(replace(record("a"), session_id="session"), SOON)
    line = json.loads(path.read_text())
    line["put"]["since_then"] = [1]
    path.write_text(json.dumps(line) + "\n")
    assert JournalFile(path).load() == [replace(record("a"), session_id="session")]


@pytest.mark.parametrize(
    "line", ["17", '"put"', "[1]", "null", '{"put": 1}', '{"put": {}}', '{"put": {"key": []}}']
)
async def test_lines_that_are_no_records(journal: Journal, path: Path, line: str) -> None:
    await journal.put(record("a"), SOON)
    with path.open("a") as file:
        file.write(line + "\n")
    assert keys(path) == ["a"]
