"""Real players and viewers on a real mount: open, play from the start, seek to 90 %, seek back.

Run with EXPORTFS_PLAYERS_TABLE=FILE to get the table of docs/performance.md.
"""

import http.server
import json
import os
import queue
import re
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from tests.players.conftest import LIMIT, ROOT, SECONDS, Stage, tool

pytestmark = pytest.mark.mount

VIDEOS = ("front.mp4", "end.mp4", "clip.mkv", "clip.avi")
LATE = 0.9 * SECONDS
KIB, MIB = 1 << 10, 1 << 20
MOST_CALLS = 40
"""A player that seeks twice must not need more."""

MPV_SCRIPT = """
local places = {0.9 * %(seconds)d, 5}
local step = 0
mp.register_event("playback-restart", function()
    step = step + 1
    print("AT " .. mp.get_property("time-pos"))
    if places[step] then mp.commandv("seek", places[step], "absolute") else mp.commandv("quit", 0) end
end)
"""


def most_sent(name: str) -> int:
    """Bytes for a look at the head: ffmpeg reads megabytes of what has no index in front, the frames' too."""
    return MIB if name.endswith(".mp4") else 4 * MIB


def most_of_a_thumbnail(name: str) -> int:
    """Of an MP4 what ffmpegthumbnailer reads, 290 KB, and what of the kernel's read-ahead begins there."""
    return 700 * KIB if name.endswith(".mp4") else most_sent(name)


def close_to(found: float, wanted: float) -> bool:
    """Key frames are two seconds apart."""
    return abs(found - wanted) < 3


@pytest.mark.parametrize("name", VIDEOS)
def test_mpv(stage: Stage, name: str) -> None:
    script = stage.home / "seek.lua"
    script.write_text(MPV_SCRIPT % {"seconds": SECONDS})
    quiet = ["--no-config", "--vo=null", "--ao=null", "--no-input-terminal", "--hwdec=no"]
    done = stage.run(tool("mpv"), *quiet, f"--script={script}", stage.result(name))
    places = [float(place) for place in re.findall(r"AT (\S+)", done.stdout)]
    assert len(places) == 3, done.stdout
    assert all(map(close_to, places, [0, LATE, 5])), places
    cost = stage.count("mpv: start, 90 %, back", name)
    assert cost.calls <= MOST_CALLS


@pytest.mark.parametrize("name", VIDEOS)
def test_ffmpeg_plays_all(stage: Stage, name: str) -> None:
    words = ["-v", "error", "-xerror", "-threads", "1", "-i", stage.result(name), "-map", "0:v", "-c", "copy"]
    done = stage.run(tool("ffmpeg"), "-nostdin", *words, "-f", "framecrc", "-")
    assert done.stderr == ""
    assert len([line for line in done.stdout.splitlines() if line.startswith("0,")]) == SECONDS * 25
    cost = stage.count("ffmpeg: all of it", name)
    assert cost.received <= 1.1 * cost.size
    assert cost.calls <= MOST_CALLS


@pytest.mark.parametrize("name", VIDEOS)
def test_ffmpeg_seeks(stage: Stage, name: str) -> None:
    words = ["-v", "error", "-ss", str(LATE), "-i", stage.result(name), "-frames:v", "5", "-f", "framecrc"]
    done = stage.run(tool("ffmpeg"), "-nostdin", *words, "-an", "-")
    assert len([line for line in done.stdout.splitlines() if line.startswith("0,")]) == 5
    cost = stage.count("ffmpeg: five pictures at 90 %", name)
    assert cost.received < cost.size
    assert cost.calls <= MOST_CALLS


def test_ffplay(stage: Stage) -> None:
    words = ["-v", "info", "-autoexit", "-ss", str(LATE), "-t", "0.2", "-an"]
    done = stage.run(tool("ffplay"), *words, stage.result("end.mp4"))
    assert "Video: h264" in done.stderr  # ffplay exits with 0 even where there is no file
    cost = stage.count("ffplay: 0.2 s at 90 %", "end.mp4")
    assert cost.received < cost.size
    assert cost.calls <= MOST_CALLS


@pytest.mark.parametrize("name", VIDEOS)
def test_vlc(stage: Stage, name: str) -> None:
    path = stage.result(name)
    for start in (0.0, LATE, 5.0):
        shots = Path(tempfile.mkdtemp(dir=stage.home))
        shots.chmod(0o777)
        words = [
            tool("cvlc"),
            "--no-plugins-cache",
            "-I",
            "dummy",
            "--aout=dummy",
            "--vout=dummy",
            "--no-audio",
        ]
        words += ["--video-filter=scene", "--scene-format=jpg", "--scene-ratio=1", f"--scene-path={shots}"]
        words += [f"--start-time={start}", f"--stop-time={start + 0.3}", str(path), "vlc://quit"]
        if ROOT:
            words = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *words]
        stage.run(*words)
        assert list(shots.iterdir())
    cost = stage.count("vlc: start, 90 %, back", name)
    assert cost.calls <= MOST_CALLS


@pytest.mark.parametrize("name", VIDEOS)
def test_gstreamer(stage: Stage, name: str) -> None:
    path = stage.result(name)
    done = stage.run(tool("gst-discoverer-1.0"), "-v", path)
    assert f"Duration: 0:01:0{0 if SECONDS == 60 else ''}" in done.stdout
    assert "Seekable: yes" in done.stdout
    assert re.search(r"[hH]\.?264|avc", done.stdout), done.stdout
    cost = stage.count("gst-discoverer", name)
    assert cost.received < cost.size
    assert cost.calls <= MOST_CALLS


@pytest.mark.parametrize("name", VIDEOS)
def test_thumbnail(stage: Stage, name: str) -> None:
    """As file managers have it made for each video of a folder that is opened."""
    picture = stage.home / f"{name}.png"
    stage.run(tool("ffmpegthumbnailer"), "-i", stage.result(name), "-o", picture, "-s", "256")
    assert picture.read_bytes().startswith(b"\x89PNG")
    cost = stage.count("ffmpegthumbnailer", name)
    assert cost.sent <= most_of_a_thumbnail(name)
    assert cost.calls <= MOST_CALLS


@pytest.mark.parametrize("name", VIDEOS)
def test_head(stage: Stage, name: str) -> None:
    """Programs that only look what a file is."""
    words = ["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"]
    done = stage.run(tool("ffprobe"), *words, stage.result(name))
    assert abs(float(done.stdout) - SECONDS) < 1
    cost = stage.count("ffprobe", name)
    assert cost.sent <= most_sent(name)
    assert stage.run(tool("file"), "--brief", "--mime-type", stage.result(name)).stdout.startswith("video/")
    cost = stage.count("file", name)
    assert cost.calls <= MOST_CALLS
    program = "import sys; sys.stdout.write(str(len(open(sys.argv[1], 'rb').read(4096))))"
    assert stage.run(sys.executable, "-c", program, stage.result(name)).stdout == "4096"
    cost = stage.count("Python's open().read(4096)", name)
    # Its buffer is st_blksize, and the kernel reads ahead.
    assert (cost.calls, cost.sent <= 512 * KIB) == (1, True), cost


PAGE = """<!doctype html><video muted src="%(video)s"></video><script>
const video = document.querySelector("video"), places = [0.9 * %(seconds)d, 5], seen = [];
const tell = text => { new Image().src = "%(listener)s?" + text; };
video.onerror = () => tell("error=" + encodeURIComponent(video.error.message));
video.oncanplay = () => { video.oncanplay = null; video.play(); };
video.ontimeupdate = () => {
    if (video.seeking || video.readyState < 2 || (!seen.length && video.currentTime == 0)) return;
    seen.push(video.currentTime);
    if (places.length) video.currentTime = places.shift();
    else { video.ontimeupdate = null; tell("seen=" + JSON.stringify(seen) + "&width=" + video.videoWidth
        + "&frames=" + video.getVideoPlaybackQuality().totalVideoFrames); }
};
</script>"""


class Listener(http.server.BaseHTTPRequestHandler):
    """Hears from the page."""

    heard: "queue.Queue[dict[str, list[str]]]"

    def do_GET(self) -> None:
        self.send_response(204)
        self.end_headers()
        words = parse_qs(urlsplit(self.path).query)
        if words:
            self.heard.put(words)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.mark.parametrize("name", ["front.mp4", "end.mp4"])
def test_chromium(stage: Stage, name: str) -> None:
    path = stage.result(name)
    heard: queue.Queue[dict[str, list[str]]] = queue.Queue()
    handler = type("Hearing", (Listener,), {"heard": heard})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as listener:
        threading.Thread(target=listener.serve_forever, daemon=True).start()
        page = stage.home / "page.html"
        video = f"file://{quote(str(path))}"
        address = f"http://127.0.0.1:{listener.server_port}/"
        page.write_text(PAGE % {"video": video, "seconds": SECONDS, "listener": address})
        profile = tempfile.mkdtemp(dir=stage.home)
        quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        quiet += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        quiet += ["--disable-dev-shm-usage", "--autoplay-policy=no-user-gesture-required", "--mute-audio"]
        log = stage.home / "chromium.log"
        with log.open("wb") as errors:
            browser = subprocess.Popen(
                [tool("chromium"), *quiet, f"--user-data-dir={profile}", f"file://{page}"],
                stdout=errors,
                stderr=errors,
                env={**os.environ, **stage.environment()},
            )
            try:
                words = heard.get(timeout=LIMIT)
            except queue.Empty:
                raise AssertionError(log.read_text(errors="replace")) from None
            finally:
                browser.terminate()
                browser.wait(LIMIT)
                listener.shutdown()
    assert "error" not in words, words
    places = json.loads(words["seen"][0])
    assert len(places) == 3
    assert words["width"] == ["640"]
    assert all(map(close_to, places, [0, LATE, 5])), places
    cost = stage.count("chromium: start, 90 %, back", name)
    assert cost.calls <= MOST_CALLS


def test_picture(stage: Stage) -> None:
    done = stage.run(tool("identify"), "-verbose", stage.result("picture.jpg"))
    assert "1920x1080" in done.stdout
    cost = stage.count("identify (ImageMagick)", "picture.jpg")
    assert cost.calls <= 2


def test_document(stage: Stage) -> None:
    done = stage.run(tool("pdftotext"), stage.result("picture.pdf"), "-")
    assert done.stderr == ""
    stage.count("pdftotext", "picture.pdf")
    stage.run(tool("pdftoppm"), "-r", "30", "-png", stage.result("picture.pdf"), stage.home / "page")
    assert list(stage.home.glob("page*.png"))
    cost = stage.count("pdftoppm", "picture.pdf")
    assert cost.received <= 1.1 * cost.size
