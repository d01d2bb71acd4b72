"""What sessions need of the server; `rpc.server` offers it, and a small fake can."""

from collections.abc import Callable
from typing import Protocol

from exportfs.errors import ExportfsError
from exportfs.model import Listing, SessionState


class SessionService(Protocol):
    """The calls about sessions. Each raises our errors, and none waits longer than the mount's timeout."""

    trouble: ExportfsError | None
    """What keeps calls that are still being tried again from an answer."""

    async def list_sessions(self, moved: Callable[[], None]) -> Listing:
        """All sessions, in no order that means anything. Told `moved` whenever more of them have come, and takes longer
        than the timeout only as long as they do."""

    async def get_session_state(self, session_id: str) -> SessionState:
        """Resets the server's timers. Raises NotFound where there is no such session."""

    async def stop_session(self, session_id: str) -> SessionState:
        """Stops a running export."""

    async def destroy_session(self, session_id: str) -> None:
        """Deletes a session and its results."""

    async def start_session(self, options: bytes, *, within: float) -> str:
        """The id of the session started; asks once.

        Raises NotSent, Exhausted and other refusals where certainly nothing was started; Interrupted, TimedOut,
        Unreachable where that is unknown.
        """
