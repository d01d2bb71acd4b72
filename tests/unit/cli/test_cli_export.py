"""`export` on a mount whose close() is played by the test."""

import errno
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from exportfs.cli.terminal.following import Pace, footage_seconds
from exportfs.client.submit import submit
from exportfs.errors import ExportfsError
from exportfs.record import PERHAPS_SENT_BEFORE, SENT_BEFORE

CAMERA = "hosts/Server/DeviceIpint.1/SourceEndpoint.video:0:0"
ARCHIVE = ["--camera", CAMERA, "--from", "2026-05-11T08:04:11Z", "--duration", "10", "--format", "mp4"]

OnClose = Callable[[Path], None]


def rest(stderr: str) -> str:
    """What is said after the line with the interval."""
    said, _, more = stderr.partition("\n")
    assert "in UTC 2026-05-11T08:04:11Z to 2026-05-11T08:04:21Z" in said
    return more


@pytest.fixture
def closing(mount: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[OnClose], None]:
    """Sets what the mount does when a request in `new/` is closed."""
    really_close = os.close

    def install(on_close: OnClose) -> None:
        def close(descriptor: int) -> None:
            path = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
            really_close(descriptor)
            if path.parent == mount.root / "new":
                on_close(path)

        monkeypatch.setattr(os, "close", close)

    return install


@pytest.fixture
def starts(mount: Any, closing: Callable[[OnClose], None]) -> list[dict[str, Any]]:
    """The server starts every request; the requests it got."""
    got: list[dict[str, Any]] = []

    def on_close(path: Path) -> None:
        got.append(json.loads(path.read_text()))
        mount.session("s1", "running", progress=0.0)
        path.with_suffix("").symlink_to("../sessions/s1")

    closing(on_close)
    return got


def test_dry_run_needs_no_mount(run: Any, tmp_path: Path) -> None:
    result = run("export", tmp_path / "nowhere", *ARCHIVE, "--dry-run")
    assert result.exit_code == 0
    request = json.loads(result.stdout)
    assert request["archive"]["endTimestamp"] == "2026-05-11T08:04:21+00:00"
    assert set(request) == {"archive", "stream"}
    assert json.loads(run("export", tmp_path, *ARCHIVE, "--dry-run", "--mask").stdout)["settings"] == [
        {"applyMask": True}
    ]


@pytest.mark.promise("C8")
def test_local_time_is_this_machines(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(time.tzset)
    with monkeypatch.context() as context:
        context.setenv("TZ", "CET-1CEST,M3.5.0,M10.5.0/3")
        time.tzset()
        words = ["export", tmp_path, "--camera", CAMERA, "--format", "jpg", "--dry-run", "--from"]
        summer = run(*words, "2026-05-11 10:04")
        assert json.loads(summer.stdout)["archive"]["startTimestamp"] == "2026-05-11T10:04:00+02:00"
        twice = run(*words, "2026-10-25 02:30")
        assert twice.exit_code == 2
        assert "2026-10-25T02:30:00+02:00 or 2026-10-25T02:30:00+01:00" in twice.stderr
        skipped = run(*words, "2026-03-29 02:30")
        assert "2026-03-29T01:30:00+01:00 or 2026-03-29T03:30:00+02:00" in skipped.stderr


FAR = [("2062-05-11T08:04:11Z", "in the future"), ("1926-05-11T08:04:11Z", "years ago")]


@pytest.mark.parametrize(("start", "words"), FAR)
@pytest.mark.promise("C8")
def test_years_far_off_are_not_swallowed(
    run: Any, mount: Any, starts: list[dict[str, Any]], start: str, words: str
) -> None:
    command = [
        "export",
        mount.root,
        "--camera",
        CAMERA,
        "--from",
        start,
        "--duration",
        "10",
        "--format",
        "mp4",
    ]
    refused = run(*command)
    assert (refused.exit_code, refused.stdout, starts) == (2, "", [])
    assert words in refused.stderr
    assert "--yes" in refused.stderr
    assert run(*command, "--yes").exit_code == 0
    assert len(starts) == 1
    assert run(*command, "--dry-run").exit_code == 0


@pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 1), ("", 1)])
def test_on_a_terminal_it_asks(
    run: Any,
    mount: Any,
    starts: list[dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    answer: str,
    code: int,
) -> None:
    monkeypatch.setattr("exportfs.cli.commands.export.on_terminal", lambda: True)
    words = ["--camera", CAMERA, "--from", "2062-05-11T08:04:11Z", "--format", "jpg"]
    result = run("export", mount.root, *words, input=f"{answer}\n")
    assert (result.exit_code, len(starts)) == (code, 1 - code)
    assert "Export it all the same?" in result.stderr


def test_start_prints_the_directory(run: Any, mount: Any, starts: list[dict[str, Any]]) -> None:
    result = run("export", mount.root, *ARCHIVE, "--name", "gate.json")
    assert (result.exit_code, rest(result.stderr)) == (0, "")
    assert result.stdout == f"{mount.root}/sessions/s1\n"
    assert starts[0]["stream"] == {"format": "MP4"}
    assert (mount.root / "new" / "gate.json").exists()


def test_default_names_differ(run: Any, mount: Any, starts: list[dict[str, Any]]) -> None:
    for _ in range(3):
        assert run("export", mount.root, *ARCHIVE).exit_code == 0
    names = sorted(path.name for path in (mount.root / "new").glob("*.json"))
    assert len(names) == 3
    assert all(name.startswith("Server.DeviceIpint.1_20260511T080411Z_") for name in names)


def test_json(run: Any, mount: Any, starts: list[dict[str, Any]]) -> None:
    result = run("export", mount.root, *ARCHIVE, "--name", "gate", "--json")
    assert json.loads(result.stdout) == {
        "request": str(mount.root / "new" / "gate.json"),
        "session": str(mount.root / "sessions" / "s1"),
    }


def test_wait_prints_the_results(run: Any, mount: Any, starts: list[Any], waited: Any) -> None:
    waited.script = [
        lambda: mount.session("s1", "running", progress=0.5),
        lambda: mount.session("s1", "completed", {"a.mp4": b"1", "b.mp4": b"2"}),
    ]
    result = run("export", mount.root, *ARCHIVE, "--wait")
    assert (result.exit_code, rest(result.stderr)) == (0, "")
    session = mount.root / "sessions" / "s1"
    assert result.stdout == f"{session}/a.mp4\n{session}/b.mp4\n"


def test_wait_for_one_that_fails(run: Any, mount: Any, starts: list[Any], waited: Any) -> None:
    waited.script = [lambda: mount.session("s1", "failed", error="no footage")]
    result = run("export", mount.root, *ARCHIVE, "--wait", "--json")
    assert result.exit_code == 1
    assert rest(result.stderr) == "axxon-exportfs: s1: the export failed: no footage\n"
    answer = json.loads(result.stdout)
    assert (answer["state"], answer["error"], answer["results"]) == ("failed", "no footage", [])


def test_ctrl_c_says_that_the_export_goes_on(run: Any, mount: Any, starts: list[Any], waited: Any) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    waited.script = [interrupt]
    result = run("export", mount.root, *ARCHIVE, "--wait")
    assert result.exit_code == 130
    assert (
        f"the export continues; wait for it with `axxon-exportfs wait {mount.root}/sessions/s1`"
        in result.stderr
    )


def refusing(code: int, reason: str | None) -> OnClose:
    def on_close(path: Path) -> None:
        if reason is not None:
            Path(f"{path}.error").write_text(f"{reason}\n")
        raise OSError(code, os.strerror(code))

    return on_close


def test_refusal_is_the_mounts_sentence(run: Any, mount: Any, closing: Callable[[OnClose], None]) -> None:
    closing(refusing(errno.EINVAL, "line 4, archive.sources[0].origin: no such camera"))
    result = run("export", mount.root, *ARCHIVE, "--name", "gate")
    assert result.exit_code == 1
    assert rest(result.stderr) == (
        "axxon-exportfs: no export was started: line 4, archive.sources[0].origin: no such camera\n"
    )
    assert not (mount.root / "new" / "gate.json").exists()


def test_refusal_without_a_sentence(run: Any, mount: Any, closing: Callable[[OnClose], None]) -> None:
    closing(refusing(errno.EROFS, None))
    result = run("export", mount.root, *ARCHIVE, "--name", "gate")
    assert result.exit_code == 1
    assert "mount without --read-only" in result.stderr


@pytest.mark.parametrize("code", [errno.ETIMEDOUT, errno.EIO, errno.ENOTCONN])
def test_unknown_outcome_keeps_the_request(
    run: Any, mount: Any, closing: Callable[[OnClose], None], code: int
) -> None:
    closing(refusing(code, "no answer"))
    result = run("export", mount.root, *ARCHIVE, "--name", "gate")
    assert result.exit_code == 1
    assert "unknown whether an export was started" in result.stderr
    assert (mount.root / "new" / "gate.json").exists()


def test_nothing_sent_is_no_unknown_outcome(run: Any, mount: Any, closing: Callable[[OnClose], None]) -> None:
    closing(refusing(errno.ENOTCONN, "the server cannot be reached; nothing was sent"))
    result = run("export", mount.root, *ARCHIVE, "--name", "gate")
    assert result.exit_code == 1
    assert rest(result.stderr) == (
        "axxon-exportfs: no export was started: the server cannot be reached; nothing was sent\n"
    )
    assert not (mount.root / "new" / "gate.json").exists()
    with pytest.raises(ExportfsError) as caught:
        submit(mount.root, "gate", b"{}", again=True)
    assert str(caught.value) == "the server cannot be reached; nothing was sent"
    assert (mount.root / "new" / "gate.json").exists()


@pytest.mark.parametrize("said", [SENT_BEFORE, PERHAPS_SENT_BEFORE])
def test_what_was_not_sent_again_may_have_been_started(
    run: Any, mount: Any, closing: Callable[[OnClose], None], said: str
) -> None:
    """The errno is one after which nothing has been started, but it is of the list of sessions, say."""
    closing(refusing(errno.EACCES, f"the server answered PERMISSION_DENIED; {said}"))
    result = run("export", mount.root, *ARCHIVE, "--name", "gate")
    assert result.exit_code == 1
    assert "unknown whether an export was started" in result.stderr
    assert (mount.root / "new" / "gate.json").exists()


def test_not_found_is_a_refusal(run: Any, mount: Any, closing: Callable[[OnClose], None]) -> None:
    closing(refusing(errno.ENOENT, "the server answered NOT_FOUND: no such agent"))
    result = run("export", mount.root, *ARCHIVE, "--name", "gate")
    assert result.exit_code == 1
    assert "no export was started: the server answered NOT_FOUND" in result.stderr
    assert not (mount.root / "new" / "gate.json").exists()


def test_name_that_is_taken(run: Any, mount: Any, starts: list[Any]) -> None:
    (mount.root / "new" / "gate.json").write_text("mine")
    result = run("export", mount.root, *ARCHIVE, "--name", "gate")
    assert result.exit_code == 1
    assert "give another --name" in result.stderr
    assert (mount.root / "new" / "gate.json").read_text() == "mine"


def test_no_mount_there(run: Any, tmp_path: Path) -> None:
    result = run("export", tmp_path, *ARCHIVE)
    assert result.exit_code == 1
    assert f"axxon-exportfs mount SERVER {tmp_path}" in result.stderr


def test_a_folder_that_starts_nothing(run: Any, mount: Any) -> None:
    result = run("export", mount.root, *ARCHIVE)
    assert result.exit_code == 1
    assert "no session was started" in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["--format", "mp4"],
        ["--camera", "x"],
        ["--camera", "x", "--format", "wmv"],
        ["--camera", "x", "--format", "mp4", "--from", "2026-05-11T08:04:11Z"],
        ["--camera", "x", "--format", "mp4", "--name", "a/b"],
        ["--camera", "x", "--format", "mp4", "--split", "5XB"],
    ],
)
def test_wrong_words(run: Any, mount: Any, words: list[str]) -> None:
    assert run("export", mount.root, *words).exit_code == 2
    assert not list((mount.root / "new").iterdir())


def test_rate() -> None:
    pace = Pace(600.0)
    assert pace.rate(10.0, 0.0) == ""
    assert pace.rate(15.0, 0.1) == "12.0x"
    assert pace.rate(15.0, 0.0) == ""
    assert Pace(None).rate(1.0, 0.5) == ""


@pytest.mark.parametrize(
    ("archive", "seconds"),
    [
        ({"startTimestamp": "20260511T080411.000000", "endTimestamp": "2026-05-11T08:05:11Z"}, 60.0),
        ({"start_timestamp": "20260511T080411", "end_timestamp": "20260511T080411"}, None),
        ({"startTimestamp": "20260511T080411"}, None),
        ({"startTimestamp": "x", "endTimestamp": 5}, None),
        (None, None),
    ],
)
def test_footage(archive: object, seconds: float | None) -> None:
    assert footage_seconds({"archive": archive}) == seconds
