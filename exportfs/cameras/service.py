"""What this room needs of the server; `rpc.site` offers it, and a small fake can."""

from collections.abc import Sequence
from typing import Protocol

from exportfs.site import Agent, Camera, Details, History


class SiteService(Protocol):
    """The calls about the site. Each raises our errors (Unsupported where the server has no such service, AccessDenied
    where this login may not ask), and none waits longer than the mount's timeout."""

    async def list_cameras(self) -> tuple[Camera, ...]:
        """All cameras, without details."""

    async def get_cameras(self, access_points: Sequence[str], *, full: bool = True) -> Details:
        """These cameras; `full`: with all that belongs to them."""

    async def list_agents(self) -> tuple[Agent, ...]:
        """The export agents; some servers name none although exports run."""

    async def history(self, track: str, begin: int, end: int, *, most: int, gap: int, exact: bool) -> History:
        """The first `most` intervals with footage within begin and end (Unix milliseconds); intervals with less than
        `gap` milliseconds between them are one. exact: meant for an hour at most."""
