"""What a server may say to a call, right or wrong, cut anywhere; and who takes what comes of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import trio
import trio.testing
from hyperframe.frame import (
    ContinuationFrame,
    GoAwayFrame,
    PingFrame,
    PushPromiseFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)
from hypothesis import strategies as st

from exportfs.errors import ExportfsError, Unreachable
from exportfs.rpc.frames import FRAME
from exportfs.rpc.handle import Handle
from exportfs.rpc.http2_client import WINDOW
from tests.support.fake_source import content
from tests.support.framed_peer import CLOSE, STALL, Data, Say, Step, data, headers, messages

BLOCK = 8192

HARMLESS: dict[str, Callable[[int], Step]] = {
    "ping": lambda number: Say(PingFrame(0, b"12345678").serialize()),
    "settings": lambda number: Say(SettingsFrame(0, {1: 0, 4: 0, 5: 1 << 20}).serialize()),
    "none at once": lambda number: Say(SettingsFrame(0, {3: 0}).serialize()),
    "a window": lambda number: Say(WindowUpdateFrame(0, window_increment=9).serialize()),
    "no data": lambda number: data(number, b""),
    "padding alone": lambda number: data(number, b"", 7),
    "of another stream": lambda number: Say(data(number + 100, b"x" * 100).raw),
    "of one before": lambda number: Say(data(number - 2 if number > 2 else 99, b"").raw),
    "unknown": lambda number: Say(b"\0\0\3\xbb\0\0\0\0\0abc"),
    "goodbye": lambda number: Say(GoAwayFrame(0, last_stream_id=number).serialize()),
}
FATAL: dict[str, Callable[[int], Step]] = {
    "goodbye to this": lambda number: Say(GoAwayFrame(0, last_stream_id=0).serialize()),
    "reset": lambda number: Say(RstStreamFrame(number, error_code=8).serialize()),
    "refused": lambda number: Say(RstStreamFrame(number, error_code=7).serialize()),
    "reset without an error": lambda number: Say(RstStreamFrame(number, error_code=0).serialize()),
    "of no stream": lambda number: Say(b"\0\0\4\0\0\0\0\0\0oops"),
    "beyond the window": lambda number: Say(data(number, b"x" * FRAME).raw),
    "too much padding": lambda number: Say(b"\0\0\4\0\x08" + number.to_bytes(4, "big") + b"\xffabc"),
    "no length of padding": lambda number: Say(b"\0\0\0\0\x08" + number.to_bytes(4, "big")),
    "a promise": lambda number: Say(PushPromiseFrame(number, 2, b"\x88", flags=["END_HEADERS"]).serialize()),
    "continued": lambda number: Say(ContinuationFrame(number, b"\x88", flags=["END_HEADERS"]).serialize()),
    "windows": lambda number: Say(WindowUpdateFrame(0, window_increment=(1 << 31) - 1).serialize()),
    "no HTTP/2": lambda number: Say(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
    "much": lambda number: Say(b"\xff\xff\xff\1\0" + number.to_bytes(4, "big")),
    "ended": lambda number: data(number, b"", end=True),
    "trailers": lambda number: headers(number, ("grpc-status", "14"), end=True),
    "page": lambda number: headers(number, (":status", "502")),
    CLOSE: lambda number: CLOSE,
    STALL: lambda number: STALL,
}


@dataclass
class Sent:
    """One answer: frames of these sizes, paddings, and faults after so many of them."""

    size: int
    frames: list[tuple[int, int | None]]
    harmless: list[tuple[int, str]]
    fatal: tuple[int, str] | None

    @property
    def stalls(self) -> bool:
        return self.fatal is not None and self.fatal[1] == STALL

    @property
    def says_goodbye(self) -> bool:
        """A goodbye that comes after this call was left is heard by the next on its connection, which ends with it."""
        return "goodbye" in (name for _, name in self.harmless)

    def __call__(self, number: int) -> Iterator[Step]:
        rest = messages(self.size, BLOCK)
        at = 0
        yield from self._faults(at, number)
        yield headers(number, (":status", "200"), ("content-type", "application/grpc"))
        while rest:
            at += 1
            yield from self._faults(at, number)
            size, padding = self.frames[at % len(self.frames)]
            yield Data(rest[:size], padding)
            rest = rest[size:]
        if self.fatal is not None and self.fatal[0] > at:
            yield FATAL[self.fatal[1]](number)
        yield headers(number, ("grpc-status", "0"), end=True)

    def _faults(self, at: int, number: int) -> Iterator[Step]:
        for place, name in self.harmless:
            # Data stands behind the headers.
            if place == at and (at or name not in ("no data", "padding alone")):
                yield HARMLESS[name](number)
        if self.fatal is not None and self.fatal[0] == at:
            yield FATAL[self.fatal[1]](number)


@dataclass
class Taken:
    """Lets the call go on block by block, and may leave it."""

    size: int
    step: int
    leave_at: int | None
    data: bytearray = field(default_factory=bytearray)
    error: ExportfsError | None = None
    over: bool = False
    left: bool = False
    download: Handle | None = None

    def __post_init__(self) -> None:
        self.end = trio.Event()
        self._next = 0

    def block(self, index: int, data: memoryview, length: int | None = None) -> None:
        assert not self.left
        assert index == self._next
        assert data == content("f", index * BLOCK, min(BLOCK, self.size - index * BLOCK))
        self._next += 1
        self.data += data
        assert self.download is not None
        if self._next == self.leave_at:
            self.leave()
        else:
            self.download.allow(self._next + self.step)

    def leave(self) -> None:
        assert self.download is not None
        self.left = True
        self.download.cancel()
        self.end.set()

    def ended(self, error: ExportfsError | None) -> None:
        assert not self.left
        self.error, self.over = error, True
        self.end.set()

    def is_as_it_should_be(self, goodbye: bool) -> bool:
        """Where the server did nothing wrong. goodbye: one to a call before may have come only now."""
        return self.left or self.error is None or (goodbye and isinstance(self.error, Unreachable))

    async def until_the_end(self, sent: Sent, stalled: Callable[[], bool]) -> None:
        """Or until the server says nothing more: then it is left. What ends without an error is whole."""
        assert self.download is not None
        if sent.stalls:
            while not self.end.is_set() and not stalled():
                await trio.testing.wait_all_tasks_blocked(0.001)
            if not self.end.is_set():
                self.download.suspect()
                self.leave()
        await self.end.wait()
        if self.over and self.error is None:
            assert len(self.data) == self.size


def answers() -> st.SearchStrategy[Sent]:
    place = st.integers(0, 12)
    return st.builds(
        Sent,
        size=st.integers(1, 7 * BLOCK),
        frames=st.lists(
            st.tuples(st.integers(1, WINDOW // 2) | st.integers(1, 40), st.none() | st.integers(0, 255)),
            min_size=1,
            max_size=5,
        ).filter(lambda frames: sum(size for size, _ in frames) / len(frames) > 500),
        harmless=st.lists(st.tuples(place, st.sampled_from(sorted(HARMLESS))), max_size=4),
        fatal=st.none() | st.tuples(place, st.sampled_from(sorted(FATAL))),
    )
