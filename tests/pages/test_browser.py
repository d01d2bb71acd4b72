"""Pages in Chromium, from real mounts."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from exportfs.pages.report import CopiedSession, SignatureView, report_page, several_page
from exportfs.simulator import Config, Held, LoginConfig, MediaConfig, Simulator, SimulatorServer, stored
from exportfs.simulator.media.footage import Footage, render
from exportfs.wire import export
from tests.pages.browser import Browser, chromium
from tests.players.conftest import tool
from tests.support.harness import CAMERA, MountProcess, eventually

pytestmark = pytest.mark.mount

SECONDS = 20
"""Of each video."""
AXE = Path(__file__).parent / "node" / "node_modules" / "axe-core" / "axe.min.js"
REFRESHES = "meta-refresh"
"""Axe's rule against pages that show themselves anew: those with running exports have to, and can be held still."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def media() -> dict[str, bytes]:
    config = MediaConfig(width=640, height=360)
    make = partial(Footage, (CAMERA,), 1_778_486_400.0)
    return {
        "clip.mp4": render(make(1_778_486_400.0 + SECONDS, "mp4", "h264"), config).data,
        "still.jpg": render(make(1_778_486_400.0, "jpg"), config).data,
        "paper.pdf": render(make(1_778_486_400.0, "pdf"), config).data,
    }


@pytest.fixture
def mount(media: dict[str, bytes], start_mount: Any, simulator: Simulator) -> MountProcess:
    """With a session of a video, a picture and a document, whose names are not easy."""
    for name, data in media.items():
        kind = {"mp4": "video/mp4", "jpg": "image/jpeg", "pdf": "application/pdf"}[name[-3:]]
        file = stored(f"x/50% #1 <b>'\"& {name}", Held(data), mime_type=kind)
        simulator.sessions.add(simulator.options(), [file], expires=False)
    mount: MountProcess = start_mount()
    return mount


def violations(browser: Browser, *, but: tuple[str, ...] = ()) -> list[str]:
    """What axe-core finds on the page that is open."""
    assert AXE.exists(), "axe-core is missing: `make test` installs it"
    browser.evaluate(AXE.read_text() + "; 0")
    found: list[dict[str, Any]] = browser.evaluate("axe.run().then(done => done.violations)")
    return [f"{one['id']}: {one['nodes'][0]['html']}" for one in found if one["id"] not in but]


PLAY = """new Promise((done, failed) => {
    const video = document.querySelector("video"), seen = [];
    video.closest("details").open = true;
    video.onerror = () => failed(video.error.message);
    video.muted = true;
    video.ontimeupdate = () => {
        if (video.seeking || !video.currentTime) return;
        seen.push(video.currentTime);
        if (seen.length == 1) video.currentTime = 15;
        else { video.pause(); done([...seen, video.videoWidth]); }
    };
    video.play().catch(failed);
})"""
PICTURE = """new Promise(done => {
    const picture = document.querySelector("img");
    picture.closest("details").open = true;
    picture.scrollIntoView();
    if (picture.complete && picture.naturalWidth) done(picture.naturalWidth);
    picture.onload = () => done(picture.naturalWidth);
})"""


@pytest.mark.promise("G1", "G3", "G5")
def test_plays_seeks_and_shows(mount: MountProcess, browser: Browser, simulator: Simulator) -> None:
    simulator.log.clear()
    browser.show()
    browser.open(mount.mountpoint / "index.html")
    assert simulator.log.count("DownloadFile") == 0
    start, later, width = browser.evaluate(PLAY)
    assert start < 10
    assert abs(later - 15) < 3
    assert width == 640
    assert browser.evaluate(PICTURE) == 640
    address = browser.evaluate("[...document.links].find(link => link.href.endsWith('paper.pdf')).href")
    assert all(asked.startswith(("file:", "data:")) for asked in browser.asked), browser.asked
    browser.open(address)
    assert browser.dialogs == []


@pytest.mark.promise("G3")
def test_works_in_a_copy(mount: MountProcess, browser: Browser, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(mount.mountpoint, copy, symlinks=True)
    browser.open(copy / "index.html")
    assert browser.evaluate(PLAY)[2] == 640
    assert browser.evaluate(PICTURE) == 640


@pytest.mark.promise("G5")
def test_follows_running_exports(mount: MountProcess, browser: Browser, simulator: Simulator) -> None:
    live = export.Options(live=export.LiveMode(sources=[export.LiveMode.Source(origin=CAMERA)]))
    live.stream.format = export.StreamType.MKV
    running = simulator.sessions.start(live)
    index = mount.mountpoint / "index.html"
    eventually(lambda: "1 running" in index.read_text())
    browser.open(index)
    assert browser.evaluate("document.querySelectorAll('progress').length") == 1
    assert violations(browser, but=(REFRESHES,)) == []
    simulator.sessions.stop(running)
    eventually(lambda: "1 running" not in index.read_text())
    # The page may have refreshed itself already, while axe looked or before a listing came.
    for _ in range(3):
        browser.wait_for("Page.loadEventFired")  # which nobody asked for but the page
        if browser.evaluate("document.querySelectorAll('progress').length") == 0:
            break
    else:
        pytest.fail("the page still shows a running export")


@pytest.mark.promise("G5")
def test_the_first_view_reads_next_to_nothing(browser: Browser, tmp_path: Path) -> None:
    simulator = Simulator(Config(login=LoginConfig(required=False)))
    simulator.add_many(200, 50 << 20)
    with SimulatorServer(simulator) as server:
        mount = MountProcess(server.address, tmp_path, "--insecure").start()
        try:
            simulator.log.clear()
            browser.open(mount.mountpoint / "index.html")
            assert browser.evaluate("document.querySelectorAll('video').length") == 200
            browser.evaluate("window.scrollTo(0, document.body.scrollHeight)")
            browser.picture()
            assert simulator.log.bytes_sent() < 1_000_000
            assert set(simulator.log.counts()) <= {"ListSessions"}
        finally:
            mount.clean_up()
    simulator.close()


@pytest.mark.promise("G1")
def test_for_everybody(mount: MountProcess, browser: Browser, simulator: Simulator) -> None:
    """Axe finds nothing, in both colour schemes; it fits a phone; the keyboard opens a list of results."""
    kept = simulator.options()
    kept.store_result_by_export_agent = True
    simulator.add_computed(10, names=["C:\\kept.mp4"], options=kept)
    simulator.add_computed(succeeded=False)
    index = mount.mountpoint / "index.html"
    eventually(lambda: "5 exports" in index.read_text())
    for scheme in ("light", "dark"):
        browser.show(scheme=scheme)
        browser.open(index)
        browser.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        assert violations(browser) == []
    browser.show(360, 740, mobile=True)
    browser.open(index)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 360
    for _ in range(30):
        browser.press("Tab")
        if browser.evaluate("document.activeElement.tagName") == "SUMMARY":
            break
    browser.press("Enter")
    assert browser.evaluate("document.activeElement.closest('details').open")
    browser.show()
    assert browser.pdf().startswith(b"%PDF")


@pytest.mark.promise("G6")
def test_report(browser: Browser, media: dict[str, bytes], tmp_path: Path) -> None:
    """Names that are not easy play from a folder; axe finds nothing; it fits a phone, and prints all of it."""
    manifest: dict[str, Any] = {
        "server": "vms:20109",
        "tool": "axxon-exportfs",
        "session": {
            "id": "hosts/S/1",
            "name": "one",
            "state": "completed",
            "error": None,
            "options": {"archive": {"sources": [{"origin": CAMERA}], "startTimestamp": "20260511T080411"}},
            "cameras": ["1.<Gate> & 'yard'"],
            "coverage": {"share": 0.5, "warnings": ["half is missing"], "note": None, "gaps": []},
        },
        "files": [],
        "not_copied": [{"name": "x.mp4", "size": 5, "reason": "not on the server", "location": "D:\\x.mp4"}],
    }
    folder = tmp_path / "case 100% #1?"
    folder.mkdir()
    for name, data in media.items():
        hard = f"50% #1? a;b&c='d' {name}"
        (folder / hard).write_bytes(data)
        manifest["files"].append({"name": hard, "size": len(data), "sha256": "0" * 64})
    report = folder / "report.html"
    signature = SignatureView("ssh", "SHA256SUMS.sig", "SHA256:x", "a@b", "ssh-ed25519 AAAA")
    report.write_bytes(report_page(manifest, json.dumps(manifest), signature=signature))
    copied = CopiedSession("a", ("a", "report.html"), manifest, "0" * 64)
    index = tmp_path / "index.html"
    index.write_bytes(several_page([copied, copied]))
    browser.show()
    browser.open(report)
    start, later, width = browser.evaluate(PLAY.replace('video.closest("details").open = true;', ""))
    assert (start < 10, abs(later - 15) < 3, width) == (True, True, 640)
    assert browser.evaluate(PICTURE.replace('picture.closest("details").open = true;', "")) == 640
    assert all(asked.startswith(("file:", "data:")) for asked in browser.asked), browser.asked
    paper = tmp_path / "paper.pdf"
    paper.write_bytes(browser.pdf())
    printed = subprocess.run(
        [tool("pdftotext"), paper, "-"], check=True, capture_output=True, text=True
    ).stdout
    for said in ("Not copied: 1 file", "half is missing", "Get-FileHash", "50% #1? a;b&c='d' clip.mp4"):
        assert said in printed
    for page in (report, index):
        for scheme in ("light", "dark"):
            browser.show(scheme=scheme)
            browser.open(page)
            assert violations(browser) == []
        browser.show(360, 740, mobile=True)
        browser.open(page)
        assert browser.evaluate("document.documentElement.scrollWidth") <= 360
