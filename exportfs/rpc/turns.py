"""Calls that wait for their turn on a connection: a server takes only so many at once, and may refuse the others."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from exportfs.errors import ExportfsError
from exportfs.rpc.channel import Metadata


class Stream(Protocol):
    """A call on a connection. All in trio's thread."""

    def opened(self, number: int) -> None:
        """Its headers are on their way."""

    def data(self, data: memoryview, more: int) -> None:
        """more: bytes of the same frame that are still to come, for which there is room or it is against the rules.
        Raises Misunderstood where gRPC may be able to read what comes: all calls end with NoExact, and nothing that
        comes after it is taken, since it would be put where this belongs."""

    def ended(self, error: ExportfsError | None) -> None: ...


class Call(NamedTuple):
    """What is sent for a stream."""

    stream: Stream
    method: str
    request: bytes
    metadata: Metadata


class Turns:
    """Of one connection. How many calls it takes at once the server says in its SETTINGS, which come after ours, and
    may change. Until then it is as many as on another connection, or one: each refusal, by a reset that need not say
    why, costs the connection and a try."""

    def __init__(self, limited: Callable[[int], None], known: Callable[[], int | None]) -> None:
        """`limited` is told how many calls at once the server takes on a connection; `known`: how many it took on
        others, None where none has said it."""
        self._limited = limited
        self._known = known
        self._said: int | None = None
        self._waiting: list[Call] = []

    @property
    def waiting(self) -> int:
        """How many calls."""
        return len(self._waiting)

    def full(self, open_calls: int) -> bool:
        """Whether another call would have to wait until one that is open, or waits, ends. Where no server has said
        yet how many it takes, what is to wait may as well wait here."""
        at_once = self._said if self._said is not None else self._known()
        return at_once is not None and open_calls + len(self._waiting) >= at_once

    def room(self, open_calls: int) -> bool:
        """Whether the server takes a call beside those."""
        at_once = self._said if self._said is not None else self._known() or 1
        return open_calls < at_once

    def say(self, at_once: int) -> None:
        """The server takes so many from now on."""
        self._said = at_once
        self._limited(max(1, at_once))

    def add(self, call: Call) -> None:
        """At the end of those that wait."""
        self._waiting.append(call)

    def next(self, open_calls: int) -> Call | None:
        """Whose turn it is, if anybody's: it waits no longer."""
        return self._waiting.pop(0) if self._waiting and self.room(open_calls) else None

    def withdraw(self, stream: Stream) -> None:
        """It waits no longer, if it did."""
        self._waiting = [call for call in self._waiting if call.stream is not stream]

    def dissolve(self) -> list[Stream]:
        """All that waited, which nobody waits for here any more."""
        waiting, self._waiting = self._waiting, []
        return [call.stream for call in waiting]
