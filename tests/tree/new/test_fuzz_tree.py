"""Mutated requests through the whole tree: a success means one more session, an error none, and nothing crashes.

EXPORTFS_FUZZ sets how many, a hundredth of it; EXPORTFS_FUZZ_SEED repeats a run.
"""

import json
import logging
import os
import random
from pathlib import Path

import pytest

from exportfs.simulator import Config, LoginConfig, Simulator, SimulatorServer
from tests.support.harness import ARCHIVE_REQUEST, InProcessTree, config_for
from tests.unit.requests.request_examples import EXAMPLES
from tests.unit.requests.test_request_fuzz import mutate_bytes, mutate_values

COUNT = max(150, int(os.environ.get("EXPORTFS_FUZZ", "0")) // 100)
SEED = int(os.environ.get("EXPORTFS_FUZZ_SEED", "0")) or random.SystemRandom().randrange(1, 2**32)


@pytest.mark.promise("W11")
def test_mutated_requests_through_the_tree(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.ERROR)
    rng = random.Random(SEED)
    simulator = Simulator(Config(login=LoginConfig(required=False), export_seconds=3600))
    with SimulatorServer(simulator) as server:
        tree = InProcessTree(config_for(server.address, tmp_path, refresh=60.0))
        try:
            for number in range(COUNT):
                text = rng.choice(EXAMPLES)
                content = mutate_values(rng, text) if rng.random() < 0.5 else mutate_bytes(rng, text.encode())
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
                assert not (said and (started or f"{number}.json.error" not in names)), (SEED, content, said)
                assert len(simulator.sessions.ids()) == before + started, (SEED, content)
                tree.unlink(name)
                assert tree.listdir("new") == [], (SEED, content)
            # Of the mutations all may be refused, one run in a thousand.
            before = len(simulator.sessions.ids())
            tree.write("new/last.json", json.dumps(ARCHIVE_REQUEST).encode())
            assert "last" in tree.listdir("new")
            assert len(simulator.sessions.ids()) == before + 1
            assert caplog.records == []
        finally:
            tree.close()
    simulator.close()
