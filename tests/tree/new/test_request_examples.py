"""Every example of docs/request-files.md, and the template, start an export when they are dropped."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from exportfs.requests import parse
from exportfs.simulator import Config, LoginConfig, Simulator, SimulatorServer
from exportfs.timestamps import parse_server
from exportfs.wire import export
from tests.support.harness import InProcessTree, config_for

PAGE = (Path(__file__).parents[3] / "docs" / "request-files.md").read_text()
EXAMPLES: list[str] = re.findall(r"^```json\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def access_points(pattern: str) -> tuple[str, ...]:
    return tuple(sorted(set(re.findall(pattern, "".join(EXAMPLES)))))


def test_all_examples(tmp_path: Path) -> None:
    """With the cameras, archives and agents that they name."""
    base = Config(login=LoginConfig(required=False), export_seconds=3600)
    config = replace(
        base,
        cameras=access_points(r'"(hosts/[^"]+/SourceEndpoint[^"]+)"'),
        archives=access_points(r'"(hosts/[^"]+/MultimediaStorage[^"]*)"'),
        agents=tuple({*base.agents, *access_points(r'"(hosts/[^"]+/MMExportAgent[^"]+)"')}),
    )
    simulator = Simulator(config)
    with SimulatorServer(simulator) as server:
        tree = InProcessTree(config_for(server.address, tmp_path, refresh=60.0))
        try:
            for number, example in enumerate(EXAMPLES):
                tree.write(f"new/{number}.json", example.encode())
                assert tree.readlink(f"new/{number}")
            assert simulator.log.count("StartSession") == len(EXAMPLES)
            sent = [call.request.session_options for call in simulator.log.calls("StartSession")]
            assert sent == [export.Options.FromString(parse(e.encode()).options) for e in EXAMPLES]
        finally:
            tree.close()
    simulator.close()


@pytest.mark.promise("W13")
def test_template(tmp_path: Path) -> None:
    simulator = Simulator(Config(login=LoginConfig(required=False), export_seconds=0.2))
    camera, archive = simulator.config.cameras[1], simulator.config.archives[0]
    options = simulator.options()
    options.archive.sources[0].origin = camera
    options.archive.sources[0].storages.append(archive)
    simulator.add_computed(10)
    simulator.add_computed(10, options=options)
    with SimulatorServer(simulator) as server:
        tree = InProcessTree(config_for(server.address, tmp_path))
        try:
            text = tree.read("new/.template.json")
            (source,) = json.loads(text)["archive"]["sources"]
            assert source == {"origin": camera, "storages": [archive]}
            assert tree.stat("new/.template.json").st_size == len(text)
            start = parse_server(parse(text).summary.start)
            assert start is not None
            assert timedelta() < datetime.now(UTC) - start < timedelta(minutes=12)
            tree.write("new/mine.json", text)
            assert simulator.log.count("StartSession") == 1
            assert json.loads(tree.read("new/mine/.request.json"))["archive"]["sources"] == [source]
        finally:
            tree.close()
    simulator.close()


def test_template_of_an_empty_server(tmp_path: Path) -> None:
    simulator = Simulator(Config(login=LoginConfig(required=False)))
    with SimulatorServer(simulator) as server:
        tree = InProcessTree(config_for(server.address, tmp_path))
        try:
            parse(tree.read("new/.template.json"))
        finally:
            tree.close()
    simulator.close()


@pytest.mark.promise("W1")
def test_both_spellings_and_offsets(tmp_path: Path) -> None:
    simulator = Simulator(Config(login=LoginConfig(required=False)))
    with SimulatorServer(simulator) as server:
        tree = InProcessTree(config_for(server.address, tmp_path))
        try:
            camel = {
                "archive": {
                    "sources": [{"origin": simulator.config.cameras[0]}],
                    "startTimestamp": "2026-05-11T10:04:11+02:00",
                    "endTimestamp": "20260511T080500",
                },
                "stream": {"format": "MP4"},
            }
            text = json.dumps(camel)
            tree.write("new/a.json", text.encode())
            snake = text.replace("startTimestamp", "start_timestamp").replace("endTimestamp", "end_timestamp")
            # Another spelling of the same request: nothing new is asked for.
            tree.write("new/a.json", snake.encode())
            tree.write("new/b.json", snake.encode())
        finally:
            tree.close()
    calls = simulator.log.calls("StartSession")
    assert [call.request.session_options.archive.start_timestamp[:15] for call in calls] == [
        "20260511T080411"
    ] * 2
    simulator.close()
