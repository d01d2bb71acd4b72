"""Trying a call again, for as long as `Patience` allows."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from exportfs.errors import ExportfsError, Interrupted
from exportfs.retry import Patience, PatienceConfig

T = TypeVar("T")


async def repeated(
    attempt: Callable[[float], Awaitable[T]],
    mend: Callable[[ExportfsError], Awaitable[None]],
    retried: Callable[[], None],
    *,
    timeout: float,
    interruptions: int = 1,
) -> T:
    """What `attempt` gives in the end; it is handed the seconds that are left.

    mend: does what can be done about a failure, and raises where that makes it final. retried: told before each new
    attempt. interruptions: after more failures that may be the server's last word (INTERNAL, UNKNOWN) it is taken at
    it. Raises one of our errors.
    """
    patience = Patience(PatienceConfig(timeout=timeout), trio.current_time())
    interrupted = 0
    while True:
        try:
            return await attempt(max(0.1, patience.deadline - trio.current_time()))
        except ExportfsError as error:
            interrupted += isinstance(error, Interrupted)
            if interrupted > interruptions:
                raise
            pause = patience.after(error, trio.current_time())
            await mend(error)
            await trio.sleep(pause)
            retried()
