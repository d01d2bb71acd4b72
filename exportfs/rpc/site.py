"""The calls about cameras, archives and footage (DomainService, ArchiveService)."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from exportfs.config import MIB
from exportfs.errors import Corrupt, ExportfsError
from exportfs.naming import encode
from exportfs.rpc import site_convert
from exportfs.rpc.attempts import repeated
from exportfs.rpc.channel import Connections
from exportfs.rpc.counted import short
from exportfs.rpc.login import Login
from exportfs.rpc.paged import collect
from exportfs.rpc.unary import Bridge
from exportfs.rpc.wire_format import message
from exportfs.site import Agent, Camera, Details, History

T = TypeVar("T")

_DOMAIN = "/axxonsoft.bl.domain.DomainService/"
_ARCHIVE = "/axxonsoft.bl.archive.ArchiveService/"
PAGE_SIZE = 100
"""Items a page, as other clients ask for."""
_LONGEST_ANSWER = 64 * MIB
_MOST_PAGES = 1000
_EXPORT_AGENT = 6
"""`CT_EXPORT_AGENT` of the contract."""
_BASIC, _FULL = 1, 2
"""`ResourceLocator.View` of the contract."""


class SiteClient:
    """One server's site, as one user. Belongs to one trio run.

    Every method raises our errors: Unsupported where the server has no such service, AccessDenied where this login may
    not ask. None waits longer than `timeout` seconds without an answer.
    """

    def __init__(
        self,
        connections: Connections,
        bridge: Bridge,
        login: Login,
        mend: Callable[[ExportfsError], Awaitable[None]],
        *,
        timeout: float,
    ) -> None:
        self._connections = connections
        self._bridge = bridge
        self._login = login
        self._mend = mend
        self._timeout = timeout

    async def list_cameras(self) -> tuple[Camera, ...]:
        """All cameras, without what belongs to them: about 1 KB a camera."""
        found: dict[str, Camera] = {}
        for camera in await self._pages(_DOMAIN + "ListCameras", site_convert.cameras_page):
            if camera.access_point:
                found[camera.access_point] = camera
        return tuple(found.values())

    async def get_cameras(self, access_points: Sequence[str], *, full: bool = True) -> Details:
        """These cameras; `full`: with all that belongs to them, 2 to 15 KB a camera in place of 1."""
        view = _FULL if full else _BASIC
        locators = [(1, message((1, encode(point)), (3, view))) for point in access_points]
        answers = await self._stream(_DOMAIN + "BatchGetCameras", message(*locators), site_convert.batch_page)
        return Details(
            tuple(camera for answer in answers for camera in answer.cameras),
            frozenset(point for answer in answers for point in answer.missing),
            frozenset(point for answer in answers for point in answer.unreachable),
        )

    async def list_agents(self) -> tuple[Agent, ...]:
        """The export agents."""
        return tuple(
            await self._pages(_DOMAIN + "ListComponents", site_convert.agents_page, (2, _EXPORT_AGENT))
        )

    async def version(self) -> str:
        """Of the server, such as `3.0.0.46`."""
        return site_convert.version(await self._unary(_DOMAIN + "GetVersion", b""))

    async def history(self, track: str, begin: int, end: int, *, most: int, gap: int, exact: bool) -> History:
        """The first `most` intervals with footage within begin and end (Unix milliseconds).

        gap: intervals with less between them, in milliseconds, are one. exact: meant for an hour at most.
        """
        request = message(
            (1, encode(track)),
            (2, site_convert.to_wire(begin)),
            (3, site_convert.to_wire(end)),
            (4, most),
            (5, gap),
            (6, 0 if exact else 1),
        )
        return site_convert.history(await self._unary(_ARCHIVE + "GetHistory2", request))

    async def _unary(self, method: str, request: bytes) -> bytes:
        async def attempt(left: float) -> bytes:
            return await self._bridge.call(method, request, self._login.metadata(), left)

        return await repeated(attempt, self._mend, self._retried(method), timeout=self._timeout)

    async def _stream(self, method: str, request: bytes, take: Callable[[bytes], T]) -> list[T]:
        async def attempt(left: float) -> list[T]:
            metadata = self._login.metadata()
            return await collect(
                self._connections, method, request, metadata, left, take, _LONGEST_ANSWER, first_within=left
            )

        return await repeated(attempt, self._mend, self._retried(method), timeout=self._timeout)

    def _retried(self, method: str) -> Callable[[], None]:
        return partial(self._connections.calls.retried, short(method))

    async def _pages(
        self, method: str, take: Callable[[bytes], tuple[list[T], str]], *fields: tuple[int, int]
    ) -> list[T]:
        """All items of a listing. The token may come in a message of its own, without items (observed)."""
        items: list[T] = []
        token = ""
        seen = {""}
        for _ in range(_MOST_PAGES):
            request = message(*fields, (3, encode(token)), (4, PAGE_SIZE))
            token = ""
            for page, next_token in await self._stream(method, request, take):
                items += page
                token = next_token or token
            if token in seen:
                if token:
                    raise Corrupt("the list goes round in circles")
                return items
            seen.add(token)
        raise Corrupt("the list does not end")
