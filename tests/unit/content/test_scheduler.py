"""Whose bytes come first on the line, as a table."""

from dataclasses import dataclass

import pytest

from exportfs.config import KIB, MIB
from exportfs.content.cache import Block
from exportfs.content.download import Download, FileKey
from exportfs.content.scheduler import shares
from exportfs.content.tuning import WRAPPING
from exportfs.errors import ExportfsError

NOW = 100.0
WINDOW = 24 * KIB


@dataclass
class Owner:
    """A file that was served so much lately; `since`: when somebody began to wait for it."""

    lately: float
    since: float | None

    def arrived(self, download: Download, index: int, block: Block) -> None:
        raise NotImplementedError

    def finished(self, download: Download, error: ExportfsError | None) -> None:
        raise NotImplementedError

    def awaited(self, download: Download) -> bool:
        return self.since is not None

    def awaited_since(self, download: Download) -> float | None:
        return self.since

    def served(self, now: float) -> float:
        return self.lately


def download(name: str, wanted: int, *, lately: float = 0.0, since: float | None = None) -> Download:
    key = FileKey("session", name, 100 * MIB)
    made = Download(Owner(lately, since), key, 16 * KIB, 0, wide=False, clock=lambda: NOW - 10)
    made.allow(wanted)
    return made


@pytest.mark.parametrize(
    ("downloads", "expected"),
    [
        ([download("a", MIB)], {"a": WINDOW}),
        # what is waited for comes before read-ahead
        ([download("ahead", MIB), download("read", MIB, since=99)], {"read": WINDOW, "ahead": 0}),
        (
            [download("ahead", MIB), download("read", 16 * KIB, since=99)],
            {"read": 16 * KIB + WRAPPING, "ahead": 8 * KIB - WRAPPING},
        ),
        # a player before a copy
        (
            [download("copy", MIB, lately=5e6, since=90), download("player", MIB, lately=1e6, since=99)],
            {"player": WINDOW, "copy": 0},
        ),
        # of equals, who has waited longest
        ([download("late", MIB, since=99), download("early", MIB, since=98)], {"early": WINDOW, "late": 0}),
    ],
)
def test_shares(downloads: list[Download], expected: dict[str, int]) -> None:
    found = {one.key.file_id: amount for one, amount in shares(downloads, WINDOW, NOW)}
    assert found == expected
    assert sum(found.values()) <= WINDOW
