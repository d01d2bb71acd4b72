"""What a download lets through of what comes."""

import pytest

from exportfs.config import KIB, MIB
from exportfs.content.cache import Block
from exportfs.content.download import Download, FileKey, Phase, WrongLength
from exportfs.content.source import Sink
from exportfs.errors import Corrupt, ExportfsError
from exportfs.model import Fetch

SIZE = 16 * KIB


class Owner:
    """Notes what becomes of it."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.error: ExportfsError | None = None

    def arrived(self, download: Download, index: int, block: Block) -> None:
        self.blocks.append(block)

    def finished(self, download: Download, error: ExportfsError | None) -> None:
        self.error = error

    def awaited(self, download: Download) -> bool:
        return True

    def awaited_since(self, download: Download) -> float | None:
        return 0.0

    def served(self, now: float) -> float:
        return 0.0


class Nothing:
    """A source of nothing, and what it gives."""

    fetch: Fetch

    def start(self, fetch: Fetch, sink: Sink) -> "Nothing":
        self.fetch = fetch
        return self

    def allow(self, until: int) -> None: ...
    def window(self, amount: int) -> None: ...
    def cancel(self) -> None: ...
    def suspect(self) -> None: ...


@pytest.mark.parametrize(
    ("index", "length", "error"),
    [(8, SIZE, None), (8, 2 * SIZE, WrongLength), (8, 4 * KIB, WrongLength), (9, SIZE, Corrupt)],
)
@pytest.mark.promise("R6")
def test_the_beginning_of_a_block_is_checked_as_all_of_it(
    index: int, length: int, error: type[ExportfsError] | None
) -> None:
    owner, source = Owner(), Nothing()
    key = FileKey("session", "file", MIB)
    download = Download(owner, key, SIZE, 7, wide=False, stop=True, whole=False, clock=lambda: 0.0)
    download.allow(8 * SIZE + 4 * KIB)
    assert download.limit == 8 * SIZE + 4 * KIB  # who wants more of it has to ask for it
    download.begin(source)
    assert (source.fetch.first, source.fetch.until, source.fetch.end) == (7, 9, download.limit)
    download.block(7, memoryview(bytes(SIZE)))
    download.block(index, memoryview(b"x" * 4 * KIB), length)
    if error is None:
        download.ended(None)
        assert owner.error is None
        assert [(block.start, len(block.data)) for block in owner.blocks] == [
            (7 * SIZE, SIZE),
            (8 * SIZE, 4 * KIB),
        ]
    else:
        assert type(owner.error) is error
        assert len(owner.blocks) == 1
    assert download.phase is Phase.ENDED
