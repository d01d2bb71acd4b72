"""DomainService and ArchiveService, as far as cameras need them, with their oddities."""

from collections.abc import Iterator, Sequence
from typing import TypeVar

import grpc

from exportfs.simulator.api.refusal import Refused, invalid
from exportfs.simulator.clock import Clock
from exportfs.simulator.site.footage import DAY, merged
from exportfs.simulator.site.model import EMBEDDED_ERROR, Site, SiteArchive, SiteCamera, track
from exportfs.wire import archive, domain, security

EPOCH_OFFSET_MS = 2_208_988_800_000
"""Milliseconds from 1900-01-01, where the archive's times begin, to the Unix epoch."""
_DEFAULT_PAGE = 100
_TOKEN = "item-"


class SiteServices:
    """What the two services answer."""

    def __init__(self, site: Site, clock: Clock) -> None:
        self._site = site
        self._clock = clock
        self._tracks: dict[str, tuple[SiteCamera, SiteArchive]] = {
            track(camera, one): (camera, one) for camera in site.cameras for one in camera.archives
        }

    def version(self) -> domain.GetVersionResponse:
        return domain.GetVersionResponse(Version=self._site.version)

    def time_zone(self) -> domain.GetHostTimeZoneResponse:
        return domain.GetHostTimeZoneResponse(time_zone=self._site.time_zone)

    def list_cameras(self, request: domain.ListCamerasRequest) -> Iterator[domain.ListCamerasResponse]:
        """Raises Refused with INVALID_ARGUMENT for a page that is none."""
        full = request.view == domain.EViewMode.VIEW_MODE_FULL
        cameras, token = _page(self._site.cameras, request.page_token, request.page_size)
        items = [self._camera(camera, full=full) for camera in cameras]
        alone = self._site.token_alone and bool(token)
        if items:
            yield domain.ListCamerasResponse(items=items, next_page_token="" if alone else token)
        if alone:
            yield domain.ListCamerasResponse(next_page_token=token)

    def batch_get_cameras(
        self, request: domain.BatchGetCamerasRequest
    ) -> Iterator[domain.BatchGetCamerasResponse]:
        """One message for each camera, as a server may; what is not there in the last one."""
        missing: list[str] = []
        unreachable: list[str] = []
        for locator in request.items:
            camera = self._site.camera(locator.access_point)
            if camera is None:
                missing.append(locator.access_point)
            elif camera.node in self._site.unreachable_nodes:
                unreachable.append(locator.access_point)
            else:
                full = locator.view == domain.ResourceLocator.View.FULL
                yield domain.BatchGetCamerasResponse(items=[self._camera(camera, full=full)])
        if missing or unreachable:
            yield domain.BatchGetCamerasResponse(not_found_objects=missing, unreachable_objects=unreachable)

    def list_components(
        self, request: domain.ListComponentsRequest
    ) -> Iterator[domain.ListComponentsResponse]:
        """Raises Refused with INVALID_ARGUMENT for a page that is none."""
        if request.component_type != domain.EComponentType.CT_EXPORT_AGENT:
            return
        agents, token = _page(self._site.agents, request.page_token, request.page_size)
        items = [
            domain.Component(access_point=point, display_name=name, is_activated=True, enabled=True)
            for point, name in agents
        ]
        if items:
            yield domain.ListComponentsResponse(items=items, next_page_token=token)

    def history(self, request: archive.GetHistory2Request) -> archive.GetHistory2Response:
        """Raises Refused: NOT_FOUND for no track, INTERNAL where its storage cannot be resolved."""
        found = self._footage(request.access_point, request.begin_time, request.end_time)
        intervals = merged(found, request.min_gap_ms / 1000)
        most = request.max_count or len(intervals)
        if self._site.most_intervals is not None:
            most = min(most, self._site.most_intervals)
        partial = len(intervals) > most
        result = archive.GetHistory2Response.EResult
        return archive.GetHistory2Response(
            result=result.PARTIAL if partial else result.FULL,
            intervals=[
                archive.GetHistory2Response.Interval(begin_time=_stamp(begin), end_time=_stamp(end))
                for begin, end in intervals[:most]
            ],
        )

    def calendar(self, request: archive.GetCalendarRequest) -> archive.GetCalendarResponse:
        """Raises Refused as `history` does, and UNIMPLEMENTED."""
        if not self._site.days:
            raise Refused(grpc.StatusCode.UNIMPLEMENTED, "GetCalendar is not implemented")
        days: set[float] = set()
        for begin, end in self._footage(request.access_point, request.begin_time, request.end_time):
            day = begin // DAY * DAY
            while day < end:
                days.add(day)
                day += DAY
        return archive.GetCalendarResponse(days=[_stamp(day) for day in sorted(days)])

    def _footage(self, access_point: str, begin: int, end: int) -> list[tuple[float, float]]:
        if access_point not in self._tracks:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"There is no source {access_point!r}")
        camera, storage = self._tracks[access_point]
        if not storage.resolvable or camera.node in self._site.unreachable_nodes:
            raise Refused(grpc.StatusCode.INTERNAL, EMBEDDED_ERROR)
        if camera.access not in (0, 15, 40, 50, 60):
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, "No right to see the archive of this camera")
        if end < begin:
            raise invalid("end_time is before begin_time")
        now = self._clock.now() + self._site.clock_ahead
        return storage.footage.intervals(_seconds(begin), _seconds(end), now)

    def _camera(self, camera: SiteCamera, *, full: bool) -> domain.Camera:
        message = domain.Camera(
            access_point=camera.access_point,
            display_name=camera.name,
            display_id=camera.id,
            ip_address=camera.ip_address,
            camera_access=security.ECameraAccess.Name(camera.access),
            vendor=camera.vendor,
            model=camera.model,
            comment=camera.comment,
            is_activated=camera.active,
            enabled=camera.enabled,
        )
        if self._site.tells_bindings:
            message.has_archive_bindings.value = any(not one.embedded for one in camera.archives)
        if not full:
            return message
        device = camera.access_point.rpartition("/")[0]
        for number in range(camera.streams):
            message.video_streams.add(
                stream_acess_point=f"{device}/SourceEndpoint.video:0:{number}",
                enabled=True,
                display_name="High quality" if number == 0 else "Low quality",
                display_id=str(number),
                fps=25,
                is_activated=camera.active,
            )
        if camera.microphone:
            message.microphones.add(
                access_point=f"{device}/SourceEndpoint.audio:0",
                display_name="Microphone",
                is_activated=True,
                enabled=True,
            )
        for one in camera.archives:
            message.archive_bindings.append(_binding(camera, one, device))
        return message


T = TypeVar("T")


def _page(items: Sequence[T], token: str, size: int) -> tuple[Sequence[T], str]:
    """A page and the token of the next one. Raises Refused with INVALID_ARGUMENT."""
    if size < 0:
        raise invalid("page_size must not be negative")
    number = token.removeprefix(_TOKEN)
    if token and (number == token or not (number.isascii() and number.isdigit())):
        raise invalid("page_token is not one of this server")
    first = int(number or 0)
    last = first + (size or _DEFAULT_PAGE)
    return items[first:last], f"{_TOKEN}{last}" if last < len(items) else ""


def _binding(camera: SiteCamera, one: SiteArchive, device: str) -> domain.ArchiveBinding:
    source = track(camera, one)
    sources = [
        domain.StorageSource(
            access_point=source,
            storage=one.access_point,
            media_source=camera.access_point,
            origin=device,
            mimetype="video/h264",
        )
    ]
    if camera.microphone:
        # In front: the order of tracks varies.
        sources.insert(
            0,
            domain.StorageSource(
                access_point=source + ".audio",
                storage=one.access_point,
                media_source=f"{device}/SourceEndpoint.audio:0",
                origin=device,
                mimetype="application/audio",
            ),
        )
    kind = domain.EStorageType.ST_EMBEDDED if one.embedded else domain.EStorageType.ST_BLOCK
    return domain.ArchiveBinding(
        storage=one.access_point,
        archive=domain.Archive(
            access_point=one.access_point,
            display_name=one.name,
            is_embedded=one.embedded,
            is_activated=one.active,
            enabled=one.enabled,
            storage_type=kind,
        ),
        is_default=one.default,
        is_permanent=not one.embedded,
        sources=sources,
    )


def _stamp(seconds: float) -> int:
    return round(seconds * 1000) + EPOCH_OFFSET_MS


def _seconds(stamp: int) -> float:
    return (stamp - EPOCH_OFFSET_MS) / 1000
