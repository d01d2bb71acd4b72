"""Which cameras there are, as far as is known. Nobody looks: nothing is asked. One listing answers all looks for five
minutes; details come for those that somebody looks into, a hundred at a time where somebody walks through all."""

import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from typing import Any

import trio

from exportfs.cameras.naming import directory_names
from exportfs.cameras.service import SiteService
from exportfs.errors import AccessDenied, ExportfsError, NotFound, TimedOut, Unsupported
from exportfs.naming import percent_encode
from exportfs.site import Agent, Camera

log = logging.getLogger(__name__)

FRESH = 300.0
"""Seconds for which a listing, or the details of a camera, are believed."""
ASK_AGAIN = 10.0
"""Seconds after which a name that is not known is worth another listing."""
FAIL_FAST = 1.0
"""Seconds for which a failure that may pass is the answer, so that a hundred looks do not wait one timeout each."""
GRACE = 1.0
"""Seconds that a look waits for a listing where an older one is known."""
BATCH = 100
"""Cameras asked for in one call, where somebody walks through all."""
WALKING, WALK_SECONDS = 3, 10.0
"""So many calls for details within so many seconds: somebody walks through all."""

StartSoon = Callable[[Callable[[], Awaitable[Any]]], Any]


class Cameras:
    """All cameras by the name of their directory. Belongs to one trio run; between two awaits all is consistent.

    timeout: seconds that a look waits at most. start_soon: starts a task of the mount, so that a listing that somebody
    waited for is not lost with them.
    """

    def __init__(self, service: SiteService, *, timeout: float, start_soon: StartSoon) -> None:
        self._service = service
        self._timeout = timeout
        self._start_soon = start_soon
        self._by_point: dict[str, Camera] = {}
        self._by_name: dict[str, str] = {}
        self._names: dict[str, str] = {}
        self._by_code: dict[str, str] = {}
        self._listed_at: float | None = None
        self._asked_at = float("-inf")
        self._listing: trio.Event | None = None
        self._failure: ExportfsError | None = None
        self._detailed_at: dict[str, float] = {}
        self._detail_calls: deque[float] = deque(maxlen=WALKING)
        self._detailing = trio.Lock()
        self._labels: dict[str, str] = {}
        """Of cameras that no listing has told of yet."""
        self._asked_labels: set[str] = set()
        self._agents: tuple[float, tuple[Agent, ...]] | None = None
        self.changes = 0
        """Counts changes of what is known."""

    def __len__(self) -> int:
        return len(self._by_point)

    def __iter__(self) -> Iterator[tuple[str, Camera]]:
        """Names of directories and their cameras, in the server's order, from memory."""
        return iter([(self._names[point], camera) for point, camera in self._by_point.items()])

    @property
    def trouble(self) -> str | None:
        """Why the cameras cannot be listed, for people."""
        if self._failure is None:
            return None
        if isinstance(self._failure, Unsupported):
            return "this server does not tell of its cameras"
        return str(self._failure)

    def status(self) -> dict[str, object]:
        """For people."""
        age = None if self._listed_at is None else round(trio.current_time() - self._listed_at, 1)
        return {"known": len(self), "listed_seconds_ago": age, "error": self.trouble}

    async def fresh(self) -> None:
        """Returns when what is known is fresh enough to be shown, or is all that there is to show.

        Raises what the listing raised where nothing is known at all, unless the server has no such service or this
        login no right: then there are no cameras.
        """
        now = trio.current_time()
        if self._listed_at is not None and now - self._listed_at <= FRESH:
            return
        if self._listed_at is None and self._failure is not None and now - self._asked_at < self._pause:
            self._raise_unless_none()
            return
        with trio.move_on_after(self._timeout if self._listed_at is None else GRACE):
            await self._list()
        if self._listed_at is None:
            self._raise_unless_none()

    async def named(self, name: str) -> Camera | None:
        """The camera of a directory's name, or of its percent-encoded access point; asks again for a new name, though
        not always. Raises as `fresh` does."""
        await self.fresh()
        camera = self.known(name) or self.coded(name)
        if camera is None and trio.current_time() - self._asked_at > ASK_AGAIN:
            with trio.move_on_after(self._timeout):
                await self._list()
            camera = self.known(name) or self.coded(name)
        return camera

    def directory(self, camera: Camera) -> str:
        """Name of its directory, from memory."""
        return self._names.get(camera.access_point, percent_encode(camera.access_point))

    def get(self, access_point: str) -> Camera | None:
        """From memory."""
        return self._by_point.get(access_point)

    def known(self, name: str) -> Camera | None:
        """The camera of a directory's name, from memory."""
        return self._by_point.get(self._by_name.get(name, ""))

    def coded(self, name: str) -> Camera | None:
        """The camera whose access point, percent-encoded, this is; from memory."""
        return self._by_point.get(self._by_code.get(name, ""))

    async def detailed(self, access_point: str) -> Camera:
        """The camera with all that belongs to it.

        Raises NotFound where there is none, TimedOut, and what the call raised. Where it is asked for after another
        few, the next hundred come with it: so nobody who walks through all causes a call for each.
        """
        with trio.move_on_after(self._timeout):
            async with self._detailing:
                return await self._detailed(access_point)
        raise TimedOut("the server did not tell of the camera in time")

    def strange(self, access_points: Iterable[str]) -> bool:
        """Whether there is a camera among these whose label is not known and was not asked for. From memory."""
        known, asked = (self._by_point, self._labels), self._asked_labels
        return any(point not in asked and not any(point in one for one in known) for point in access_points)

    async def acquaint(self, access_points: Iterable[str]) -> None:
        """Learns the labels of these cameras with one call, so that records can show them; once for each camera, and
        waits no longer than a moment. What cannot be learnt stays unknown."""
        new = list(dict.fromkeys(point for point in access_points if self.strange((point,))))[:BATCH]
        if not new or isinstance(self._failure, Unsupported | AccessDenied):
            return
        self._asked_labels.update(new)
        learnt = trio.Event()
        self._start_soon(partial(self._learn, new, learnt))
        with trio.move_on_after(GRACE):
            await learnt.wait()

    def label(self, access_point: str) -> str | None:
        """From memory; None where it is not known."""
        camera = self._by_point.get(access_point)
        return camera.label if camera is not None else self._labels.get(access_point)

    async def _learn(self, access_points: list[str], learnt: trio.Event) -> None:
        try:
            details = await self._service.get_cameras(access_points, full=False)
            self._labels.update((camera.access_point, camera.label) for camera in details.cameras)
        except ExportfsError as error:
            log.debug("could not list the cameras: %s", error)
        finally:
            learnt.set()

    def may_ask(self) -> bool:
        """Whether a call for one camera is in order: not while somebody walks through all of them."""
        return not self._walking()

    async def agents(self) -> tuple[Agent, ...]:
        """The export agents; none where the server does not name any. Raises what the call raised."""
        now = trio.current_time()
        if self._agents is None or now - self._agents[0] > FRESH:
            try:
                found = await self._service.list_agents()
            except (Unsupported, AccessDenied):
                found = ()
            self._agents = (now, found)
        return self._agents[1]

    def _walking(self) -> bool:
        calls = self._detail_calls
        return len(calls) == WALKING and trio.current_time() - calls[0] < WALK_SECONDS

    async def _detailed(self, access_point: str) -> Camera:
        now = trio.current_time()
        camera = self._by_point.get(access_point)
        if camera is not None and camera.detailed and now - self._detailed_at[access_point] <= FRESH:
            return camera
        wanted = [access_point]
        if self._walking():
            wanted += self._next_after(access_point, now)
        self._detail_calls.append(now)
        details = await self._service.get_cameras(wanted)
        for found in details.cameras:
            self._detailed_at[found.access_point] = trio.current_time()
            if self._by_point.get(found.access_point) != found:
                self._by_point[found.access_point] = found
                self.changes += 1
        known = self._by_point.get(access_point)
        if known is None or access_point in details.missing:
            raise NotFound("there is no such camera")
        return known

    def _next_after(self, access_point: str, now: float) -> list[str]:
        points = list(self._by_point)
        place = points.index(access_point) + 1 if access_point in self._by_point else 0
        stale = [p for p in points[place:] if now - self._detailed_at.get(p, float("-inf")) > FRESH]
        return stale[: BATCH - 1]

    async def _list(self) -> None:
        """One listing, shared by all who wait for one, and carried on where they go."""
        if self._listing is None:
            self._listing = trio.Event()
            self._start_soon(self._list_once)
        await self._listing.wait()

    async def _list_once(self) -> None:
        try:
            cameras = await self._service.list_cameras()
        except ExportfsError as error:
            if self._failure is None or type(error) is not type(self._failure):
                log.log(
                    logging.INFO if isinstance(error, Unsupported) else logging.WARNING,
                    "listing cameras failed: %s",
                    error,
                )
            self._failure = error
        else:
            self._apply(cameras)
        finally:
            self._asked_at = trio.current_time()
            done, self._listing = self._listing, None
            if done is not None:
                done.set()

    def _apply(self, cameras: tuple[Camera, ...]) -> None:
        before = self._by_point
        self._by_point = {
            camera.access_point: _merged(camera, before.get(camera.access_point)) for camera in cameras
        }
        self._failure = None
        self._listed_at = trio.current_time()
        if self._by_point == before:
            return
        self.changes += 1
        self._names = directory_names(cameras)
        self._by_name = {name: point for point, name in self._names.items()}
        self._by_code = {percent_encode(point): point for point in self._by_point}
        self._detailed_at = {p: at for p, at in self._detailed_at.items() if p in self._by_point}

    @property
    def _pause(self) -> float:
        """Seconds until a listing that failed is worth another one."""
        return ASK_AGAIN if isinstance(self._failure, Unsupported | AccessDenied) else FAIL_FAST

    def _raise_unless_none(self) -> None:
        if self._failure is None:
            raise TimedOut("the server did not list its cameras in time")
        if not isinstance(self._failure, Unsupported | AccessDenied):
            raise type(self._failure)(str(self._failure))


def _merged(listed: Camera, known: Camera | None) -> Camera:
    """What a listing says, with the details that are known: a listing has none."""
    if known is None or not known.detailed:
        return listed
    return Camera(
        access_point=listed.access_point,
        name=listed.name,
        id=listed.id,
        enabled=listed.enabled,
        active=listed.active,
        access=listed.access or known.access,
        comment=listed.comment,
        has_archives=listed.has_archives,
        detailed=True,
        streams=known.streams,
        microphones=known.microphones,
        archives=known.archives,
    )
