"""Names of cameras, archives and agents in requests."""

import errno
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from exportfs.simulator import Config, Fail, Hang, LoginConfig, Simulator, SimulatorServer
from exportfs.simulator.site import believable_site
from tests.conftest import IMPATIENT
from tests.support.harness import InProcessTree, Tree, config_for, eventually, expect_errno

GATE = "hosts/Server/DeviceIpint.2/SourceEndpoint.video:0:0"
END = int(time.time()) // 60 * 60 - 600
ALICE = "hosts/Server/MultimediaStorage.AliceBlue/MultimediaStorage"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    config = Config.of_site(believable_site(), login=LoginConfig(required=False), export_seconds=0.2)
    simulator = Simulator(config)
    yield simulator
    simulator.close()


def request(camera: str, *storages: str, **others: Any) -> bytes:
    source = {"origin": camera, **({"storages": list(storages)} if storages else {})}
    archive = {
        "sources": [source],
        "startTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(END - 20)),
        "endTimestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(END)),
    }
    return json.dumps({"archive": archive, "stream": {"format": "MP4"}, **others}, indent=1).encode()


def sent(simulator: Simulator) -> Any:
    (call,) = simulator.log.calls("StartSession")
    return call.request.session_options


@pytest.mark.promise("W16")
@pytest.mark.parametrize("name", ["2.Gate south", "Gate south", "gate SOUTH", GATE])
def test_a_camera_by_its_name(tree: Tree, simulator: Simulator, name: str) -> None:
    tree.write("new/a.json", request(name))
    assert sent(simulator).archive.sources[0].origin == GATE
    assert not sent(simulator).archive.sources[0].storages
    options = json.loads(tree.read("new/a/.request.json"))
    assert options["archive"]["sources"][0]["origin"] == GATE


@pytest.mark.promise("W16")
def test_archives_and_agents_by_their_names(tree: Tree, simulator: Simulator) -> None:
    tree.write("new/a.json", request("Gate south", "alicebLUE", exportAgentAccessPoint="Export agent 1"))
    options = sent(simulator)
    assert list(options.archive.sources[0].storages) == [ALICE]
    assert options.export_agent_access_point == "hosts/Server/MMExportAgent.0"


@pytest.mark.promise("W16")
@pytest.mark.parametrize(
    ("camera", "words"),
    [
        (
            "Gate north",
            ["archive.sources[0].origin (line 5, column", "ambiguous", "hosts/NODE2/", "1.Gate north"],
        ),
        ("Gaet south", ["did you mean", "'2.Gate south'"]),
        ("2.*", ["there is no camera '2.*'"]),
    ],
)
def test_names_that_mean_no_camera(tree: Tree, simulator: Simulator, camera: str, words: list[str]) -> None:
    expect_errno(errno.EINVAL, tree.write, "new/a.json", request(camera))
    error = tree.read("new/a.json.error").decode()
    assert all(word in error for word in words), error
    assert simulator.log.count("StartSession") == 0
    tree.write("new/a.json", request("2.Gate south"))
    assert simulator.log.count("StartSession") == 1


@pytest.mark.promise("W16")
def test_an_archive_that_the_camera_does_not_have(tree: Tree, simulator: Simulator) -> None:
    wrapped = b'{"session_options": ' + request(GATE, "Blue") + b"}"
    expect_errno(errno.EINVAL, tree.write, "new/a.json", wrapped)
    error = tree.read("new/a.json.error").decode()
    assert "session_options.archive.sources[0].storages[0] (line" in error
    assert "it has AliceBlue, Long term" in error
    assert simulator.log.count("StartSession") == 0


@pytest.mark.promise("W16")
def test_an_agent_that_is_not_there(tree: Tree, simulator: Simulator) -> None:
    wrong = request(GATE, export_agent_access_point="Third")
    expect_errno(errno.EINVAL, tree.write, "new/a.json", wrong)
    assert "export_agent_access_point (line" in tree.read("new/a.json.error").decode()


def test_the_mounts_own_agent_is_not_there(server: SimulatorServer, tmp_path: Path) -> None:
    tree = InProcessTree(config_for(server.address, tmp_path, agent="Third"))
    try:
        expect_errno(errno.EINVAL, tree.write, "new/a.json", request(GATE))
        assert b"mount with another --agent" in tree.read("new/a.json.error")
    finally:
        tree.close()


@pytest.mark.promise("W16")
def test_a_server_that_does_not_tell_decides(tree: Tree, simulator: Simulator) -> None:
    simulator.faults.add("ListCameras", Fail("UNIMPLEMENTED"), times=None)
    expect_errno(errno.EINVAL, tree.write, "new/a.json", request("Gate south"))
    assert sent(simulator).archive.sources[0].origin == "Gate south"


@IMPATIENT
@pytest.mark.promise("W16")
def test_a_server_that_cannot_be_asked(tree: Tree, simulator: Simulator) -> None:
    """Nothing is sent, and the same request again is tried again."""
    simulator.faults.add("ListCameras", Hang(), times=None)
    expect_errno(errno.ETIMEDOUT, tree.write, "new/a.json", request("Gate south"))
    assert "nothing was sent" in tree.read("new/a.json.error").decode()
    assert simulator.log.count("StartSession") == 0
    simulator.faults.clear()
    # For a second after a failure its error is the answer.
    eventually(lambda: written(tree, request("Gate south")))
    assert simulator.log.count("StartSession") == 1


def written(tree: Tree, data: bytes) -> bool:
    try:
        tree.write("new/a.json", data)
    except OSError:
        return False
    return True


@pytest.mark.promise("W16")
def test_the_same_camera_by_other_words_is_the_same_request(tree: Tree, simulator: Simulator) -> None:
    tree.write("new/a.json", request("Gate south"))
    tree.write("new/a.json", request("2.Gate south"))
    tree.write("new/a.json", request(GATE))
    assert simulator.log.count("StartSession") == 1
