"""What the kernel reads ahead and nobody may come to: asked for only once somebody does.

The kernel asks for its next window of read-ahead when a reader comes to the first byte of the one before. So as long as
no request follows a window's, nobody waits for it. (But where it has as many requests under way as it allows itself:
then the time is the bound.)
"""

import trio

from exportfs.content.tuning import GUESS_SECONDS


class Guess:
    """One read that waits for somebody to come to it. `end` is the offset behind it."""

    def __init__(self, end: int) -> None:
        self.end = end
        self._known = trio.Event()
        self._over = trio.Event()
        self._wanted = True

    def settle(self, *, wanted: bool) -> None:
        """It is known now whether anybody will come to it."""
        self._wanted = self._wanted and wanted
        self._known.set()

    async def wanted(self) -> bool:
        """Waits until it is known, or has been waited for long enough. What the caller does next, up to where it waits
        again, is done before `over` returns."""
        try:
            with trio.move_on_after(GUESS_SECONDS):
                await self._known.wait()
        finally:
            self._over.set()
        return self._wanted

    async def over(self) -> None:
        """Waits until it waits no more."""
        await self._over.wait()
