"""Sessions: records, states, stopping and destroying, and what changes on the server."""

import contextlib
import errno
import json
import os
import re
from collections.abc import Iterator

import pytest

from exportfs.naming import percent_encode
from exportfs.simulator import Config, Fail, FailExport, LoginConfig, Simulator, SimulatorServer, TimerConfig
from exportfs.wire import export
from tests.conftest import MountFactory
from tests.support.harness import ARCHIVE_REQUEST, CAMERA, Tree, eventually, expect_denied, expect_errno
from tests.tree.looking import LIVE_REQUEST, calls_but_listings, directory, exists, record, results


def started(tree: Tree, request: dict[str, object], name: str = "a") -> str:
    tree.write(f"new/{name}.json", json.dumps(request).encode())
    return "sessions/" + tree.readlink(f"new/{name}").rpartition("/")[2]


@pytest.mark.promise("S1", "S3")
def test_record(tree: Tree, simulator: Simulator) -> None:
    session_id = simulator.add_computed(1000, names=["a/b.mp4"])
    path = directory(tree, session_id)
    got = record(tree, path)
    assert got == {
        "id": session_id,
        "name": path.removeprefix("sessions/"),
        "state": "completed",
        "progress": 1.0,
        "started_here": False,
        "kept_alive": None,
        "expires_at": None,
        "last_frame_timestamp": "20260511T080100.000000",
        "cameras": ["1.Camera 1"],
        "footage": None,
        "coverage": {
            "asked": {"begin": "2026-05-11T08:00:00Z", "end": "2026-05-11T08:01:00Z"},
            "results": {"begin": "2026-05-11T08:00:00Z", "end": "2026-05-11T08:01:00Z"},
            "share": 1.0,
            "gaps": [],
            "warnings": [],
            "note": None,
        },
        "files": [
            {
                "name": "b.mp4",
                "file_id": "a/b.mp4",
                "size": 1000,
                "mime_type": "video/mp4",
                "min_timestamp": "20260511T080000.000000",
                "max_timestamp": "20260511T080100.000000",
                "downloadable": True,
            }
        ],
        "options": json.loads(tree.read(f"{path}/.request.json")),
        "error": None,
        "warnings": [],
    }


@pytest.mark.promise("S5", "W1")
def test_request_record_is_a_request(tree: Tree, simulator: Simulator) -> None:
    path = directory(tree, simulator.add_computed(10))
    tree.write("new/again.json", tree.read(f"{path}/.request.json"))
    assert simulator.log.count("StartSession") == 1
    again = "sessions/" + tree.readlink("new/again").rpartition("/")[2]
    assert tree.read(f"{again}/.request.json") == tree.read(f"{path}/.request.json")


@pytest.mark.promise("R4", "S1", "S2", "T4")
def test_results_appear_when_it_completes(tree: Tree, simulator: Simulator) -> None:
    path = started(tree, LIVE_REQUEST)
    got = record(tree, path)
    assert (got["state"], got["progress"], got["started_here"], got["kept_alive"]) == (
        "running",
        None,
        True,
        True,
    )
    assert results(tree, path) == []
    # In the vendor's client, by somebody else.
    simulator.sessions.stop(simulator.sessions.ids()[0])
    (name,) = eventually(lambda: results(tree, path))
    assert record(tree, path)["state"] == "completed"
    session_id = simulator.sessions.ids()[0]
    (file,) = simulator.files(session_id)
    assert tree.read(f"{path}/{name}") == simulator.content(session_id, file.path)


@pytest.mark.promise("S2", "S6")
def test_stop(tree: Tree, simulator: Simulator) -> None:
    path = started(tree, LIVE_REQUEST)
    tree.write(f"{path}/.control", b"stop\n")
    assert record(tree, path)["state"] == "stopped"
    assert len(results(tree, path)) == 1
    assert simulator.log.count("StopSession") == 1


@pytest.mark.promise("S6", "S9")
def test_destroy(tree: Tree, simulator: Simulator) -> None:
    path = directory(tree, simulator.add_computed(10))
    tree.write(f"{path}/.control", b"destroy")  # without a line's end, as printf does
    assert simulator.sessions.ids() == []
    assert tree.listdir("sessions") == []
    eventually(lambda: not exists(tree, path))


@pytest.mark.promise("S6")
def test_other_verbs(tree: Tree, simulator: Simulator) -> None:
    path = directory(tree, simulator.add_computed(10))
    texts = (
        *(b"pause\n", b"stop destroy\n", b"x" * 100, b"\xff\xfe\n", b"stop\ndestroy\n", b"\n", b"DESTROY\n"),
        *(b" destroy\n", b"destroyed\n", b"destroy\0\n", b"destroy;\n", b"\xef\xbb\xbfdestroy\n"),
        *(b"# destroy\n", b"destroy" + b" " * 100 + b"\n", b"destroy\nkeep\n"),
    )
    for text in texts:
        expect_errno(errno.EINVAL, tree.write, f"{path}/.control", text)
    assert tree.read(f"{path}/.control") == b"stop\ndestroy\n"
    assert calls_but_listings(simulator) == {}


@pytest.mark.promise("S6")
@pytest.mark.parametrize("text", [b"destroy\r\n", b"destroy \r\n", b"destroy"], ids=repr)
def test_ends_of_lines(tree: Tree, simulator: Simulator, text: bytes) -> None:
    """As a command line of Windows writes them."""
    path = directory(tree, simulator.add_computed(10))
    tree.write(f"{path}/.control", text)
    assert simulator.sessions.ids() == []


@pytest.mark.mount
@pytest.mark.promise("S6")
def test_a_text_is_no_list_of_orders(start_mount: MountFactory, simulator: Simulator) -> None:
    """Line by line, also where errors are ignored: what comes beside a verb, or after it, is refused."""
    ids = [simulator.add_computed(10) for _ in range(2)]
    mount = start_mount()
    controls = [mount.mountpoint / directory(mount.tree, key) / ".control" for key in ids]
    lines = [b"To delete:\n", b"destroy\n", b"destroy"]
    for flags in (os.O_WRONLY, os.O_WRONLY | os.O_TRUNC, os.O_RDWR, os.O_WRONLY | os.O_APPEND):
        descriptor = os.open(controls[0], flags)
        for line in lines:
            expect_errno(errno.EINVAL, os.write, descriptor, line)
        os.close(descriptor)
    descriptor = os.open(controls[0], os.O_WRONLY)
    copied = controls[1].read_bytes().splitlines(keepends=True)
    assert copied == [b"stop\n", b"destroy\n"]
    os.write(descriptor, copied[0])
    expect_errno(errno.EINVAL, os.write, descriptor, copied[1])
    os.close(descriptor)
    assert simulator.sessions.ids() == ids
    assert simulator.log.count("DestroySession") == 0


@pytest.mark.promise("S7")
def test_removing_and_renaming_are_refused(tree: Tree, simulator: Simulator) -> None:
    """Of a session with results, of one without any, and of one that runs."""
    ids = [simulator.add_computed(10, 20), simulator.add_computed()]
    paths = [directory(tree, session_id) for session_id in ids] + [started(tree, LIVE_REQUEST)]
    for path, other in zip(paths, [*paths[1:], paths[0]], strict=True):
        expect_errno(errno.ENOTEMPTY, tree.rmdir, path)
        for name in (*results(tree, path), ".session.json", ".request.json", ".control"):
            expect_errno(errno.EPERM, tree.unlink, f"{path}/{name}")
            expect_errno(errno.ENOTDIR, tree.rmdir, f"{path}/{name}")
            expect_errno(errno.EPERM, tree.rename, f"{path}/{name}", f"{path}/other")
            expect_errno(errno.EPERM, tree.rename, f"{path}/{name}", "new/other.json")
        expect_errno(errno.EPERM, tree.rename, path, "sessions/other")
        expect_errno(errno.EPERM, tree.rename, path, other)
        expect_errno(errno.EPERM, tree.rename, path, "new/other")
        tree.write("new/file.tmp", b"mine")
        expect_errno(errno.EPERM, tree.rename, "new/file.tmp", f"{path}/file.tmp")
        expect_errno(errno.ENOENT, tree.unlink, f"{path}/nothing")
    link = f"sessions/{percent_encode(ids[0])}"
    expect_errno(errno.ENOTDIR, tree.rmdir, link)
    expect_errno(errno.EPERM, tree.unlink, link)
    expect_errno(errno.EPERM, tree.rename, link, "sessions/other")
    expect_errno(errno.ENOENT, tree.rmdir, "sessions/nothing")
    assert set(tree.listdir("sessions")) == {path.removeprefix("sessions/") for path in paths}
    asking = {"GetSessionState", "ListCameras", "BatchGetCameras", "GetHistory2"}
    assert set(calls_but_listings(simulator)) <= {"StartSession", *asking}


@pytest.mark.promise("S2", "S3", "R4")
def test_failed(tree: Tree, simulator: Simulator) -> None:
    path = directory(tree, simulator.add_computed(10, succeeded=False))
    got = record(tree, path)
    assert got["state"] == "failed"
    assert got["error"]
    assert len(results(tree, path)) == 1
    simulator.faults.add("StartSession", FailExport())
    path = started(tree, ARCHIVE_REQUEST)
    eventually(lambda: record(tree, path)["state"] == "failed")
    assert results(tree, path) == []


@pytest.mark.promise("R5", "N10")
def test_results_that_are_elsewhere(tree: Tree, simulator: Simulator) -> None:
    by_agent, outside = simulator.options(), simulator.options()
    by_agent.store_result_by_export_agent = True
    outside.external_directory = "C:\\Exports"
    for options in (by_agent, outside):
        names = ["C:\\Exports\\a b.mp4"]
        path = directory(tree, simulator.add_computed(10, names=names, options=options))
        assert results(tree, path) == ["a b.mp4"]
        assert tree.readlink(f"{path}/a b.mp4") == "remote:C%3A%5CExports%5Ca%20b.mp4"
        assert record(tree, path)["files"][0]["downloadable"] is False
        assert record(tree, path)["warnings"]
        expect_errno(errno.ENOENT, tree.read, f"{path}/a b.mp4")


@pytest.mark.promise("R9", "S8")
def test_xattrs(tree: Tree, simulator: Simulator) -> None:
    session_id = simulator.add_computed(10, mime_type="video/mp4")
    path = directory(tree, session_id)
    assert tree.getxattr(f"{path}/{results(tree, path)[0]}", "user.mime_type") == b"video/mp4"
    assert tree.getxattr(path, "user.exportfs.id") == session_id.encode()
    assert tree.getxattr(path, "user.exportfs.state") == b"completed"
    assert tree.getxattr(path, "user.exportfs.progress") == b"1.0"
    names = [f"user.exportfs.{key}" for key in ("cameras", "id", "kept_alive", "progress", "state")]
    assert sorted(tree.listxattr(path)) == names
    assert tree.getxattr(path, "user.exportfs.kept_alive") == b"false"
    expect_errno(errno.ENODATA, tree.getxattr, path, "user.exportfs.expires")
    expect_errno(errno.ENODATA, tree.getxattr, path, "user.other")
    tree.read(f"{path}/{results(tree, path)[0]}")
    assert re.fullmatch(rb"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", tree.getxattr(path, "user.exportfs.expires"))
    assert tree.getxattr(path, "user.exportfs.kept_alive") == b"true"
    plain = directory(tree, simulator.add_computed(10, mime_type=""))
    assert tree.listxattr(f"{plain}/{results(tree, plain)[0]}") == []


@pytest.mark.mount
@pytest.mark.promise("S8")
def test_xattrs_cannot_be_changed(start_mount: MountFactory, simulator: Simulator) -> None:
    session_id = simulator.add_computed(10, mime_type="video/mp4")
    mount = start_mount()
    folder = mount.mountpoint / directory(mount.tree, session_id)
    (result,) = folder.glob("[!.]*")
    for path, name in ((folder, "user.exportfs.state"), (result, "user.mime_type")):
        before = os.getxattr(path, name)
        expect_denied(os.setxattr, path, name, b"other")
        expect_denied(os.setxattr, path, "user.other", b"new")
        expect_denied(os.removexattr, path, name)
        assert os.getxattr(path, name) == before
        assert "user.other" not in os.listxattr(path)


@pytest.mark.promise("N5", "N11")
def test_links_by_id(tree: Tree, simulator: Simulator) -> None:
    session_id = simulator.add_computed(10, session_id="a/b%é ?")
    path = directory(tree, session_id)
    link = f"sessions/{percent_encode(session_id)}"
    assert f"sessions/{tree.readlink(link)}" == path
    assert tree.listdir(link) == tree.listdir(path)
    assert len(tree.listdir("sessions")) == 1
    spelled = link.removeprefix("sessions/")
    assert spelled == "a%2Fb%25%C3%A9%20%3F"
    others = (
        *("a%2fb%25%C3%A9%20%3F", "%61%2Fb%25%C3%A9%20%3F", "a%2Fb%25é%20%3F", "a%2Fb%25%C3%A9 %3F"),
        *("a%2Fb%25%C3%A9+%3F", "a%2Fb%%C3%A9%20%3F", "a%2Fb%25%C3%A9%20?", "a%2Fb%2525%C3%A9%20%3F"),
    )
    for wrong in (*others, "%", "%zz", "\udcff\udcfe", "a%2Fb%25"):
        expect_errno(errno.ENOENT, tree.stat, f"sessions/{wrong}")


@pytest.mark.promise("N5")
def test_links_by_long_ids(tree: Tree, simulator: Simulator) -> None:
    """As long as any kernel takes names."""
    for length in (256, 1021, 1024):
        session_id = simulator.add_computed(10, session_id="x" * length)
        path = directory(tree, session_id)
        assert f"sessions/{tree.readlink(f'sessions/{session_id}')}" == path
        assert tree.listdir(f"sessions/{session_id}") == tree.listdir(path)


@pytest.mark.promise("S9", "T4", "S2")
def test_what_others_destroy_disappears(tree: Tree, simulator: Simulator) -> None:
    gone, staying = simulator.add_computed(10), simulator.add_computed(10)
    path, other = directory(tree, gone), directory(tree, staying)
    tree.stat(f"{path}/{results(tree, path)[0]}")
    simulator.sessions.destroy(gone)
    eventually(lambda: not exists(tree, path))
    assert tree.listdir("sessions") == [other.removeprefix("sessions/")]
    expect_errno(errno.ENOENT, tree.readlink, f"sessions/{percent_encode(gone)}")


@pytest.mark.mount
@pytest.mark.promise("R10", "S9", "E1")
def test_open_while_its_session_goes(start_mount: MountFactory, simulator: Simulator) -> None:
    session_id = simulator.add_computed(64 << 20)
    mount = start_mount()
    path = mount.mountpoint / directory(mount.tree, session_id)
    (name,) = [entry for entry in os.listdir(path) if not entry.startswith(".")]
    (file_id,) = [file.path for file in simulator.files(session_id)]
    folder = os.open(path, os.O_RDONLY)
    with (path / name).open("rb", buffering=0) as file:
        begin = file.read(4096)
        assert begin == simulator.content(session_id, file_id, 0, 4096)
        simulator.sessions.destroy(session_id)
        eventually(lambda: not path.exists())
        eventually(lambda: os.fstat(folder).st_nlink == 0)  # once the kernel has asked again
        assert os.pread(file.fileno(), 4096, 0) == begin
        expect_errno(errno.ESTALE, os.pread, file.fileno(), 4096, 60 << 20)
        assert os.fstat(file.fileno()).st_size == 64 << 20
    expect_errno(errno.ESTALE, os.listdir, folder)
    # What copies trees passes over names that are gone, and fails where a directory is broken.
    for gone in (".control", "nothing"):
        expect_errno(errno.ENOENT, lambda gone=gone: os.open(gone, os.O_RDONLY, dir_fd=folder))
    os.close(folder)
    expect_errno(errno.ENOENT, os.listdir, path)
    expect_errno(errno.ENOENT, os.open, path / name, os.O_RDONLY)


@pytest.mark.mount
@pytest.mark.promise("R8")
def test_a_result_of_another_size_is_another_file(start_mount: MountFactory, simulator: Simulator) -> None:
    session_id = simulator.add_computed(1000)
    mount = start_mount()
    path = mount.mountpoint / directory(mount.tree, session_id)
    (file,) = simulator.files(session_id)
    before = (path / file.path).stat()
    assert len((path / file.path).read_bytes()) == 1000
    simulator.resize(session_id, file.path, 2000, announce=True)
    eventually(lambda: (path / file.path).stat().st_size == 2000)
    assert (path / file.path).stat().st_ino != before.st_ino
    assert (path / file.path).read_bytes() == simulator.content(session_id, file.path)


@pytest.mark.promise("R6", "S12")
def test_a_result_announced_without_bytes(tree: Tree, simulator: Simulator) -> None:
    """A server that does not know a size says 0, and a copy would be empty."""
    session_id = simulator.add_computed(1000, 0, announced=[0, 0])
    told, empty = simulator.files(session_id)
    path = directory(tree, session_id)
    expect_errno(errno.EIO, tree.read, f"{path}/{told.path}")
    assert tree.read(f"{path}/{empty.path}") == b""
    assert "2 of 2 results are empty (0 bytes)" in record(tree, path)["warnings"]


@pytest.mark.mount
@pytest.mark.promise("R8")
def test_who_has_the_old_one_open_reads_nothing_of_the_new(
    start_mount: MountFactory, simulator: Simulator
) -> None:
    session_id = simulator.add_computed(64 << 20)
    mount = start_mount()
    path = mount.mountpoint / directory(mount.tree, session_id)
    (result,) = simulator.files(session_id)
    with (path / result.path).open("rb", buffering=0) as file:
        begin = file.read(4096)
        simulator.resize(session_id, result.path, 65 << 20, announce=True)
        eventually(lambda: (path / result.path).stat().st_size == 65 << 20)
        expect_errno(errno.ESTALE, os.pread, file.fileno(), 4096, 40 << 20)
        assert os.pread(file.fileno(), 4096, 0) == begin
    with (path / result.path).open("rb", buffering=0) as file:
        assert os.pread(file.fileno(), 4096, 40 << 20) == simulator.content(
            session_id, result.path, 40 << 20, 4096
        )


@pytest.mark.mount
@pytest.mark.promise("S10")
def test_read_only(start_mount: MountFactory, simulator: Simulator) -> None:
    session_id = simulator.add_computed(1000)
    mount = start_mount("--read-only")
    path = directory(mount.tree, session_id)
    tree = mount.tree
    expect_errno(errno.EROFS, tree.write, "new/a.json", json.dumps(ARCHIVE_REQUEST).encode())
    expect_errno(
        errno.EROFS,
        tree.write,
        f"{path}/.control",
        b"stop\n",
    )
    expect_errno(errno.EROFS, tree.rmdir, path)
    assert len(tree.read(f"{path}/{results(tree, path)[0]}")) == 1000
    assert set(calls_but_listings(simulator)) <= {"DownloadFile", "GetSessionState"}


@pytest.mark.promise("N3", "N2", "N1")
def test_names_of_other_kinds(tree: Tree, simulator: Simulator) -> None:
    sources = [export.LiveMode.Source(origin=CAMERA)] * 3
    options = export.Options(
        live=export.LiveMode(sources=sources), snapshot=export.SnapshotType(format="PDF")
    )
    path = directory(tree, simulator.add_computed(10, mime_type="application/pdf", options=options))
    assert path.startswith("sessions/live_Server.DeviceIpint.1+2_pdf_")


@pytest.mark.promise("S1")
def test_stopping_what_has_completed_changes_nothing(tree: Tree, simulator: Simulator) -> None:
    simulator.add_computed(1000)
    (path,) = eventually(lambda: ["sessions/" + name for name in tree.listdir("sessions")])
    with contextlib.suppress(OSError):
        tree.write(f"{path}/.control", b"stop\n")
    assert record(tree, path)["state"] == "completed"


@pytest.mark.promise("E1")
def test_stopping_what_is_gone(tree: Tree, simulator: Simulator) -> None:
    session_id = simulator.add_computed(1000)
    (path,) = eventually(lambda: ["sessions/" + name for name in tree.listdir("sessions")])
    simulator.faults.add(
        "StopSession", Fail("NOT_FOUND", "There is no session with provided ID"), session=session_id
    )
    expect_errno(errno.ESTALE, tree.write, f"{path}/.control", b"stop\n")


@pytest.mark.mount
@pytest.mark.promise("S6")
def test_a_failure_is_told_also_where_what_failed_is_written_again(
    start_mount: MountFactory, simulator: Simulator
) -> None:
    """As Python's close does with what its write could not write. The server is asked once."""
    mount = start_mount()
    control = mount.mountpoint / directory(mount.tree, simulator.add_computed(10)) / ".control"
    simulator.faults.add("DestroySession", Fail("PERMISSION_DENIED", "no"), times=None)
    expect_errno(errno.EACCES, control.write_text, "destroy\n")
    assert simulator.log.count("DestroySession") == 1


@pytest.fixture
def lingering() -> Iterator[SimulatorServer]:
    """A server that lists what was destroyed, and answers for it, for longer than any test takes."""
    timers = TimerConfig(destroyed_stays=600)
    config = Config(login=LoginConfig(required=False), export_seconds=0.1, timers=timers)
    simulator = Simulator(config)
    with SimulatorServer(simulator) as server:
        yield server
    simulator.close()


@pytest.mark.mount
@pytest.mark.promise("S9", "R10", "W5")
def test_what_was_destroyed_does_not_come_back(lingering: SimulatorServer, start_mount: MountFactory) -> None:
    simulator = lingering.simulator
    mount = start_mount(address=lingering.address)
    tree, root = mount.tree, mount.mountpoint
    theirs = simulator.add_computed(64 << 20)
    path = root / directory(tree, theirs)
    (name,) = results(tree, f"sessions/{path.name}")
    ours = started(tree, ARCHIVE_REQUEST)
    eventually(lambda: record(tree, ours)["state"] == "completed")
    (first,) = set(simulator.sessions.ids()) - {theirs}
    with (path / name).open("rb", buffering=0) as file:
        file.read(4096)
        for session in (f"sessions/{path.name}", ours):
            tree.write(f"{session}/.control", b"destroy\n")
        expect_errno(errno.ESTALE, os.pread, file.fileno(), 4096, 60 << 20)
        asked = simulator.log.count("GetSessionState")
        listed = simulator.log.count("ListSessions")
        eventually(
            lambda: tree.listdir("sessions") == [] and simulator.log.count("ListSessions") > listed + 5
        )
        expect_errno(errno.ESTALE, os.pread, file.fileno(), 4096, 50 << 20)
    assert not exists(tree, ours)
    assert not exists(tree, "new/a")
    assert not exists(tree, f"sessions/{percent_encode(theirs)}")
    assert simulator.log.count("GetSessionState") == asked
    assert set(simulator.sessions.ids()) == {theirs, first}  # the server has them yet
    # The same request again is a new one, and after a remount the old one does not come back either.
    again = started(tree, ARCHIVE_REQUEST)
    assert simulator.log.count("StartSession") == 2
    assert again != ours
    mount.stop()
    mount.start()
    assert not exists(tree, ours)
    assert tree.readlink("new/a") == f"../{again}"


@pytest.mark.promise("S1")
def test_what_has_no_effect_is_told_in_the_record(tree: Tree, simulator: Simulator) -> None:
    request = {**ARCHIVE_REQUEST, "settings": [{"fileName": "gate"}, {"timezone": 2}]}
    path = started(tree, request)
    assert [one.partition(" ")[0] for one in record(tree, path)["warnings"]] == ["fileName", "timezone"]
    # What somebody else asked for is theirs to mend.
    options = simulator.options()
    options.settings.add().timezone = 2
    other = directory(tree, simulator.add_computed(10, options=options))
    assert record(tree, other)["warnings"] == []
