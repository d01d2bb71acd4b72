"""A server that starts anew and gives an id again: no request gets the export of another."""

import json
import os
import subprocess
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import trio

from exportfs.model import OptionsSummary
from exportfs.sessions.journal_file import JournalFile
from exportfs.sessions.ledger import Put, Record
from exportfs.sessions.outline import is_another, outline
from exportfs.simulator import Simulator
from tests.conftest import MountFactory
from tests.support.fake_server import FakeServer
from tests.support.harness import ARCHIVE_REQUEST, MountProcess, eventually
from tests.tree.new.on_a_clock import Begin, look, play, write
from tests.tree.new.test_exactly_once_model import CONTENTS, OPTIONS, Mounted

pytestmark = pytest.mark.promise("W3", "W5")
GOOD = json.dumps(ARCHIVE_REQUEST).encode()
AGAIN = "hosts/Server/0"
APPEARS = 90
"""Seconds after which a session that no list has is gone."""


async def write_other(mounted: Mounted, name: str) -> None:
    _, handle = await mounted.new.create(name, 0o644, os.O_WRONLY)
    await handle.write(0, CONTENTS[2])
    await handle.flush()
    await handle.release()


async def write_again(mounted: Mounted, name: str) -> None:
    file = mounted.new.file(name)
    assert file is not None
    handle = await file.open(os.O_WRONLY | os.O_TRUNC)
    await handle.write(0, CONTENTS[1])
    await handle.flush()
    await handle.release()


@pytest.mark.parametrize("remount", [False, True])
@pytest.mark.parametrize("destroyed", [False, True])
def test_to_another_request_of_ours(remount: bool, destroyed: bool, tmp_path: Path) -> None:
    server = FakeServer(delay=0.01)

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        mounted = await begin()
        await write(mounted, "a.json")
        del server.sessions[AGAIN]
        if destroyed:
            mounted.catalogue.destroyed(AGAIN)
            mounted.ledger.records.destroyed(AGAIN)
        await look(mounted, APPEARS)
        server.started.clear()  # it counts from the beginning
        await write_other(mounted, "b.json")
        assert mounted.ledger.links == {"b": AGAIN}
        assert not any(record.destroyed for record in mounted.ledger.records.all)
        if remount:
            mounted = await begin()
            assert mounted.ledger.links == {"b": AGAIN}
            await write(mounted, "a.json")
        else:
            await write_again(mounted, "a.json")
        assert server.started == [OPTIONS[2], OPTIONS[1]]
        assert mounted.ledger.links == {"a": "hosts/Server/1", "b": AGAIN}

    play(server, tmp_path, story)


def test_to_the_session_of_a_lost_answer(tmp_path: Path) -> None:
    """It was not found, being another's, and the request was given up: the same again started a second export."""
    server = FakeServer(delay=0.01)

    async def story(nursery: trio.Nursery, begin: Begin) -> None:
        earlier = Record("old", "old.json", "f", False, "True video 0 hosts/X/Y/Z", (), AGAIN, at=time.time())
        JournalFile(tmp_path / "journal").append([Put(earlier)])
        mounted = await begin()
        assert mounted.ledger.records.session_ids() == {AGAIN}
        server.starts = iter(["lost after"])
        await write(mounted, "a.json")
        assert mounted.ledger.links == {"a": AGAIN}
        assert [record.name for record in mounted.ledger.records.all] == ["a.json"]

    play(server, tmp_path, story)


def killed(mount: MountProcess, replaced: Callable[[], None]) -> None:
    mount.kill()
    subprocess.run(["fusermount3", "-u", "-z", mount.mountpoint], check=True)
    replaced()
    mount.start()


def served(mount: MountProcess, replaced: Callable[[], None]) -> None:
    replaced()


@pytest.mark.mount
@pytest.mark.parametrize("meanwhile", [killed, served])
def test_to_somebody_else_s(
    start_mount: MountFactory,
    simulator: Simulator,
    meanwhile: Callable[[MountProcess, Callable[[], None]], None],
) -> None:
    """The link led to another's footage, and the same request was given it."""
    mount = start_mount()
    mount.tree.write("new/a.json", GOOD)
    (session_id,) = simulator.sessions.ids()
    first = mount.tree.readlink("new/a")

    def replaced() -> None:
        simulator.sessions.destroy(session_id)
        other = simulator.options()
        other.archive.start_timestamp, other.archive.end_timestamp = "20260512T080411", "20260512T080421"
        simulator.add_computed(1 << 20, seed="another", session_id=session_id, options=other)

    meanwhile(mount, replaced)
    eventually(lambda: "a" not in mount.tree.listdir("new"))
    assert simulator.log.count("StartSession") == 1
    mount.tree.write("new/a.json", GOOD)
    assert simulator.log.count("StartSession") == 2
    assert mount.tree.readlink("new/a") != first
    directory = mount.tree.readlink("new/a").removeprefix("../")
    record = json.loads(mount.tree.read(f"{directory}/.session.json"))
    assert record["id"] != session_id
    assert record["options"]["archive"]["startTimestamp"].startswith("20260511T080411")


SENT = OptionsSummary(
    stream=True,
    live=False,
    kind="mp4",
    origin="hosts/S/D.1/V:0:0",
    start="20260511T080411",
    end="20260511T090000",
)


@pytest.mark.parametrize(
    ("changes", "another"),
    [
        ({}, False),
        ({"start": "20260511T080411.000"}, False),
        ({"start": "20260511T080411.5"}, False),
        ({"end": "20260511T085959"}, False),
        ({"kind": "mkv"}, False),
        ({"origin": ""}, False),
        ({"start": ""}, False),
        ({"start": "20260511T080412"}, False),
        ({"start": "20260511T081411"}, False),
        ({"start": "20260511T081412"}, True),
        ({"start": "20260511T075410"}, True),
        ({"origin": "hosts/S/D.2/V:0:0"}, True),
        ({"origin": "hosts/S/D.1/V:0:0 2"}, True),
        ({"more_origins": 1}, True),
        ({"live": True}, True),
    ],
)
def test_what_a_server_may_write_otherwise(changes: dict[str, object], another: bool) -> None:
    """Taken for another's, it would be asked for again."""
    assert is_another(outline(SENT), replace(SENT, **changes)) is another  # type: ignore[arg-type] # of any field


def test_a_name_that_the_server_has_looked_up() -> None:
    sent = replace(SENT, origin="Gate north")
    assert not is_another(outline(sent), SENT)
    assert not is_another(outline(sent), replace(SENT, start="20260512T080411"))


def test_a_record_of_an_earlier_version() -> None:
    """Without an interval."""
    assert not is_another("False mp4 0 hosts/S/D.1/V:0:0", SENT)
    assert is_another("False mp4 0 hosts/S/D.3/V:0:0", SENT)
