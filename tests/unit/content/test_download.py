"""What a download lets through of what comes."""

import pytest

from exportfs.config import KIB, MIB
from exportfs.content.cache import Block
from exportfs.content.download import Download, FileKey, Phase, WrongLength
from exportfs.content.source import Sink
from exportfs.errors import Corrupt, ExportfsError, Interrupted, TimedOut
from exportfs.model import Fetch

SIZE = 16 * KIB


class Owner:
    """Notes what becomes of it."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.error: ExportfsError | None = None
        self.finishes = 0

    def arrived(self, download: Download, index: int, block: Block) -> None:
        self.blocks.append(block)

    def finished(self, download: Download, error: ExportfsError | None) -> None:
        self.error = error
        self.finishes += 1

    def awaited(self, download: Download) -> bool:
        return True

    def awaited_since(self, download: Download) -> float | None:
        return 0.0

    def served(self, now: float) -> float:
        return 0.0


class Nothing:
    """A source of nothing, and what it gives."""

    fetch: Fetch
    cancelled = False

    def start(self, fetch: Fetch, sink: Sink) -> "Nothing":
        self.fetch = fetch
        return self

    def allow(self, until: int) -> None: ...
    def window(self, amount: int) -> None: ...
    def cancel(self) -> None:
        self.cancelled = True

    def suspect(self) -> None: ...


def doubted() -> tuple[Owner, Download]:
    """One of block 3, which has come."""
    owner, source = Owner(), Nothing()
    key = FileKey("session", "file", 20 * SIZE)
    download = Download(
        owner, key, SIZE, 3, wide=False, stop=True, whole=False, doubtful=True, clock=lambda: 0.0
    )
    download.allow(3 * SIZE + 1)
    download.begin(source)
    assert (source.fetch.first, source.fetch.until, source.fetch.end) == (3, 5, 4 * SIZE + 1)
    download.block(3, memoryview(bytes(SIZE)))
    assert not owner.blocks
    assert not download.delivered
    return owner, download


@pytest.mark.promise("R6")
def test_what_might_be_the_end_is_believed_once_more_comes() -> None:
    owner, download = doubted()
    download.block(4, memoryview(bytes(1)), SIZE)
    assert [(block.start, len(block.data)) for block in owner.blocks] == [(3 * SIZE, SIZE), (4 * SIZE, 1)]
    download.ended(None)
    assert owner.error is None


@pytest.mark.promise("R6")
def test_it_is_dropped_where_nothing_does() -> None:
    for error in (None, Interrupted("broken")):
        owner, download = doubted()
        download.ended(error)
        assert not owner.blocks
        assert owner.error is error or isinstance(owner.error, WrongLength)
    owner, download = doubted()
    download.stalled(Interrupted("silent"))
    assert not owner.blocks
    assert isinstance(owner.error, Interrupted)
    owner, download = doubted()
    download.block(4, memoryview(bytes(1)), 2 * SIZE)
    assert not owner.blocks
    assert isinstance(owner.error, WrongLength)


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


HALF = SIZE // 2
LOST, STALLED = Interrupted("lost"), TimedOut("stalled")
Said = tuple[int, int] | ExportfsError | None
"""A block's number and length, or what the stream ends with; STALLED: that nothing more comes."""


@pytest.mark.promise("R6")
@pytest.mark.parametrize(
    ("said", "delivered", "error"),
    [
        pytest.param([(0, SIZE), (1, SIZE), (2, HALF), None], 3, None, id="whole"),
        pytest.param(
            [(0, 0), (0, SIZE), (1, SIZE), (2, HALF), (3, 0), None], 3, None, id="empty blocks around"
        ),
        pytest.param([(0, SIZE), (1, SIZE), (2, HALF), STALLED], 3, None, id="no end of the stream"),
        pytest.param([(0, SIZE), (1, SIZE), (2, HALF), LOST], 2, LOST, id="lost before the end"),
        pytest.param([(0, SIZE), (1, SIZE), (2, HALF), (3, 1), None], 2, Corrupt, id="longer"),
        pytest.param([(0, SIZE), (1, SIZE), (2, HALF), (2, HALF), None], 2, Corrupt, id="the end twice"),
        pytest.param([(0, SIZE), (1, SIZE), (2, SIZE), None], 2, WrongLength, id="longer in the last block"),
        pytest.param([(0, SIZE), (1, SIZE), None], 2, Corrupt, id="shorter by a block"),
        pytest.param([(0, SIZE), (1, SIZE - 1), (2, HALF), None], 1, WrongLength, id="shorter by a byte"),
        pytest.param([None], 0, Corrupt, id="nothing"),
        pytest.param([(0, SIZE), STALLED], 1, STALLED, id="stalled"),
        pytest.param([(1, SIZE), (0, SIZE), (1, SIZE), (2, HALF), None], 0, Corrupt, id="out of order"),
        pytest.param([(0, SIZE), (0, SIZE), (1, SIZE), (2, HALF), None], 1, Corrupt, id="repeated"),
        pytest.param([(0, SIZE), (2, HALF), None], 1, Corrupt, id="left out"),
    ],
)
def test_what_is_let_through(
    said: list[Said], delivered: int, error: type[ExportfsError] | ExportfsError | None
) -> None:
    """Of a file of two and a half blocks. Whatever comes after what is wrong, nobody sees."""
    owner, source = Owner(), Nothing()
    download = Download(owner, FileKey("s", "f", 2 * SIZE + HALF), SIZE, 0, wide=True, clock=lambda: 0.0)
    download.allow(MIB)
    download.begin(source)
    for each in said:
        if isinstance(each, tuple):
            download.block(each[0], memoryview(bytes(each[1])))
        elif each is STALLED:
            download.stalled(STALLED)
        else:
            download.ended(each)
    assert [block.start for block in owner.blocks] == [0, SIZE, 2 * SIZE][:delivered]
    assert owner.finishes == 1
    assert owner.error is error if not isinstance(error, type) else type(owner.error) is error
    assert (download.refusal is not None) is (delivered == 0)
    assert source.cancelled


@pytest.mark.promise("R6")
@pytest.mark.parametrize(("until", "error"), [(1, type(None)), (2, Corrupt)])
def test_a_stream_that_ends_before_the_file_does(until: int, error: type[ExportfsError | None]) -> None:
    """As it was asked to, or too early."""
    owner, source = Owner(), Nothing()
    download = Download(owner, FileKey("s", "f", MIB), SIZE, 0, wide=False, stop=True, clock=lambda: 0.0)
    download.allow(until * SIZE)
    download.begin(source)
    download.block(0, memoryview(bytes(SIZE)))
    download.ended(None)
    assert type(owner.error) is error
