"""`cameras` and `footage`, over folders that look like a mount."""

import json
import shlex
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from click.shell_completion import ShellComplete
from click.testing import CliRunner, Result

from exportfs.cli import program
from exportfs.cli.commands.footage import FULL, NONE, PART, bars
from exportfs.client.cameras import Interval, find_camera, find_cameras, read_footage, read_footage_exactly
from exportfs.errors import InvalidArgument, NotFound, Unsupported

HEAD = "# AliceBlue; or so (hosts/S/MultimediaStorage.A/MultimediaStorage); {}; {}\n"
NIGHT = datetime(2026, 5, 11, tzinfo=UTC)


def add(mount: Path, name: str, label: str = "", footage: str | None = None, **record: object) -> Path:
    directory = mount / "cameras" / name
    directory.mkdir(parents=True)
    known = {
        "label": label or name,
        "name": (label or name).partition(".")[2],
        "id": name.partition(".")[0],
        "access_point": f"hosts/S/{name}",
        "node": "S",
        "enabled": True,
        "active": True,
        "exportable": True,
        "archives": [{"name": "AliceBlue"}],
    }
    (directory / "camera.json").write_text(json.dumps(known | record))
    if footage is not None:
        (directory / "footage").write_text(footage)
    return directory


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    lines = "2026-05-11T10:04:11.155+02:00 2026-05-11T11:00:00+02:00 55:48.845\n"
    add(
        tmp_path,
        "1.Gate north",
        footage=HEAD.format("coarse: gaps under 1 h are not shown", "complete") + lines,
    )
    add(tmp_path, "2.Gate south", footage=HEAD.format("exact", "complete"))
    add(tmp_path, "3.정문", active=False)
    add(tmp_path, "4.Strong room", exportable=False)
    return tmp_path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(program, [str(one) for one in arguments])


def test_cameras_in_columns(mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run("cameras", mount)
    assert result.exit_code == 0
    lines = {line.split("  ")[0]: line for line in result.stdout.splitlines()}
    assert "2026-05-11" in lines["1.Gate north"]
    assert lines["1.Gate north"].endswith("recorded")
    assert lines["2.Gate south"].endswith("no footage")
    assert lines["3.정문"].endswith("not running, footage unknown")
    assert lines["4.Strong room"].endswith("no right to its footage")


def test_cameras_as_json(mount: Path) -> None:
    document = json.loads(run("cameras", mount, "gate*", "--json").stdout)
    assert [one["label"] for one in document] == ["1.Gate north", "2.Gate south"]
    assert document[0]["first_footage"] == "2026-05-11T10:04:11.155000+02:00"
    assert document[1]["first_footage"] is None


def test_a_pattern_that_matches_nothing(mount: Path) -> None:
    result = run("cameras", mount, "Gat")
    assert result.exit_code == 1
    assert "no camera matches 'Gat'" in result.stderr


def test_names_of_one_camera(mount: Path) -> None:
    assert find_camera(mount, "gate NORTH").id == "1"
    assert find_camera(mount, "3").label == "3.정문"
    add(mount, "1.Gate north@B", "1.Gate north")
    with pytest.raises(InvalidArgument, match="ambiguous"):
        find_camera(mount, "Gate north")
    assert find_camera(mount, "1.Gate north@B").label == "1.Gate north"
    with pytest.raises(NotFound):
        find_camera(mount, "gate*")


def test_a_server_without_cameras(tmp_path: Path) -> None:
    (tmp_path / "cameras").mkdir()
    (tmp_path / ".status.json").write_text(
        '{"cameras": {"error": "this server does not tell of its cameras"}}'
    )
    with pytest.raises(Unsupported, match="does not tell"):
        find_cameras(tmp_path, [])
    result = run("cameras", tmp_path)
    assert result.exit_code == 1
    assert "does not tell of its cameras" in result.stderr


def test_footage_in_lines(mount: Path) -> None:
    result = run("footage", mount, "Gate north")
    assert result.exit_code == 0
    head, line = result.stdout.splitlines()
    assert head == (
        "# 1.Gate north, AliceBlue; or so (hosts/S/MultimediaStorage.A/MultimediaStorage); coarse"
    )
    assert line.endswith(" 0:55:48.845000")
    document = json.loads(run("footage", mount, "Gate north", "--json").stdout)
    assert document["intervals"][0]["seconds"] == pytest.approx(3348.845)
    assert not document["exact"]


def test_footage_of_an_interval_asks_for_it_by_name(mount: Path) -> None:
    camera = find_camera(mount, "1")
    name = "footage@2026-05-11T00:00:00Z--2026-05-11T01:30:00.500Z"
    (camera.directory / name).write_text(HEAD.format("exact", "cut: there is more after the last line"))
    told = read_footage(camera, NIGHT, NIGHT + timedelta(minutes=90, milliseconds=500))
    assert (told.exact, told.complete, told.intervals) == (True, False, ())


def test_exact_footage_is_put_together_from_hours(mount: Path) -> None:
    camera = find_camera(mount, "1")
    for hour, line in ((0, "00:30:00Z 2026-05-11T01:00:00Z"), (1, "01:00:00Z 2026-05-11T01:20:00Z")):
        name = f"footage@2026-05-11T0{hour}:00:00Z--2026-05-11T0{hour + 1}:00:00Z"
        (camera.directory / name).write_text(HEAD.format("exact", "complete") + f"2026-05-11T{line} x\n")
    told = read_footage_exactly(camera, NIGHT, NIGHT + timedelta(hours=2))
    assert told.intervals == (Interval(NIGHT + timedelta(minutes=30), NIGHT + timedelta(minutes=80)),)
    with pytest.raises(InvalidArgument, match="48 hours"):
        read_footage_exactly(camera, NIGHT, NIGHT + timedelta(hours=49))


@pytest.mark.parametrize(
    "text", ["", "nonsense\n", "# a; exact\n", HEAD + "no times\n", HEAD + "2026 2027 x\n"]
)
def test_what_is_no_footage_file(mount: Path, text: str) -> None:
    camera = find_camera(mount, "1")
    (camera.directory / "footage").write_text(text)
    with pytest.raises(InvalidArgument, match="not a footage file"):
        read_footage(camera)


@pytest.mark.parametrize(
    "arguments",
    [("--from", "2026-05-11T10:00:00Z", "--to", "2026-05-11T09:00:00Z"), ("--exact",)],
)
def test_wrong_intervals_are_a_wrong_command_line(mount: Path, arguments: tuple[str, ...]) -> None:
    assert run("footage", mount, "1", *arguments).exit_code == 2


def test_bars_are_dark_where_there_is_footage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    day = (Interval(NIGHT + timedelta(hours=6), NIGHT + timedelta(hours=18)),)
    (line, *_) = bars(day, NIGHT, NIGHT + timedelta(days=2))
    assert line.split(" ")[-1] == NONE * 12 + FULL * 24 + NONE * 12
    hours = bars(day, NIGHT + timedelta(hours=5), NIGHT + timedelta(hours=8))
    assert [line[-1] for line in hours] == [NONE, FULL, FULL]
    part = (Interval(NIGHT + timedelta(minutes=5), NIGHT + timedelta(minutes=25)),)
    assert PART in bars(part, NIGHT, NIGHT + timedelta(days=2))[0]
    assert bars((), None, None) == []


def complete(*words: str) -> list[str]:
    """What the shell is offered for the last word."""
    completion = ShellComplete(program, {}, "axxon-exportfs", "_X")
    return [item.value for item in completion.get_completions(list(words[:-1]), words[-1])]


def test_completion_of_cameras_and_archives(mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert complete("export", str(mount), "--camera", "gate") == ["1.Gate north", "2.Gate south"]
    assert complete("footage", str(mount), "3.") == ["3.정문"]
    words = ("export", str(mount), "--camera", "1.Gate north", "--archive")
    monkeypatch.setenv("COMP_WORDS", shlex.join(("axxon-exportfs", *words)))
    assert complete(*words, "al") == ["AliceBlue"]
    assert complete("export", "/nowhere", "--camera", "") == []
