"""What the simulated server tells of cameras, archives and footage, and its oddities."""

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from exportfs.simulator import Config, ManualClock, SimulatorServer
from exportfs.simulator.site import Recorded, Site, SiteArchive, SiteCamera, believable_site
from exportfs.simulator.site.footage import DAY, merged
from exportfs.wire import archive, archive_grpc, domain, domain_grpc
from tests.unit.simulator.helpers import Client

HOUR = 3600.0
NOW = 1_778_486_400.0
EPOCH = 2_208_988_800_000
Connect = Callable[[SimulatorServer], Client]


class SiteClient:
    def __init__(self, client: Client) -> None:
        self.metadata = client.metadata
        self.domain = domain_grpc.DomainServiceStub(client.channel)
        self.archive = archive_grpc.ArchiveServiceStub(client.channel)

    def messages(self, token: str = "", size: int = 0, view: str = "VIEW_MODE_NO_CHILD_OBJECTS") -> list[Any]:
        request = domain.ListCamerasRequest(page_token=token, page_size=size, view=view)
        return list(self.domain.ListCameras(request, metadata=self.metadata, timeout=10))

    def cameras(self, size: int = 0) -> list[Any]:
        found, token = [], ""
        while True:
            messages = self.messages(token, size)
            found += [camera for message in messages for camera in message.items]
            token = next((m.next_page_token for m in reversed(messages) if m.next_page_token), "")
            if not token:
                return found

    def details(self, *points: str) -> list[Any]:
        view = domain.ResourceLocator.View.FULL
        items = [domain.ResourceLocator(access_point=point, view=view) for point in points]
        request = domain.BatchGetCamerasRequest(items=items)
        return list(self.domain.BatchGetCameras(request, metadata=self.metadata, timeout=10))

    def history(self, track: str, begin: float, end: float, *, gap: float = 0, count: int = 1000) -> Any:
        request = archive.GetHistory2Request(
            access_point=track,
            begin_time=round(begin * 1000) + EPOCH,
            end_time=round(end * 1000) + EPOCH,
            max_count=count,
            min_gap_ms=round(gap * 1000),
        )
        return self.archive.GetHistory2(request, metadata=self.metadata, timeout=10)


def a_site(*footage: Recorded, **changes: Any) -> Site:
    """A camera for each rule of recording, in one archive."""
    cameras = tuple(
        SiteCamera(
            f"hosts/Server/DeviceIpint.{number}/SourceEndpoint.video:0:0",
            f"Camera {number}",
            str(number),
            (SiteArchive("hosts/Server/MultimediaStorage.A/MultimediaStorage", "A", rule, default=True),),
        )
        for number, rule in enumerate(footage, 1)
    )
    return replace(Site(cameras), **changes)


@pytest.fixture
def connect_site(
    make_server: Callable[..., SimulatorServer], connect: Connect
) -> Callable[[Site], SiteClient]:
    return lambda site: SiteClient(connect(make_server(Config.of_site(site))))


def test_pages_end_with_a_token_of_their_own(connect_site: Callable[[Site], SiteClient]) -> None:
    client = connect_site(a_site(*[Recorded()] * 5))
    first, second = client.messages(size=2)
    assert len(first.items) == 2
    assert not first.next_page_token
    assert not second.items
    assert second.next_page_token
    assert [camera.display_id for camera in client.cameras(2)] == ["1", "2", "3", "4", "5"]


def test_no_cameras_are_no_message(connect_site: Callable[[Site], SiteClient]) -> None:
    assert connect_site(Site()).messages() == []


def test_lists_are_empty_in_the_view_without_children(connect_site: Callable[[Site], SiteClient]) -> None:
    client = connect_site(a_site(Recorded()))
    (camera,) = client.cameras()
    assert not camera.archive_bindings
    assert camera.has_archive_bindings.value
    ((detailed,),) = (message.items for message in client.details(camera.access_point))
    assert [binding.archive.display_name for binding in detailed.archive_bindings] == ["A"]


def test_what_is_not_there_and_what_does_not_answer(connect_site: Callable[[Site], SiteClient]) -> None:
    client = connect_site(a_site(Recorded(), unreachable_nodes=frozenset({"Server"})))
    (camera,) = client.cameras()
    (answer,) = client.details(camera.access_point, "hosts/nowhere")
    assert list(answer.unreachable_objects) == [camera.access_point]
    assert list(answer.not_found_objects) == ["hosts/nowhere"]


def track_of(client: SiteClient, number: int = 0) -> str:
    camera = client.cameras()[number]
    (message,) = client.details(camera.access_point)
    return str(message.items[0].archive_bindings[0].sources[0].access_point)


def test_history_has_the_gaps(connect_site: Callable[[Site], SiteClient]) -> None:
    gap = (NOW - 3 * HOUR, NOW - 2.5 * HOUR)
    client = connect_site(a_site(Recorded(gaps=(gap,))))
    track = track_of(client)
    answer = client.history(track, NOW - 4 * HOUR, NOW + HOUR)
    found = [((one.begin_time - EPOCH) / 1000, (one.end_time - EPOCH) / 1000) for one in answer.intervals]
    assert found == [(NOW - 4 * HOUR, gap[0]), (gap[1], NOW)]
    assert len(client.history(track, NOW - 4 * HOUR, NOW, gap=2 * HOUR).intervals) == 1


def test_partial_where_there_are_more_than_asked_for(connect_site: Callable[[Site], SiteClient]) -> None:
    hours = tuple((h * HOUR, h * HOUR + 60) for h in range(24))
    client = connect_site(a_site(Recorded(hours=hours), most_intervals=3))
    answer = client.history(track_of(client), NOW - 8 * HOUR, NOW)
    assert answer.result == archive.GetHistory2Response.EResult.PARTIAL
    assert len(answer.intervals) == 3


def test_embedded_storage_is_an_internal_error(
    connect_site: Callable[[Site], SiteClient], clock: ManualClock
) -> None:
    client = connect_site(believable_site(clock.now()))
    with pytest.raises(grpc.RpcError) as error:
        client.history(track_of(client), NOW - HOUR, NOW)
    assert error.value.code() is grpc.StatusCode.INTERNAL


def test_a_server_without_the_services(make_server: Callable[..., SimulatorServer], connect: Connect) -> None:
    client = SiteClient(connect(make_server(Config(has_site=False))))
    with pytest.raises(grpc.RpcError) as error:
        client.cameras()
    assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_without_a_site_it_is_that_of_the_cameras(client: Client) -> None:
    assert [camera.display_name for camera in SiteClient(client).cameras()] == [
        "Camera 1",
        "Camera 2",
        "Camera 3",
    ]


@given(st.floats(0, 20 * DAY), st.floats(0, 40 * DAY), st.floats(60, 30 * DAY))
def test_footage_is_in_order_and_within_what_was_asked_for(back: float, length: float, keep: float) -> None:
    rule = Recorded(keep=keep, hours=((HOUR, 7 * HOUR), (8 * HOUR, DAY)), gaps=((NOW - 5 * DAY, NOW - DAY),))
    begin = NOW - back
    found = rule.intervals(begin, begin + length, NOW)
    assert all(before[1] < after[0] for before, after in itertools.pairwise(found))
    for one, two in found:
        assert max(begin, NOW - keep) <= one < two <= min(begin + length, NOW)
        assert not (NOW - 5 * DAY <= (one + two) / 2 < NOW - DAY)
    assert merged(found, 0) == found
