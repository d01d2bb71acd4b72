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
    return Record(key, f"{key}.json", f"fingerprint of {key}", False, "outline", (), at=1e12)


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


LATER = [
    '{"put": {"key": "a", "since_then": 1}}',
    '{"put": {"key": "b", "asked_as": "b.json"}}',
    '{"settle": "a"}',
]


@pytest.mark.promise("W12")
@pytest.mark.parametrize("line", LATER)
async def test_what_a_later_version_wrote_is_there_for_it(
    journal: Journal, path: Path, line: str, caplog: pytest.LogCaptureFixture
) -> None:
    """An earlier version was installed for a day: what it does not understand may be what prevents a second export."""
    await journal.put(record("a"), SOON)
    with path.open("a") as file:
        file.write(line + "\n")
    before = path.read_bytes()
    assert keys(path) == ["a"]
    assert path.read_bytes() == before
    assert "1 lines of the journal" in caplog.text
    assert "later version" in caplog.text


@pytest.mark.promise("W12")
@pytest.mark.parametrize("line", [b'{"put": {"key": "b", "na', b"spoilt", b"\xff" * 9, b"[" * 100_000])
async def test_what_is_damaged_is_kept_beside(
    journal: Journal, path: Path, line: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    await journal.put(record("a"), SOON)
    with path.open("ab") as file:
        file.write(line)
    kept = path.with_name("journal.damaged")
    for _ in range(2):
        assert keys(path) == ["a"]
        assert kept.read_bytes() == line + b"\n"
    assert kept.stat().st_mode & 0o777 == 0o600
    assert caplog.text.count(f"1 lines of the journal {path} cannot be read, and are in {kept}") == 1


async def test_what_cannot_be_kept_beside_stays(
    journal: Journal, path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await journal.put(record("a"), SOON)
    with path.open("a") as file:
        file.write("spoilt\n")
    before = path.read_bytes()
    path.with_name("journal.damaged").mkdir()
    assert keys(path) == ["a"]
    assert path.read_bytes() == before
    assert "cannot be rewritten: Is a directory" in caplog.text


@pytest.mark.parametrize("where", ["before", "after", "line"])
async def test_nuls_after_a_power_cut(
    journal: Journal, path: Path, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A file system that had made the file longer and not written what belongs there."""
    await journal.put(record("a"), SOON)
    nuls = b"\0" * 5000
    line = path.read_bytes()
    path.write_bytes(nuls + line if where == "before" else line + nuls + b"\n" * (where == "line"))
    mount = Journal(JournalFile(path), aside=at_once)
    assert [each.key for each in await mount.load(SOON)] == ["a"]
    with path.open("ab") as file:
        file.write(nuls)
    await mount.put(record("b"), SOON)
    assert keys(path) == ["a", "b"]
    assert not caplog.text


async def test_the_end_of_the_last_line_is_missing(journal: Journal, path: Path) -> None:
    """Somebody has looked at it with an editor."""
    await journal.put(record("a"), SOON)
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    mount = JournalFile(path)
    assert [each.key for each in mount.load()] == ["a"]
    path.write_bytes(path.read_bytes().removesuffix(b"\n"))
    mount.append([Put(record("b"))])
    assert keys(path) == ["a", "b"]


def make_directory(path: Path) -> None:
    path.mkdir()


def make_fifo(path: Path) -> None:
    os.mkfifo(path)


def make_link(path: Path) -> None:
    path.symlink_to("elsewhere")


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (make_directory, "Is a directory"),
        (make_fifo, "not a regular file"),
        (make_link, "Too many levels of symbolic links"),
    ],
)
async def test_something_else_in_its_place(
    journal: Journal, path: Path, make: Callable[[Path], None], reason: str
) -> None:
    """Neither does a mount begin, nor does one that is there send what it could not write down."""
    await journal.put(record("a"), SOON)
    path.unlink()
    make(path)
    with pytest.raises(ExportfsError, match=reason):
        JournalFile(path).load()
    with pytest.raises(ExportfsError, match=f"{reason}|not a regular file"):
        JournalFile(path).peek()
    with pytest.raises(ExportfsError, match=reason):
        await journal.put(record("b"), SOON)
    path.rmdir() if path.is_dir() else path.unlink()
    await journal.put(record("c"), SOON)
    assert keys(path) == ["a", "c"]
    assert [each.name for each in path.parent.iterdir()] == ["journal"]


def test_a_new_file_is_there_after_a_power_cut(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name is synced once what is in it is, and before anybody is told so."""
    synced: list[str] = []
    fsync = os.fsync

    def noted(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    monkeypatch.setattr("os.fsync", noted)
    file = JournalFile(path)
    file.load()
    assert synced[-1] == path.parent.name
    synced.clear()
    file.append([Put(record("a"))])
    assert synced == ["journal"]
    path.unlink()
    file.append([Put(record("b"))])
    assert synced == ["journal"] * 2 + [path.parent.name]


def same(key: str, **known: Any) -> Record:
    return replace(record(key), fingerprint="the same", **known)


UNHEARD = [same("theirs"), same("theirs", session_id="session", reported=False)]


@pytest.mark.promise("W12")
@pytest.mark.parametrize("theirs", UNHEARD)
async def test_what_another_mount_has_asked_for_since(journal: Journal, path: Path, theirs: Record) -> None:
    JournalFile(path).append([Put(theirs)])
    journal.change(Put(record("unwritten")))
    assert await journal.put(same("ours"), SOON) == [theirs] == await journal.unheard("the same")
    assert keys(path) == ["theirs", "unwritten"]
    # What this mount does with it by then counts as well.
    journal.change(Drop("theirs"))
    assert await journal.put(same("ours"), SOON) == []
    assert keys(path) == ["unwritten", "ours"]


@pytest.mark.parametrize(
    "theirs",
    [
        same("theirs", session_id="session"),
        same("theirs", session_id="session", forgotten=True),
        same("theirs", session_id="session", reported=False, destroyed=True),
        record("theirs"),
    ],
)
async def test_what_it_has_heard_of_is_no_hindrance(journal: Journal, path: Path, theirs: Record) -> None:
    JournalFile(path).append([Put(theirs)])
    assert await journal.put(same("ours"), SOON) == []
    assert keys(path) == ["theirs", "ours"]


async def test_of_two_that_ask_at_once_one_writes(path: Path) -> None:
    first, second = (Journal(JournalFile(path), aside=at_once) for _ in range(2))
    for each in (first, second):
        await each.load(SOON)
    assert await first.put(same("first"), SOON) == []
    assert await second.put(same("second"), SOON) == [same("first")]
    first.change(Put(same("first", session_id="session")))
    assert await second.put(same("second"), SOON) == []
