"""`index.html` of a mount, as a tree sees it."""

import errno
import re
import time

import pytest

from exportfs.naming import percent_encode
from exportfs.simulator import Simulator
from exportfs.vfs.pages.overview import MOST
from exportfs.wire import export
from tests.support.harness import CAMERA, Tree, eventually, expect_denied, expect_errno
from tests.tree.looking import directory, results
from tests.unit.pages.parsing import check_harmless, links, parse, path_of, text_of

INDEX = "index.html"
CLIP = "x/a clip #1? 100%.mp4"


def page_with(tree: Tree, text: str, path: str = INDEX) -> str:
    """Its source, as soon as this stands in it."""
    return str(eventually(lambda: page if text in (page := tree.read(path).decode()) else None))


@pytest.mark.promise("G1", "G3", "T8")
def test_what_it_shows(tree: Tree, simulator: Simulator) -> None:
    kept = simulator.options()
    kept.store_result_by_export_agent = True
    first = simulator.add_computed(3000, 5, names=[CLIP, "x/setup.exe"])
    simulator.files(first)[1].message.mime_type = "application/octet-stream"
    simulator.sessions.find(first).changed()
    paths = [
        directory(tree, session_id)
        for session_id in (
            first,
            simulator.add_computed(10, names=["C:\\kept.mp4"], options=kept),
            simulator.add_computed(succeeded=False),
        )
    ]
    for path in (*paths, "setup.exe<"):
        page_with(tree, path)
    root = parse(tree.read(INDEX))
    check_harmless(root)
    text = " ".join(text_of(root).split())
    for said in ("3 exports", "2 completed, 1 failed", "a clip #1_ 100%.mp4 (2.9 KiB)", CAMERA):
        assert said in text
    assert "kept.mp4 (10 B): not on the server but at C:\\kept.mp4" in text
    assert "This is a program for Windows" in text
    assert "the export did not succeed; there are no results" in text
    targets = [path_of(link).decode() for _, link in links(root) if not link.startswith("#")]
    for target in targets:
        tree.stat(target.rstrip("/"))
    (video,) = root.iter("video")
    assert video.attrib["preload"] == "none"
    assert tree.stat(path_of(video.attrib["src"]).decode()).st_size == 3000
    assert [name for name in results(tree, paths[0]) if f"{paths[0]}/{name}" in targets]


@pytest.mark.promise("G1", "E4")
def test_it_costs_the_server_nothing(tree: Tree, simulator: Simulator) -> None:
    page_with(tree, directory(tree, simulator.add_computed(1000)))
    simulator.log.clear()
    for _ in range(20):
        tree.stat(INDEX)
        tree.read(INDEX)
    asked = simulator.log.counts()
    assert set(asked) <= {"ListSessions"}  # which comes by itself


@pytest.mark.promise("G4", "T8")
def test_size_and_time_are_those_of_the_text(tree: Tree, simulator: Simulator) -> None:
    first = directory(tree, simulator.add_computed(1000))
    page_with(tree, first)
    before = tree.stat(INDEX)
    assert before.st_size == len(tree.read(INDEX))
    listings = simulator.log.count("ListSessions")
    eventually(lambda: simulator.log.count("ListSessions") > listings + 3)
    again = tree.stat(INDEX)
    assert (again.st_mtime_ns, again.st_size) == (before.st_mtime_ns, before.st_size)
    second = directory(tree, simulator.add_computed(1000))
    page_with(tree, second)
    after = tree.stat(INDEX)
    assert after.st_size == len(tree.read(INDEX))
    assert after.st_mtime_ns >= before.st_mtime_ns + 10**9
    assert after.st_mtime <= time.time() + 10


@pytest.mark.promise("G5")
def test_refreshes_only_with_running_exports(tree: Tree, simulator: Simulator) -> None:
    page_with(tree, directory(tree, simulator.add_computed(1000)))
    assert "refresh" not in tree.read(INDEX).decode()
    live = export.Options(live=export.LiveMode(sources=[export.LiveMode.Source(origin=CAMERA)]))
    live.stream.format = export.StreamType.MKV
    running = simulator.sessions.start(live)
    page = page_with(tree, "1 running")
    (meta,) = [m for m in parse(page.encode()).iter("meta") if m.attrib.get("http-equiv") == "refresh"]
    assert meta.attrib["content"] == "10"  # no address: itself
    assert "<progress " in page
    assert 'http-equiv="refresh"' not in tree.read(".pages/still.html").decode()
    check_harmless(parse(tree.read(".pages/still.html")))
    simulator.sessions.stop(running)
    eventually(lambda: b"refresh" not in tree.read(INDEX))


@pytest.mark.promise("G2", "G3", "T1")
def test_many_sessions(tree: Tree, simulator: Simulator) -> None:
    old = simulator.options()
    old.archive.start_timestamp, old.archive.end_timestamp = "20260420T120000", "20260420T120010"
    ids = [simulator.add_computed(1000, options=old) for _ in range(MOST + 3)]
    newest = directory(tree, simulator.add_computed(1000))
    page = page_with(tree, f"{MOST + 4} exports")
    root = parse(page.encode())
    assert len(list(root.iter("article"))) == MOST
    first = next(iter(root.iter("article")))
    assert first.attrib["id"] == f"s-{percent_encode(newest.removeprefix('sessions/'))}"
    assert re.search(rf"This page shows {MOST} of {MOST + 4} exports", text_of(root))
    assert ".pages" not in tree.listdir("")
    assert sorted(tree.listdir(".pages"))[0] == "2026-04-20.2.html"
    further = [path_of(link).decode() for _, link in links(root) if link.startswith(".pages/2026")]
    shown: list[str] = []
    for path in further:
        day = parse(tree.read(path))
        check_harmless(day)
        assert tree.stat(path).st_size == len(tree.read(path))
        shown += [article.attrib["id"] for article in day.iter("article")]
        folders = [path_of(link).decode() for _, link in links(day) if link.startswith("../sessions/")]
        tree.stat(folders[1].removeprefix("../").rstrip("/"))
    everything = {*shown, *(article.attrib["id"] for article in root.iter("article"))}
    assert len(everything) == len(ids) + 1
    expect_errno(errno.ENOENT, tree.stat, ".pages/2026-04-21.html")
    expect_errno(errno.ENOENT, tree.stat, ".pages/x.html")
    for name in (INDEX, ".pages/still.html", ".pages/other"):
        expect_denied(tree.write, name, b"x")


@pytest.mark.promise("G2")
def test_results_beyond_fifty_are_in_the_folder(tree: Tree, simulator: Simulator) -> None:
    page = page_with(tree, directory(tree, simulator.add_computed(*[10] * 60)))
    assert len(list(parse(page.encode()).iter("video"))) == 50
    assert "10 more" in page
