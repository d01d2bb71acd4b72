"""What a fault does to a call. Each action hooks into one or two of the points that `Action` names.

Blocks are counted within the call: block 0 is the first that the call sends, whatever its index.
"""

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar

import grpc
from google.protobuf.message import Message

from exportfs.simulator.api.calls import Call
from exportfs.simulator.api.refusal import Refused
from exportfs.wire import service

Block = tuple[int, bytes]
"""Index and data of a FileChunk."""


def _refused(code: grpc.StatusCode | str, details: str) -> Refused:
    return Refused(grpc.StatusCode[code] if isinstance(code, str) else code, details)


class Action:
    """The points in a call. An action that does nothing is one that lets the call be."""

    holds: ClassVar[bool] = False
    """Whether it may hold a call until it is released."""

    def before(self, call: Call) -> None:
        """Before the token is looked at."""

    def answer(self, call: Call) -> Iterable[bytes] | None:
        """Serialized answers in place of the true ones; None: the true ones."""
        return None

    def after(self, call: Call) -> None:
        """After the work, before its answer goes out. Not for streams."""

    def blocks(self, call: Call, blocks: Iterator[Block]) -> Iterator[Block]:
        """The blocks of a download."""
        return blocks

    def pages(self, call: Call, pages: Iterator[bytes]) -> Iterator[bytes]:
        """The serialized answers of ListSessions."""
        return pages


@dataclass(frozen=True)
class Fail(Action):
    """Ends the call with a status. `after`: the work is done, and its answer lost."""

    code: grpc.StatusCode | str = grpc.StatusCode.UNAVAILABLE
    details: str = "Simulated fault"
    after_work: bool = False

    def before(self, call: Call) -> None:
        if not self.after_work:
            raise _refused(self.code, self.details)

    def after(self, call: Call) -> None:
        if self.after_work:
            raise _refused(self.code, self.details)


@dataclass(frozen=True)
class Delay(Action):
    """Waits `seconds` of real time before the work, or before its answer."""

    seconds: float
    after_work: bool = False

    def before(self, call: Call) -> None:
        if not self.after_work:
            call.wait(self.seconds)

    def after(self, call: Call) -> None:
        if self.after_work:
            call.wait(self.seconds)


@dataclass(frozen=True)
class Hang(Action):
    """Holds the call until it is released or cancelled."""

    holds: ClassVar[bool] = True
    after_work: bool = False

    def before(self, call: Call) -> None:
        if not self.after_work:
            call.wait(None)

    def after(self, call: Call) -> None:
        if self.after_work:
            call.wait(None)


@dataclass(frozen=True)
class Answer(Action):
    """Answers with these messages, or bytes that need be no message at all, and does no work."""

    replies: tuple[bytes | Message, ...]

    def answer(self, call: Call) -> Iterable[bytes]:
        return [one if isinstance(one, bytes) else one.SerializeToString() for one in self.replies]


@dataclass(frozen=True)
class RevokeToken(Action):
    """The token of the call, or every token, is no longer valid: this call is the first to notice."""

    every: bool = False

    def before(self, call: Call) -> None:
        call.revoke = "all" if self.every else "one"


@dataclass(frozen=True)
class FailExport(Action):
    """For StartSession: the export will complete and not succeed."""

    with_files: bool = False

    def before(self, call: Call) -> None:
        call.export_fails = "with" if self.with_files else "without"


@dataclass(frozen=True)
class EndlessStream(Action):
    """For ListSessions: after the true answers come empty ones, every `pause` seconds, until released."""

    holds: ClassVar[bool] = True
    pause: float = 0.01

    def pages(self, call: Call, pages: Iterator[bytes]) -> Iterator[bytes]:
        yield from pages
        while not call.wait(self.pause):
            yield b""


@dataclass(frozen=True)
class EndlessPages(Action):
    """For ListSessions: whatever the page, there is always a next."""

    def pages(self, call: Call, pages: Iterator[bytes]) -> Iterator[bytes]:
        yield from pages
        yield service.ListSessionsResponse(next_page_token=f"again-{call.number}").SerializeToString()


def _first_bytes(blocks: Iterator[Block], limit: int) -> Iterator[Block]:
    """The whole blocks within the first `limit` bytes."""
    left = limit
    for index, data in blocks:
        left -= len(data)
        if left < 0:
            return
        yield index, data


@dataclass(frozen=True)
class Cut(Action):
    """The stream ends with a status after `after_bytes`, or cleanly where `code` is empty."""

    after_bytes: int = 0
    code: grpc.StatusCode | str = grpc.StatusCode.UNAVAILABLE
    details: str = "Simulated cut"

    def blocks(self, call: Call, blocks: Iterator[Block]) -> Iterator[Block]:
        yield from _first_bytes(blocks, self.after_bytes)
        if self.code != "":
            raise _refused(self.code, self.details)


@dataclass(frozen=True)
class ResetStream(Action):
    """The server resets the call's HTTP/2 stream after `after_bytes`."""

    after_bytes: int = 0

    def blocks(self, call: Call, blocks: Iterator[Block]) -> Iterator[Block]:
        yield from _first_bytes(blocks, self.after_bytes)
        call.cancel()
        call.wait(5)  # for the end of the call to arrive here as well


@dataclass(frozen=True)
class Stall(Action):
    """Nothing comes after `after_bytes`, for `seconds` or until it is released; then the rest does."""

    holds: ClassVar[bool] = True
    after_bytes: int = 0
    seconds: float | None = None

    def blocks(self, call: Call, blocks: Iterator[Block]) -> Iterator[Block]:
        sent, stalled = 0, False
        for index, data in blocks:
            if not stalled and sent + len(data) > self.after_bytes:
                stalled = True
                call.wait(self.seconds)
            yield index, data
            sent += len(data)


@dataclass(frozen=True)
class Slow(Action):
    """The stream is paced to `bytes_per_second`."""

    bytes_per_second: float

    def blocks(self, call: Call, blocks: Iterator[Block]) -> Iterator[Block]:
        for index, data in blocks:
            yield index, data
            call.wait(len(data) / self.bytes_per_second)


@dataclass(frozen=True)
class _OneBlock(Action):
    """Something is wrong with one block."""

    block: int = 0

    def wrong(self, index: int, data: bytes) -> Iterable[Block]:
        raise NotImplementedError

    def blocks(self, call: Call, blocks: Iterator[Block]) -> Iterator[Block]:
        for number, (index, data) in enumerate(blocks):
            if number == self.block:
                yield from self.wrong(index, data)
            else:
                yield index, data


@dataclass(frozen=True)
class ShortBlock(_OneBlock):
    """It lacks its last `missing` bytes."""

    missing: int = 1

    def wrong(self, index: int, data: bytes) -> Iterable[Block]:
        return [(index, data[: max(0, len(data) - self.missing)])]


@dataclass(frozen=True)
class LongBlock(_OneBlock):
    """It has `extra` bytes too many at its end."""

    extra: int = 1

    def wrong(self, index: int, data: bytes) -> Iterable[Block]:
        return [(index, data + bytes(self.extra))]


@dataclass(frozen=True)
class RepeatBlock(_OneBlock):
    """It comes twice."""

    def wrong(self, index: int, data: bytes) -> Iterable[Block]:
        return [(index, data), (index, data)]


@dataclass(frozen=True)
class SkipBlock(_OneBlock):
    """It does not come."""

    def wrong(self, index: int, data: bytes) -> Iterable[Block]:
        return []


@dataclass(frozen=True)
class WrongIndex(_OneBlock):
    """Its index is wrong by `by`; with `rest`, so is that of all that follow."""

    by: int = 1
    rest: bool = False

    def wrong(self, index: int, data: bytes) -> Iterable[Block]:
        return [(max(0, index + self.by), data)]

    def blocks(self, call: Call, blocks: Iterator[Block]) -> Iterator[Block]:
        if not self.rest:
            yield from super().blocks(call, blocks)
            return
        for number, (index, data) in enumerate(blocks):
            yield (max(0, index + self.by) if number >= self.block else index), data


@dataclass(frozen=True)
class CorruptBlock(_OneBlock):
    """Its byte `at` is not the file's. No client can notice: for tests of the tests."""

    at: int = 0

    def wrong(self, index: int, data: bytes) -> Iterable[Block]:
        mended = bytearray(data)
        if mended:
            mended[self.at % len(mended)] ^= 0xFF
        return [(index, bytes(mended))]


@dataclass(frozen=True)
class SwapBlocks(Action):
    """The block and the one after it come in the wrong order."""

    block: int = 0

    def blocks(self, call: Call, blocks: Iterator[Block]) -> Iterator[Block]:
        yield from itertools.islice(blocks, self.block)
        pair = list(itertools.islice(blocks, 2))
        yield from reversed(pair)
        yield from blocks


@dataclass(frozen=True)
class Overrun(Action):
    """After the end of the file come `count` more blocks of `size` bytes."""

    count: int = 1
    size: int = 1024

    def blocks(self, call: Call, blocks: Iterator[Block]) -> Iterator[Block]:
        last = call.start_index - 1
        for block in blocks:
            last = block[0]
            yield block
        for number in range(self.count):
            yield last + 1 + number, bytes(self.size)
