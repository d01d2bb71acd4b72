"""A server that names and describes things as no honest one would, on both trees."""

import os
from collections.abc import Iterator

import pytest

from exportfs.naming import encode, percent_encode
from exportfs.simulator import Config, LoginConfig, Simulator
from tests.conftest import MountFactory
from tests.support.harness import Tree, eventually
from tests.tree.looking import exists, record, results

FILE_IDS = (
    *(
        ".control",
        ".session.json",
        ".request.json",
        "..",
        ".",
        "",
        "/",
        "a/../../etc/passwd",
        "..\\..\\boot.ini",
    ),
    *("é.mp4", "x/é.mp4", "same.mp4", "SAME.MP4", "y/same.mp4", "same~2.mp4", "e\u0301.mp4"),
    *(
        "con",
        "aux.mp4",
        "q?*<>|.mp4",
        "tail. ",
        "new\nline.mp4",
        "esc\x1b[31m.mp4",
        "nul\0.mp4",
        "fdp\u202eexe.mp4",
    ),
    *(
        "😀" * 100,
        "\U0010ffff",
        "x" * 4000,
        "z/" * 2000 + "deep.mp4",
        "%2F.mp4",
        "-rf",
        " lead.mp4",
        "日本語",
    ),
)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """In what it says, every é is two bytes that are not UTF-8."""
    config = Config(login=LoginConfig(required=False), foreign_bytes=(("é", b"\xff\xfe"),))
    simulator = Simulator(config)
    yield simulator
    simulator.close()


@pytest.mark.promise("N6", "N8", "N9", "N10", "N11", "R6", "T3")
def test_every_result_is_listed_once_and_read_right(tree: Tree, simulator: Simulator) -> None:
    sizes = [1000 + number for number in range(len(FILE_IDS))]
    session_id = simulator.add_computed(*sizes, names=FILE_IDS, mime_type="")
    (session,) = eventually(lambda: tree.listdir("sessions"))
    path = f"sessions/{session}"
    listed = tree.listdir(path)
    assert listed[-2:] == [".session.json", ".request.json"]
    names = listed[:-2]
    assert len(set(names)) == len(names) == len(FILE_IDS)
    assert results(tree, path) == names
    for name, file_id, size in zip(names, FILE_IDS, sizes, strict=True):
        assert "/" not in name
        assert len(name.encode()) <= 255
        assert tree.stat(f"{path}/{name}").st_size == size
        assert tree.read(f"{path}/{name}") == simulator.content(session_id, file_id)
    assert [file["name"] for file in record(tree, path)["files"]] == names
    assert tree.read(f"{path}/.control") == b"stop\ndestroy\n"


@pytest.mark.promise("N4", "N5", "N10", "N11", "S8")
def test_sessions_of_any_id(tree: Tree, simulator: Simulator) -> None:
    for session_id in ("é", "a/é/..", "..", "x" * 4000, "new\n", "\x1b]0;x\x07", "日本/語", "%", " "):
        simulator.add_computed(500, session_id=session_id)
        (session,) = eventually(lambda: tree.listdir("sessions"))
        path = f"sessions/{session}"
        (name,) = results(tree, path)
        (file,) = simulator.files(session_id)
        assert tree.read(f"{path}/{name}") == simulator.content(session_id, file.path)
        raw = session_id.encode().replace("é".encode(), b"\xff\xfe")
        assert tree.getxattr(path, "user.exportfs.id") == raw
        link = percent_encode(raw.decode("utf-8", "surrogateescape"))
        if session_id != ".." and len(link) <= 1000:
            assert tree.readlink(f"sessions/{link}") == session
        tree.write(f"{path}/.control", b"destroy\n")
        assert simulator.sessions.ids() == []


DESCRIPTIONS = (
    (2**64 - 1, "video/mp4", "20260511T080411"),
    (2**63, "é", "00010101T000000"),
    (2**63 - 1, "x" * 70_000, "99991231T235959.999999"),
    (0, "video/\0mp4", "soon"),
    (10, "\n", "19691231T235959.5"),
)


@pytest.mark.promise("N10", "R3", "R9")
def test_no_description_breaks_a_listing(tree: Tree, simulator: Simulator) -> None:
    for size, mime_type, stamp in DESCRIPTIONS:
        session_id = simulator.add_computed(10, 10, announced=[size, 10], mime_type=mime_type)
        simulator.files(session_id)[0].message.min_timestamp = stamp
        simulator.files(session_id)[0].message.max_timestamp = stamp
        simulator.sessions.find(session_id).changed()
    eventually(lambda: len(tree.listdir("sessions")) == len(DESCRIPTIONS))
    for session in tree.listdir("sessions"):
        path = f"sessions/{session}"
        tree.stat(path)
        assert len(results(tree, path)) == 2
        for name in results(tree, path):
            assert 0 <= tree.stat(f"{path}/{name}").st_size < 1 << 63
            for key in tree.listxattr(f"{path}/{name}"):
                assert len(tree.getxattr(f"{path}/{name}", key)) <= 1 << 16
        assert len(record(tree, path)["files"]) == 2
    tree.statvfs()


@pytest.mark.mount
@pytest.mark.promise("N4", "N10", "N11")
def test_the_same_names_in_another_mount(start_mount: MountFactory, simulator: Simulator) -> None:
    simulator.add_computed(*[10] * len(FILE_IDS), names=FILE_IDS)
    simulator.add_computed(10, session_id="é/\n")
    one = start_mount()
    two = start_mount(folder=one.mountpoint.parent / "two")

    def walk(root: bytes) -> list[bytes]:
        paths = [os.path.join(folder, name) for folder, _, names in os.walk(root) for name in names]
        return sorted(path.removeprefix(root) for path in paths if b"/sessions/" in path)

    eventually(lambda: len(os.listdir(one.mountpoint / "sessions")) == 2)
    found = walk(os.fsencode(one.mountpoint))
    assert len(found) == len(FILE_IDS) + 1 + 2 * len((".session.json", ".request.json"))
    assert walk(os.fsencode(two.mountpoint)) == found
    assert not exists(one.tree, "sessions/" + os.fsdecode(encode("\udcff")))
