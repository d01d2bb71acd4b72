"""What reading needs of the server; `rpc.download` offers it, and a small fake can."""

from typing import Protocol

from exportfs.errors import ExportfsError
from exportfs.model import Fetch


class Sink(Protocol):
    """Who gets the blocks of a running download. Both are called in trio's thread, in order."""

    def block(self, index: int, data: memoryview, length: int | None = None) -> None:
        """One block as the server numbered it; nothing about it has been checked. length: that of the whole block, as
        the server announced it, where `data` is only its beginning, up to `Fetch.end` at least."""

    def ended(self, error: ExportfsError | None) -> None:
        """After the last block: None for a clean end of the stream. Comes at most once, never after `cancel`."""


class Running(Protocol):
    """A running download."""

    def allow(self, until: int) -> None:
        """Lets it take the blocks below `until`; the limit never goes back."""

    def window(self, amount: int) -> None:
        """Lets so many bytes be on their way at a time: what the server may have sent and has not arrived. Means
        something for exact downloads only."""

    def cancel(self) -> None:
        """Ends it; the sink hears nothing more. May be called twice, and after the end."""

    def suspect(self) -> None:
        """Its connection seems dead: the next one should get a new one."""


class Source(Protocol):
    """Starts downloads."""

    def start(self, fetch: Fetch, sink: Sink) -> Running:
        """Asks for the blocks. Never raises: failures go to the sink, and so does a stop at `fetch.until`, as a clean
        end."""


class Remote(Protocol):
    """The server, as far as reading has to do with it beside downloads."""

    async def mend(self, error: ExportfsError) -> None:
        """Does what can be done about a failure before the next try.

        Raises what makes the failure final (a refused login).
        """

    def unanswered_since(self) -> float | None:
        """When the oldest call without an answer was made, downloads apart; None where there is none."""
