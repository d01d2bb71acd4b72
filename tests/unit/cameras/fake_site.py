"""A site service in memory, which counts its calls."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import trio

from exportfs.errors import ExportfsError
from exportfs.site import Agent, Archive, Camera, Completeness, Details, History, Interval

Answer = History | ExportfsError


def camera(number: int = 1, name: str = "", *, node: str = "Server", **others: object) -> Camera:
    """Camera `number` of a node, listed without details."""
    point = f"hosts/{node}/DeviceIpint.{number}/SourceEndpoint.video:0:0"
    return replace(Camera(point, name or f"Camera {number}", str(number)), **others)  # type: ignore[arg-type] # fields by name


def archive(name: str = "AliceBlue", **others: object) -> Archive:
    point = f"hosts/Server/MultimediaStorage.{name}/MultimediaStorage"
    return replace(Archive(point, name, track=f"{point}/Sources/src"), **others)  # type: ignore[arg-type] # fields by name


class FakeSite:
    """Gives what its fields say. `failure`: what every call raises; `gate`: what every call waits for."""

    def __init__(self, *cameras: Camera) -> None:
        self.cameras = list(cameras)
        self.archives: tuple[Archive, ...] = (archive(),)
        self.agents: tuple[Agent, ...] = ()
        self.intervals: list[Interval] = []
        self.failure: ExportfsError | None = None
        self.gate: trio.Event | None = None
        self.unreachable: frozenset[str] = frozenset()
        self.answer: Callable[[str, int, int, int], Answer] = self.all_at_once
        self.listings = 0
        self.batches: list[Sequence[str]] = []
        self.histories: list[tuple[str, int, int, int, bool]] = []

    async def _call(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.gate is not None:
            await self.gate.wait()
        if self.failure is not None:
            raise self.failure

    async def list_cameras(self) -> tuple[Camera, ...]:
        self.listings += 1
        await self._call()
        return tuple(self.cameras)

    async def get_cameras(self, access_points: Sequence[str], *, full: bool = True) -> Details:
        self.batches.append(access_points)
        await self._call()
        there = {one.access_point: one for one in self.cameras}
        found = [there[point] for point in access_points if point in there and point not in self.unreachable]
        return Details(
            tuple(replace(one, detailed=True, archives=self.archives) for one in found),
            frozenset(point for point in access_points if point not in there),
            self.unreachable.intersection(access_points),
        )

    async def list_agents(self) -> tuple[Agent, ...]:
        await self._call()
        return self.agents

    async def history(self, track: str, begin: int, end: int, *, most: int, gap: int, exact: bool) -> History:
        self.histories.append((track, begin, end, gap, exact))
        await self._call()
        answer = self.answer(track, begin, end, most)
        if isinstance(answer, ExportfsError):
            raise answer
        return answer

    def all_at_once(self, track: str, begin: int, end: int, most: int) -> History:
        found = [one for one in self.intervals if one[1] > begin and one[0] < end]
        partial = len(found) > most
        return History(Completeness.PARTIAL if partial else Completeness.FULL, tuple(found[:most]))
