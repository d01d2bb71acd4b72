"""cameras/: what there is to see, what a look costs, and what goes wrong at the server."""

import errno
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from exportfs.naming import percent_encode
from exportfs.simulator import Answer, Config, Fail, Hang, LoginConfig, MediaConfig, Simulator
from exportfs.simulator.site import Recorded, Site, SiteArchive, SiteCamera, believable_site
from exportfs.wire import archive
from tests.conftest import IMPATIENT
from tests.support.harness import InProcessTree, Tree, eventually, expect_denied, expect_errno

LOGIN = LoginConfig(required=False)
CALLS = ("ListCameras", "BatchGetCameras", "GetHistory2")


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A server with the believable site."""
    few = MediaConfig(max_frames=10)  # nobody looks at the pictures of an export
    simulator = Simulator(Config.of_site(believable_site(), login=LOGIN, export_seconds=0.2, media=few))
    yield simulator
    simulator.close()


def calls(simulator: Simulator) -> dict[str, int]:
    return {method: simulator.log.count(method) for method in CALLS}


@pytest.mark.promise("T1", "F1")
def test_cameras_by_their_labels(tree: Tree) -> None:
    names = tree.listdir("cameras")
    assert len(names) == 14
    assert {"2.Gate south", "2.Rampe Süd", "5.정문 주차장", "6.Hall A_B, stairs"} <= set(names)
    assert {"1.Gate north@Server", "1.Gate north@NODE2"} <= set(names)
    for name in names:
        assert sorted(tree.listdir(f"cameras/{name}")) == ["camera.json", "request.json"]


@pytest.mark.promise("F1")
def test_access_points_lead_to_the_directory(tree: Tree) -> None:
    point = percent_encode("hosts/Server/DeviceIpint.2/SourceEndpoint.video:0:0")
    assert tree.readlink(f"cameras/{point}") == "2.Gate south"
    assert point not in tree.listdir("cameras")
    expect_errno(errno.ENOENT, tree.stat, "cameras/9.Nowhere")


@pytest.mark.promise("F2")
def test_what_is_known_of_a_camera(tree: Tree) -> None:
    record = json.loads(tree.read("cameras/6.Hall A_B, stairs/camera.json"))
    assert record["label"] == "6.Hall A/B, stairs"
    assert record["access_point"] == "hosts/Server/DeviceIpint.6/SourceEndpoint.video:0:0"
    assert record["node"] == "Server"
    assert record["access"] == "full"
    assert record["comment"].startswith("Turned")
    assert [one["name"] for one in record["archives"]] == ["AliceBlue", "Long term", "Embedded storage"]
    assert [one["default"] for one in record["archives"]] == [True, False, False]
    assert len(record["streams"]) == 2
    forbidden = json.loads(tree.read("cameras/7.Strong room/camera.json"))
    assert forbidden["exportable"] is False


@pytest.mark.promise("F3")
def test_looking_costs_the_pages_and_no_call_for_each(tree: Tree, simulator: Simulator) -> None:
    for _ in range(2):
        for name in tree.listdir("cameras"):
            tree.stat(f"cameras/{name}")
            for file in tree.listdir(f"cameras/{name}"):
                assert tree.stat(f"cameras/{name}/{file}").st_size > 0
    assert calls(simulator) == {"ListCameras": 1, "BatchGetCameras": 0, "GetHistory2": 0}


@pytest.mark.promise("F3")
def test_nothing_is_asked_before_somebody_looks(tree: Tree, simulator: Simulator) -> None:
    tree.listdir("")
    tree.stat("cameras")
    assert calls(simulator) == dict.fromkeys(CALLS, 0)


@pytest.mark.promise("F4")
def test_footage_of_a_day_and_of_an_interval(tree: Tree, simulator: Simulator) -> None:
    camera = next(one for one in simulator.config.told_site.cameras if one.name == "Gate south")
    gap = camera.archives[1].footage.gaps[0]
    day = time.strftime("%Y-%m-%d", time.localtime(gap[0]))
    first, *lines = tree.read(f"cameras/2.Gate south/footage@{day}").decode().splitlines()
    assert first.startswith(
        "# AliceBlue (hosts/Server/MultimediaStorage.AliceBlue/MultimediaStorage); coarse"
    )
    assert "complete" in first
    assert len(lines) == 2
    begin, end, length = lines[0].split(" ")
    assert length == "8:12:00"
    assert begin.startswith(f"{day}T00:00:00")
    begin, end = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(gap[0] + d)) for d in (-600, 1800))
    exact = tree.read(f"cameras/2.Gate south/footage@{begin}--{end}").decode().splitlines()
    assert "exact" in exact[0]
    assert [line.split(" ")[2] for line in exact[1:]] == ["10:00"]


@pytest.mark.promise("F4")
def test_no_footage_is_the_first_line_alone(tree: Tree) -> None:
    text = tree.read("cameras/2.Rampe Süd/footage@2020-01-01")
    assert text.startswith(b"# ")
    assert text.count(b"\n") == 1


@pytest.mark.promise("F4")
def test_a_footage_file_has_its_true_size_and_costs_one_look(tree: Tree, simulator: Simulator) -> None:
    path = "cameras/2.Gate south/footage"
    assert tree.stat(path).st_size == len(tree.read(path)) > 50
    tree.read(path)
    assert calls(simulator)["GetHistory2"] == 1
    assert "footage" not in tree.listdir("cameras/2.Gate south")
    expect_errno(errno.ENOENT, tree.stat, "cameras/2.Gate south/footage@yesterday")


@pytest.mark.promise("F4", "F6")
def test_footage_that_cannot_be_had(tree: Tree) -> None:
    expect_errno(errno.EACCES, tree.read, "cameras/7.Strong room/footage")
    expect_errno(errno.EIO, tree.read, "cameras/1.Workshop/footage")


@pytest.mark.promise("F5")
def test_a_request_for_the_last_five_minutes(tree: Tree, simulator: Simulator) -> None:
    request = json.loads(tree.read("cameras/2.Roof/request.json"))
    (source,) = request["archive"]["sources"]
    assert source["origin"] == "hosts/EDGE7/DeviceIpint.2/SourceEndpoint.video:0:0"
    assert source["storages"] == ["hosts/EDGE7/MultimediaStorage.AliceBlue/MultimediaStorage"]
    camera = next(one for one in simulator.config.told_site.cameras if one.name == "Roof")
    until = camera.archives[1].footage.until
    assert request["archive"]["endTimestamp"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(until))
    tree.write("new/roof.json", tree.read("cameras/2.Roof/request.json"))
    assert simulator.log.count("StartSession") == 1


@pytest.mark.promise("W13")
def test_the_template_names_what_there_is(tree: Tree, simulator: Simulator) -> None:
    request = json.loads(tree.read("new/.template.json"))
    (source,) = request["archive"]["sources"]
    assert source["origin"] in simulator.config.cameras
    assert source["storages"][0] in simulator.config.archives
    assert request["archive"]["endTimestamp"] > time.strftime("%Y-%m-%dT", time.gmtime(time.time() - 86400))


@pytest.mark.promise("F6")
@pytest.mark.parametrize("code", ["UNIMPLEMENTED", "PERMISSION_DENIED"])
def test_without_the_service_or_the_right_it_is_empty(tree: Tree, simulator: Simulator, code: str) -> None:
    simulator.faults.add("ListCameras", Fail(code), times=None)
    assert tree.listdir("cameras") == []
    assert json.loads(tree.read(".status.json"))["cameras"]["error"]
    tree.write("new/a.json", tree.read("new/.template.json"))
    assert tree.listdir("sessions")


@pytest.mark.promise("F6")
def test_one_node_that_does_not_answer_hides_nothing(tree: Tree, simulator: Simulator) -> None:
    simulator.faults.add("BatchGetCameras", Fail("INTERNAL", "cannot resolve"), times=None)
    record = json.loads(tree.read("cameras/2.Roof/camera.json"))
    assert record["label"] == "2.Roof"
    assert record["archives"] is None
    assert json.loads(tree.read("cameras/2.Roof/request.json"))["archive"]["sources"]


@pytest.mark.promise("F4")
def test_an_archive_that_says_later(tree: Tree, simulator: Simulator) -> None:
    later = archive.GetHistory2Response(result=archive.GetHistory2Response.EResult.TRY_LATER)
    simulator.faults.add("GetHistory2", Answer((later,)), times=2)
    assert tree.read("cameras/2.Gate south/footage").count(b"\n") > 1


@pytest.mark.promise("F7")
def test_nothing_can_be_changed(tree: Tree, simulator: Simulator) -> None:
    expect_denied(tree.unlink, "cameras/2.Roof/camera.json")
    expect_denied(tree.write, "cameras/2.Roof/new.json", b"")
    expect_denied(tree.rmdir, "cameras/2.Roof")
    expect_denied(tree.rename, "cameras/2.Roof", "cameras/x")
    expect_errno(errno.EPERM, tree.chmod, "cameras/2.Roof/camera.json", 0o777)


@IMPATIENT
@pytest.mark.promise("F6")
def test_a_server_that_hangs_holds_nothing_else(tree: Tree, simulator: Simulator) -> None:
    simulator.faults.add("ListCameras", Hang(), times=None)
    expect_errno(errno.ETIMEDOUT, tree.listdir, "cameras")
    assert tree.listdir("sessions") == []
    simulator.faults.release()


def many(count: int, name: Callable[[int], str] = "Camera {}".format) -> Site:
    archives = (SiteArchive("hosts/S/MultimediaStorage.A/MultimediaStorage", "A", Recorded(), default=True),)
    return Site(
        tuple(
            SiteCamera(f"hosts/S/DeviceIpint.{n}/SourceEndpoint.video:0:0", name(n), str(n), archives)
            for n in range(count)
        )
    )


class TestHundreds:
    @pytest.fixture
    def simulator(self) -> Iterator[Simulator]:
        simulator = Simulator(Config.of_site(many(600), login=LOGIN))
        yield simulator
        simulator.close()

    @pytest.mark.promise("F3")
    def test_reading_all_of_them_is_no_call_for_each(self, tree: Tree, simulator: Simulator) -> None:
        names = tree.listdir("cameras")
        assert len(names) == 600
        assert simulator.log.count("ListCameras") == 6
        # A mount adds nothing to it but time: some of each hundred there.
        for name in names if isinstance(tree, InProcessTree) else names[::4]:
            for file in ("camera.json", "request.json"):
                assert json.loads(tree.read(f"cameras/{name}/{file}"))
        counted = calls(simulator)
        assert counted["ListCameras"] == 6
        assert counted["BatchGetCameras"] <= 11  # a few before it is known that somebody walks through all
        assert counted["GetHistory2"] <= 10


HOSTILE = ["a/b", "..", ".", "", "\x00", "\u202egpj.exe", "x" * 300, "con", "정문".encode().decode(), "\n# x"]


class TestHostileNames:
    @pytest.fixture
    def simulator(self) -> Iterator[Simulator]:
        site = replace(many(len(HOSTILE), lambda n: HOSTILE[n]), token_alone=False)
        simulator = Simulator(Config.of_site(site, login=LOGIN))
        yield simulator
        simulator.close()

    @pytest.mark.promise("F1")
    def test_every_camera_is_listed_once_and_read(self, tree: Tree) -> None:
        names = tree.listdir("cameras")
        assert len(names) == len(set(names)) == len(HOSTILE)
        seen = {json.loads(tree.read(f"cameras/{name}/camera.json"))["access_point"] for name in names}
        assert len(seen) == len(HOSTILE)
        for name in names:
            lines = tree.read(f"cameras/{name}/footage").decode().splitlines()
            assert len(lines) == 2, name


def test_a_mount_waits_for_no_camera(simulator: Simulator, start_mount: Any) -> None:
    """Mounting asks for none, however long it would take."""
    simulator.faults.add("ListCameras", Hang(), times=None)
    mount = start_mount()
    assert "cameras" in os.listdir(mount.mountpoint)
    assert simulator.log.count("ListCameras") == 0


def asked_for(simulator: Simulator, name: str, begin: float, end: float) -> bytes:
    camera = next(one for one in simulator.config.told_site.cameras if one.name == name)
    times = [time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment)) for moment in (begin, end)]
    archive = {
        "sources": [{"origin": camera.access_point}],
        "startTimestamp": times[0],
        "endTimestamp": times[1],
    }
    return json.dumps({"archive": archive, "stream": {"format": "MP4"}}).encode()


def record_of(tree: Tree, name: str) -> Any:
    return json.loads(tree.read(f"new/{name}/.session.json"))


@pytest.mark.promise("F8")
def test_a_record_says_what_the_archive_had(tree: Tree, simulator: Simulator) -> None:
    camera = next(one for one in simulator.config.told_site.cameras if one.name == "Gate south")
    begin, _ = camera.archives[1].footage.gaps[0]
    tree.write("new/a.json", asked_for(simulator, "Gate south", begin - 300, begin + 900))
    eventually(lambda: record_of(tree, "a")["footage"] is not None)
    record = record_of(tree, "a")
    assert record["cameras"] == ["2.Gate south"]
    assert record["footage"]["covered"] == pytest.approx(0.25)
    (gap,) = record["footage"]["gaps"]
    assert gap["begin"] == time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(begin))
    labels = tree.getxattr(f"sessions/{record['name']}", "user.exportfs.cameras")
    assert labels == b"2.Gate south"


@pytest.mark.promise("F8")
def test_no_footage_at_all_is_a_warning(tree: Tree, simulator: Simulator) -> None:
    tree.write("new/a.json", asked_for(simulator, "Roof", time.time() - 3600, time.time() - 3000))
    eventually(lambda: record_of(tree, "a")["footage"] is not None)
    record = record_of(tree, "a")
    assert record["footage"]["covered"] == 0
    assert any("no footage" in warning for warning in record["warnings"])


@pytest.mark.promise("F8")
def test_an_archive_that_hangs_delays_nothing(tree: Tree, simulator: Simulator) -> None:
    simulator.faults.add("GetHistory2", Hang(), times=None)
    tree.write("new/a.json", asked_for(simulator, "Roof", time.time() - 3600, time.time() - 3000))
    assert record_of(tree, "a")["footage"] is None
    simulator.faults.release()


@pytest.mark.promise("F8")
def test_labels_of_sessions_cost_one_call(tree: Tree, simulator: Simulator) -> None:
    for _ in range(20):
        simulator.add_computed(10)
    eventually(lambda: len(tree.listdir("sessions")) == 20)
    for name in tree.listdir("sessions"):
        assert json.loads(tree.read(f"sessions/{name}/.session.json"))["cameras"] == ["1.Gate north"]
    assert calls(simulator) == {"ListCameras": 0, "BatchGetCameras": 1, "GetHistory2": 0}
