"""A mount that everybody may look into, media made by ffmpeg, and a count of what each program costs the server."""

import contextlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from exportfs.simulator import Config, Held, LoginConfig, MediaConfig, Simulator, SimulatorServer, stored
from exportfs.simulator.media.footage import MIME_TYPES, Footage, render
from tests.support.harness import MountProcess, eventually

SECONDS = 60
"""Of each video."""
REPEATED = 10
"""Times that a video shows the same pictures."""
LIMIT = 60.0
"""Seconds after which a program that does not end has failed."""
ROOT = os.geteuid() == 0


def tool(name: str) -> str:
    """The program; the test fails where it is missing. `make test` installs PLAYER_PACKAGES."""
    path = shutil.which(name)
    assert path is not None, f"{name} is missing: `make test` installs what the tests need"
    return path


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The same minute of video with sound in four containers, a picture and a document."""
    folder = tmp_path_factory.mktemp("media")
    ffmpeg = [tool("ffmpeg"), "-v", "error", "-y"]
    picture = ["-f", "lavfi", "-i", f"testsrc2=s=640x360:r=25:d={SECONDS // REPEATED}"]
    picture += ["-vf", "noise=alls=40:allf=t"]
    codec = ["-c:v", "libx264", "-preset", "ultrafast", "-qp", "43", "-g", "50", "-pix_fmt", "yuv420p"]
    sound = ["-f", "lavfi", "-i", f"sine=f=440:d={SECONDS}", "-c:a", "aac"]
    once, end = folder / "once.mp4", folder / "end.mp4"
    # Encoding is dear: the pictures are those of some seconds again and again, at 4 Mbit/s.
    subprocess.run([*ffmpeg, *picture, *codec, once], check=True)
    again = ["-stream_loop", str(REPEATED - 1), "-i", str(once)]
    subprocess.run(
        [*ffmpeg, *again, *sound[:4], "-map", "0:v", "-map", "1:a", "-c:v", "copy", *sound[4:], end],
        check=True,
    )
    once.unlink()
    for name, options in (("front.mp4", ["-movflags", "+faststart"]), ("clip.mkv", []), ("clip.avi", [])):
        subprocess.run([*ffmpeg, "-i", end, "-c", "copy", *options, folder / name], check=True)
    made = {path.name: path.read_bytes() for path in folder.iterdir()}
    config = MediaConfig(width=1920, height=1080)
    for kind in ("jpg", "pdf"):
        made[f"picture.{kind}"] = render(Footage(("hosts/Server/Camera",), 0.0, 0.0, kind), config).data
    return made


@dataclass
class Cost:
    """What one look at a file cost the server."""

    program: str
    file: str
    size: int
    calls: int
    sent: int
    """Bytes that the server handed to its transport: a download that is ended early loses some on the way."""
    received: int
    """Bytes of blocks that arrived in the mount."""


@dataclass
class Stage:
    """A mount with one session for each look, so that no cache of an earlier one helps."""

    simulator: Simulator
    mount: MountProcess
    media: dict[str, bytes]
    home: Path
    """Where programs may write; of everybody."""
    costs: list[Cost] = field(default_factory=list)
    before: int = 0

    def received(self) -> int:
        status = json.loads((self.mount.mountpoint / ".status.json").read_bytes())
        return int(status["downloads"]["bytes"])

    def result(self, name: str) -> Path:
        """A result of its own with this content."""
        simulator, kind = self.simulator, name.rpartition(".")[2]
        file = stored(name, Held(self.media[name]), mime_type=MIME_TYPES[kind])
        session = simulator.sessions.add(simulator.options(), [file], expires=False)
        path = self.mount.mountpoint / "sessions" / session.replace("/", "%2F") / name
        eventually(path.exists)
        simulator.log.clear()
        self.before = self.received()
        return path

    def count(self, program: str, name: str) -> Cost:
        """What was asked of the server since `result`."""
        log, size = self.simulator.log, len(self.media[name])
        cost = Cost(
            program, name, size, log.count("DownloadFile"), log.bytes_sent(), self.received() - self.before
        )
        self.costs.append(cost)
        return cost

    def run(
        self, *words: object, input: str | None = None, env: dict[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Runs a program without display and sound, with a home of its own."""
        surroundings = {**os.environ, **self.environment(), **(env or {})}
        done = subprocess.run(
            list(map(str, words)),
            input=input,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            timeout=LIMIT,
            env=surroundings,
        )
        assert done.returncode == 0, f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def environment(self) -> dict[str, str]:
        return {
            "HOME": str(self.home),
            "XDG_RUNTIME_DIR": str(self.home),
            "XDG_CACHE_HOME": str(self.home / "cache"),
            "XDG_CONFIG_HOME": str(self.home / "config"),
            "SDL_VIDEODRIVER": "dummy",
            "SDL_AUDIODRIVER": "dummy",
        }


@pytest.fixture(scope="session")
def stage(media: dict[str, bytes]) -> Iterator[Stage]:
    """Not below tmp_path, which nobody but its owner may enter: VLC refuses to run as root, and runs as nobody."""
    simulator = Simulator(Config(login=LoginConfig(required=False)))
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="exportfs-players-")))
        folder.chmod(0o755)
        home = folder / "home"
        home.mkdir()
        home.chmod(0o777)
        stack.callback(simulator.close)
        server = stack.enter_context(SimulatorServer(simulator))
        mount = MountProcess(
            server.address, folder, "--insecure", "--refresh", "0.2", *(["--allow-other"] if ROOT else [])
        )
        stack.callback(mount.clean_up)
        stage = Stage(simulator, mount.start(), media, home)
        yield stage
        mount.check_log()
        wanted = os.environ.get("EXPORTFS_PLAYERS_TABLE")
        if wanted:
            Path(wanted).write_text(table(stage.costs))


def table(costs: list[Cost]) -> str:
    """For docs/performance.md."""
    lines = ["| program | file | size | DownloadFile calls | bytes received | share | bytes sent |"]
    lines += ["| --- | --- | --: | --: | --: | --: | --: |"]
    for cost in costs:
        numbers = f"{cost.size:,} | {cost.calls} | {cost.received:,} | {cost.received / cost.size:.0%} | {cost.sent:,}"
        lines.append(f"| {cost.program} | {cost.file} | {numbers} |")
    return "\n".join(lines) + "\n"
