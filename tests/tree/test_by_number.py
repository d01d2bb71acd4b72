"""Nodes found by their number alone, as what serves NFS asks for them: after a forgetting, and in a later mount."""

import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from exportfs.errors import Gone
from exportfs.naming import percent_encode
from exportfs.simulator import Simulator, SimulatorServer
from exportfs.vfs.inodes import ROOT
from exportfs.vfs.node import Attributes, Node
from tests.support.harness import CAMERA, InProcessTree, config_for

pytestmark = pytest.mark.promise("T17")


@contextmanager
def mounted(server: SimulatorServer, folder: Path) -> Iterator[InProcessTree]:
    with closing(InProcessTree(config_for(server.address, folder, tls=server.tls))) as tree:
        yield tree


@dataclass(frozen=True)
class Seen:
    """A node and what it showed."""

    node: Node
    attributes: Attributes

    @property
    def ino(self) -> int:
        return self.node.ino

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.attributes.mode)


def look_up(tree: InProcessTree, ino: int, name: str = ".") -> Seen:
    async def looked_up() -> Seen:
        node = await tree.filesystem.lookup(ino, name)
        return Seen(node, node.attributes())

    return trio.from_thread.run(looked_up, trio_token=tree._token)


def update(tree: InProcessTree) -> None:
    """What has changed on the server is known: from a listing asked for now, not from one that was under way."""

    async def updated() -> None:
        await tree.context.catalogue.update(since=trio.current_time())

    trio.from_thread.run(updated, trio_token=tree._token)


def all_nodes(tree: InProcessTree, session_ids: list[str]) -> dict[str, Seen]:
    """Of every kind but those in new/, by path."""
    found: dict[str, Seen] = {}

    def walk(path: str, seen: Seen) -> None:
        found[path] = seen
        if seen.is_directory and path != "new":
            for name in tree.listdir(path):
                walk(f"{path}/{name}".lstrip("/"), look_up(tree, seen.ino, name))

    walk("", look_up(tree, ROOT))
    hidden = [f"sessions/{percent_encode(session_id)}" for session_id in session_ids]
    hidden += [
        f"{path}/.control" for path in list(found) if path.startswith("sessions/") and path.count("/") == 1
    ]
    hidden += ["new/.template.json", ".pages", *(f".pages/{name}" for name in tree.listdir(".pages"))]
    camera = tree.listdir("cameras")[0]
    hidden += [f"cameras/{percent_encode(CAMERA)}", f"cameras/{camera}/footage"]
    for path in hidden:
        seen = look_up(tree, ROOT)
        for part in path.split("/"):
            seen = look_up(tree, seen.ino, part)
        found[path] = seen
    return found


def test_the_same_numbers_lead_to_the_same(
    server: SimulatorServer, simulator: Simulator, tmp_path: Path
) -> None:
    ids = [
        simulator.add_computed(10, 20),
        simulator.add_computed(30),
        simulator.add_computed(succeeded=False),
    ]
    with mounted(server, tmp_path) as first:
        before = all_nodes(first, ids)
        assert len({node.ino for node in before.values()}) == len(before)
    with mounted(server, tmp_path) as tree:
        for path, node in before.items():
            if path.endswith("/footage"):
                continue  # what a name was asked for by no listing tells
            again = look_up(tree, node.ino)
            assert type(again.node) is type(node.node)
            assert (again.ino, again.node.generation) == (node.ino, node.node.generation)
            assert again.attributes.size == node.attributes.size or path.endswith((".json", ".html"))
            assert look_up(tree, node.ino, "..").ino == before[path.rpartition("/")[0]].ino
        # Looked at without being told to the kernel: nothing is kept of it.
        kept = len(tree.context.inodes)
        assert look_up(tree, before["sessions"].ino, tree.listdir("sessions")[0]).ino
        assert len(tree.context.inodes) <= kept + 1


def test_what_the_kernel_forgets_is_found_again(
    server: SimulatorServer, simulator: Simulator, tmp_path: Path
) -> None:
    ids = [simulator.add_computed(10)]
    with mounted(server, tmp_path) as tree:
        found = all_nodes(tree, ids)
        for node in found.values():
            tree.filesystem.looked_up(node.node)
        for node in found.values():
            tree.filesystem.forget(node.ino, 1)
        for path, node in found.items():
            assert (tree.context.inodes.find(node.ino) is None) == (
                len(path.split("/")) > 1 and "new" not in path
            )
            again = look_up(tree, node.ino)
            assert (type(again.node), again.node.generation) == (type(node.node), node.node.generation), path
        footage = next(node for path, node in found.items() if path.endswith("/footage"))
        assert look_up(tree, footage.ino).attributes.size == footage.attributes.size > 0


def test_no_number_leads_to_another_file(
    server: SimulatorServer, simulator: Simulator, tmp_path: Path
) -> None:
    session_id = simulator.add_computed(10, 20)
    simulator.add_computed(40)
    first, second = simulator.files(session_id)
    with mounted(server, tmp_path) as tree:
        before = all_nodes(tree, [session_id])
        by_name = {path.rpartition("/")[2]: node for path, node in before.items()}
        resized, same = by_name[first.path], by_name[second.path]
        assert look_up(tree, resized.ino).ino == resized.ino
        simulator.resize(session_id, first.path, 2000, announce=True)
        update(tree)
        with pytest.raises(Gone):
            look_up(tree, resized.ino)
        assert look_up(tree, same.ino).ino == same.ino
        for number in (0, 17, (1 << 20) + 1, (1 << 62) + 5, (1 << 63) - 1):
            with pytest.raises(Gone):
                look_up(tree, number)
        simulator.sessions.destroy(session_id)
        update(tree)
        for path, node in before.items():
            if path.startswith(f"sessions/{percent_encode(session_id)}"):
                with pytest.raises(Gone):
                    look_up(tree, node.ino)
        with pytest.raises(Gone):
            look_up(tree, same.ino)


def test_the_numbers_of_new_begin_anew(server: SimulatorServer, tmp_path: Path) -> None:
    """With another generation, which the kernel compares."""
    seen = []
    for name in ("one", "two"):
        with mounted(server, tmp_path / name) as tree:
            tree.write("new/note", b"x")
            node = look_up(tree, look_up(tree, ROOT, "new").ino, "note")
            assert look_up(tree, node.ino).node is node.node
            tree.unlink("new/note")
            with pytest.raises(Gone):
                look_up(tree, node.ino)
            seen.append((node.ino, node.node.generation))
    assert seen[0][0] == seen[1][0]
    assert seen[0][1] != seen[1][1]
