"""Which cameras are known, and what a look at them costs."""

from collections.abc import AsyncIterator, Callable

import pytest
import trio
from trio.testing import MockClock

from exportfs.cameras.catalogue import ASK_AGAIN, BATCH, FRESH, GRACE, WALK_SECONDS, Cameras
from exportfs.errors import AccessDenied, ExportfsError, NotFound, TimedOut, Unreachable, Unsupported
from exportfs.naming import percent_encode
from tests.unit.cameras.fake_site import FakeSite, camera

Make = Callable[..., Cameras]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    async with trio.open_nursery() as nursery:
        yield lambda site, timeout=30.0: Cameras(site, timeout=timeout, start_soon=nursery.start_soon)
        nursery.cancel_scope.cancel()


async def test_one_listing_answers_all_looks_for_five_minutes(autojump_clock: MockClock, make: Make) -> None:
    site = FakeSite(camera(1), camera(2))
    cameras = make(site)
    for _ in range(10):
        await cameras.fresh()
        assert [name for name, _ in cameras] == ["1.Camera 1", "2.Camera 2"]
    assert site.listings == 1
    await trio.sleep(FRESH + 1)
    assert site.listings == 1  # nobody looks
    await cameras.fresh()
    assert site.listings == 2


async def test_looks_at_once_share_a_listing(autojump_clock: MockClock, make: Make) -> None:
    site = FakeSite(camera(1))
    site.gate = trio.Event()
    cameras = make(site)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(cameras.fresh)
        await trio.sleep(1)
        site.gate.set()
    assert site.listings == 1
    assert len(cameras) == 1


async def test_an_unknown_name_asks_again_at_most_every_ten_seconds(
    autojump_clock: MockClock, make: Make
) -> None:
    site = FakeSite(camera(1))
    cameras = make(site)
    for _ in range(5):
        assert await cameras.named("2.Camera 2") is None
    assert site.listings == 1
    site.cameras.append(camera(2))
    await trio.sleep(ASK_AGAIN + 1)
    found = await cameras.named("2.Camera 2")
    assert found is not None
    assert found.id == "2"
    assert site.listings == 2


async def test_access_points_are_found(autojump_clock: MockClock, make: Make) -> None:
    cameras = make(FakeSite(camera(1)))
    found = await cameras.named(percent_encode(camera(1).access_point))
    assert found == camera(1)


@pytest.mark.parametrize("error", [Unsupported("no such service"), AccessDenied("no right")])
async def test_without_the_service_or_the_right_there_are_no_cameras(
    autojump_clock: MockClock, make: Make, error: ExportfsError
) -> None:
    site = FakeSite(camera(1))
    site.failure = error
    cameras = make(site)
    for _ in range(5):
        await cameras.fresh()
        assert len(cameras) == 0
    assert site.listings == 1
    assert cameras.trouble
    site.failure = None
    await trio.sleep(ASK_AGAIN + 1)
    await cameras.fresh()
    assert len(cameras) == 1
    assert cameras.trouble is None


async def test_a_server_that_is_away_is_no_site_without_cameras(
    autojump_clock: MockClock, make: Make
) -> None:
    site = FakeSite(camera(1))
    site.failure = Unreachable("the server cannot be reached")
    with pytest.raises(Unreachable):
        await make(site).fresh()


async def test_what_was_known_is_shown_while_the_server_is_away(
    autojump_clock: MockClock, make: Make
) -> None:
    site = FakeSite(camera(1))
    cameras = make(site)
    await cameras.fresh()
    site.gate = trio.Event()
    await trio.sleep(FRESH + 1)
    begun = trio.current_time()
    await cameras.fresh()
    assert trio.current_time() - begun == pytest.approx(GRACE)
    assert len(cameras) == 1


async def test_the_first_look_waits_no_longer_than_the_timeout(autojump_clock: MockClock, make: Make) -> None:
    site = FakeSite(camera(1))
    site.gate = trio.Event()
    begun = trio.current_time()
    with pytest.raises(TimedOut):
        await make(site, 7.0).fresh()
    assert trio.current_time() - begun == pytest.approx(7)


async def test_details_are_asked_for_once_and_survive_a_listing(
    autojump_clock: MockClock, make: Make
) -> None:
    site = FakeSite(camera(1), camera(2))
    cameras = make(site)
    await cameras.fresh()
    for _ in range(3):
        assert (await cameras.detailed(camera(1).access_point)).archives == site.archives
    assert site.batches == [[camera(1).access_point]]
    await trio.sleep(FRESH + 1)
    await cameras.fresh()
    kept = cameras.get(camera(1).access_point)
    assert kept is not None
    assert kept.archives == site.archives


async def test_who_walks_through_all_causes_no_call_for_each(autojump_clock: MockClock, make: Make) -> None:
    site = FakeSite(*[camera(number) for number in range(2000)])
    cameras = make(site)
    await cameras.fresh()
    for _, one in cameras:
        await cameras.detailed(one.access_point)
    assert len(site.batches) <= 3 + 2000 / BATCH + 1
    assert all(len(batch) <= BATCH for batch in site.batches)
    assert not cameras.may_ask()
    await trio.sleep(WALK_SECONDS)
    assert cameras.may_ask()


async def test_a_camera_that_does_not_answer_does_not_hide_the_others(
    autojump_clock: MockClock, make: Make
) -> None:
    site = FakeSite(camera(1), camera(2))
    site.unreachable = frozenset({camera(1).access_point})
    cameras = make(site)
    await cameras.fresh()
    assert not (await cameras.detailed(camera(1).access_point)).detailed
    assert (await cameras.detailed(camera(2).access_point)).detailed
    with pytest.raises(NotFound):
        await cameras.detailed("hosts/nowhere")


async def test_a_listing_that_its_waiter_leaves_goes_on(autojump_clock: MockClock, make: Make) -> None:
    site = FakeSite(camera(1))
    site.gate = trio.Event()
    cameras = make(site)
    with trio.move_on_after(1):
        await cameras.fresh()
    site.gate.set()
    await cameras.fresh()
    assert site.listings == 1


async def test_agents(autojump_clock: MockClock, make: Make) -> None:
    site = FakeSite()
    site.failure = Unsupported("no")
    assert await make(site).agents() == ()
