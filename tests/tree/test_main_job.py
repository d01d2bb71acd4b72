"""The main job: drop a request, watch the session, read the result. On the filesystem object and on a real mount."""

import errno
import json

from exportfs.simulator import Simulator
from tests.support.harness import ARCHIVE_REQUEST, Tree, eventually, expect_errno


def record(tree: Tree, session: str) -> dict[str, object]:
    found: dict[str, object] = json.loads(tree.read(f"{session}/.session.json"))
    return found


def test_request_to_result(tree: Tree, simulator: Simulator) -> None:
    tree.write("new/first.json", json.dumps(ARCHIVE_REQUEST).encode())
    assert simulator.log.count("StartSession") == 1
    session = "sessions/" + tree.readlink("new/first").rpartition("/")[2]
    eventually(lambda: record(tree, session)["state"] == "completed")
    (name,) = [name for name in tree.listdir(session) if not name.startswith(".")]
    data = tree.read(f"{session}/{name}")
    (session_id,) = simulator.sessions.ids()
    (file,) = simulator.files(session_id)
    assert data == simulator.content(session_id, file.path)
    assert tree.stat(f"{session}/{name}").st_size == len(data)


def test_bad_request(tree: Tree, simulator: Simulator) -> None:
    expect_errno(errno.EINVAL, tree.write, "new/bad.json", b'{"archive": {}}')
    assert b"sources" in tree.read("new/bad.json.error")
    assert simulator.log.count("StartSession") == 0
    tree.write("new/bad.json", json.dumps(ARCHIVE_REQUEST).encode())
    assert sorted(tree.listdir("new")) == ["bad", "bad.json"]


def test_computed_result(tree: Tree, simulator: Simulator) -> None:
    session_id = simulator.add_computed(5 * 1024 * 1024 + 12345)
    (file,) = simulator.files(session_id)
    session = eventually(lambda: tree.listdir("sessions"))[0]
    (name,) = [name for name in tree.listdir(f"sessions/{session}") if not name.startswith(".")]
    assert tree.read(f"sessions/{session}/{name}") == simulator.content(session_id, file.path)
