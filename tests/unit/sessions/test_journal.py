"""The journal beside another mount that keeps it locked: nothing of this mount stands still, and nothing is lost."""

import fcntl
from pathlib import Path

import pytest

from exportfs.errors import ExportfsError
from exportfs.sessions.journal import Journal, Record


def record(key: str) -> Record:
    return Record(key, f"{key}.json", "fingerprint", False, "outline", (), at=1e12)


def loaded(path: Path) -> Journal:
    journal = Journal(path)
    journal.load()
    return journal


def test_a_record_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = loaded(path)
    with path.open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ExportfsError, match="locked"):
            journal.put(record("a"))
    assert not journal.records
    journal.put(record("b"))
    assert [each.key for each in loaded(path).records] == ["b"]


def test_what_became_of_requests_meanwhile_is_written_later(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = loaded(path)
    for key in ("a", "b", "c"):
        journal.put(record(key))
    with path.open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        journal.started("a", "session")
        journal.drop("b")
    assert [each.key for each in loaded(path).unresolved()] == ["a", "b", "c"]
    journal.catch_up()
    (a, c) = loaded(path).records
    assert (a.session_id, c.key) == ("session", "c")


def test_and_before_the_next_record(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = loaded(path)
    journal.put(record("a"))
    with path.open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        journal.drop("a")
    journal.put(record("a"))
    assert [each.key for each in loaded(path).records] == ["a"]
