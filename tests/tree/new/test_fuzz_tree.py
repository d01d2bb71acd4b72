"""Mutated requests through the whole tree: a success means one more session, an error none, and nothing crashes."""

import json
import logging
from pathlib import Path

import pytest

from exportfs.simulator import Config, LoginConfig, Simulator, SimulatorServer
from tests.support.drawing import drawing
from tests.support.harness import ARCHIVE_REQUEST, InProcessTree, config_for
from tests.unit.requests.test_request_fuzz import mutated

COUNT = 150


@pytest.mark.deep
@pytest.mark.promise("W11")
def test_mutated_requests_through_the_tree(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    simulator = Simulator(Config(login=LoginConfig(required=False), export_seconds=3600))
    with drawing() as rng, SimulatorServer(simulator) as server:
        tree = InProcessTree(config_for(server.address, tmp_path, refresh=60.0))
        try:
            for number in range(COUNT):
                content = mutated(rng)
                before = len(simulator.sessions.ids())
                name = f"new/{number}.json"
                try:
                    tree.write(name, content)
                    said = None
                except OSError as error:
                    said = error
                names = tree.listdir("new")
                # Neither is there of an empty one; an incomplete one has an error though its close succeeded.
                started = f"{number}" in names
                assert not (said and (started or f"{number}.json.error" not in names)), (content, said)
                assert len(simulator.sessions.ids()) == before + started, content
                tree.unlink(name)
                assert tree.listdir("new") == [], content
            # Of the mutations all may be refused, one run in a thousand.
            before = len(simulator.sessions.ids())
            tree.write("new/last.json", json.dumps(ARCHIVE_REQUEST).encode())
            assert "last" in tree.listdir("new")
            assert len(simulator.sessions.ids()) == before + 1
            assert caplog.records == []
        finally:
            tree.close()
    simulator.close()
