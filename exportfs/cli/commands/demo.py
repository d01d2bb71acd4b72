"""`demo`: simulator, mount and a first export, each step a process of its own as an analyst would run it."""

import contextlib
import hashlib
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import av
import click

from exportfs.cli.install.files import our_command
from exportfs.cli.params.quantities import FILE
from exportfs.errors import ExportfsError
from exportfs.program import PROGRAM, quoted

CAMERA = "hosts/Server/DeviceIpint.1/SourceEndpoint.video:0:0"
LONGEST_WAIT = 60.0
"""Seconds for any one step."""
OURS = [sys.executable, "-m", "exportfs"]


@click.command()
@click.argument("mountpoint", metavar="[MOUNTPOINT]", required=False, type=FILE)
def demo(mountpoint: Path | None) -> None:
    """Simulator, mount and a first export, in one go.

    On a terminal the mount stays until Ctrl-C; otherwise everything is removed at the end.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="axxon-exportfs-demo-")))
        place = mountpoint or folder / "mount"
        stack.enter_context(mount_point(place))
        simulator = stack.enter_context(_simulator(folder))
        say(f"An export server (simulated, TLS, with login) runs at {simulator.address}.")
        stack.enter_context(_mounted(simulator, folder, place))
        say(f"It is mounted at {place}:")
        _show(place)
        session = _export(place)
        copy = _copy_and_verify(simulator, session, folder)
        _play(copy)
        _try_next(place, session, folder)
        if sys.stdin.isatty() and sys.stdout.isatty():
            say("The mount stays until you press Ctrl-C.")
            with contextlib.suppress(KeyboardInterrupt):
                signal.pause()
    say("Everything is cleaned up.")


def say(text: str) -> None:
    click.echo(text)
    sys.stdout.flush()


@contextlib.contextmanager
def mount_point(place: Path) -> Iterator[None]:
    """The mount point and what leads to it; what had to be made is removed at the end, unless something is in it."""
    made = [path for path in (place, *place.parents) if not path.exists()]
    with contextlib.suppress(FileExistsError):  # which `mount` has words for
        place.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            for path in made:
                path.rmdir()


class Simulator:
    """The simulator's process, spoken to in lines of JSON."""

    def __init__(self, process: "subprocess.Popen[str]", ready: dict[str, Any]) -> None:
        self.process = process
        self.address = str(ready["address"])
        self.ca_file = str(ready["ca_file"])
        self.name = str(ready["tls_server_name"])

    def ask(self, **command: object) -> dict[str, Any]:
        """One command and its answer. Raises ExportfsError where the simulator refuses it."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline() or "{}")
        if not answer.get("ok"):
            raise ExportfsError(f"the simulator refused: {answer.get('error', 'it has ended')}")
        return answer


@contextlib.contextmanager
def _simulator(folder: Path) -> Iterator[Simulator]:
    command = [
        *OURS,
        "simulate",
        "--json",
        "--control",
        "--export-seconds",
        "3",
        "--directory",
        os.fspath(folder / "tls"),
    ]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise ExportfsError("the simulator did not start; what it says stands above")
        yield Simulator(process, json.loads(line))
    finally:
        process.terminate()
        process.wait(LONGEST_WAIT)


@contextlib.contextmanager
def _mounted(simulator: Simulator, folder: Path, place: Path) -> Iterator[None]:
    secret = folder / "password"
    secret.touch(mode=0o600)
    secret.write_text("demo\n")
    command = [
        *OURS,
        "mount",
        simulator.address,
        os.fspath(place),
        "--user",
        "demo",
        "--password-file",
        os.fspath(secret),
    ]
    command += ["--ca-file", simulator.ca_file, "--tls-server-name", simulator.name]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=LONGEST_WAIT)
    if result.returncode != 0:
        raise ExportfsError(result.stderr.strip().removeprefix(f"{PROGRAM}: "))
    try:
        yield
    finally:
        subprocess.run([*OURS, "umount", "--lazy", os.fspath(place)], check=False, timeout=LONGEST_WAIT)


def _show(place: Path) -> None:
    for entry in sorted(place.iterdir()):
        say(f"    {entry.name}{'/' if entry.is_dir() else ''}")


def _export(place: Path) -> Path:
    """Drops a request into new/ and waits for its session to complete."""
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
    request = {
        "archive": {
            "sources": [{"origin": CAMERA}],
            "startTimestamp": start.isoformat(),
            "endTimestamp": (start + timedelta(seconds=20)).isoformat(),
        },
        "stream": {"format": "MP4"},
    }
    say(f"A request is written to {place / 'new' / 'first.json'}: 20 seconds of one camera, as MP4.")
    (place / "new" / "first.json").write_text(json.dumps(request, indent=2))
    session: Path = (place / "new" / "first").resolve()
    deadline = time.monotonic() + LONGEST_WAIT
    shown = ""
    while True:
        record = json.loads((session / ".session.json").read_text())
        percent = f"{record['progress'] or 0:.0%}"
        if percent != shown:
            say(f"    {record['state']} {percent}")
            shown = percent
        if record["state"] == "completed":
            return session
        if record["state"] != "running" or time.monotonic() > deadline:
            raise ExportfsError(f"the export is {record['state']}: {record['error'] or 'it took too long'}")
        time.sleep(0.2)


def _copy_and_verify(simulator: Simulator, session: Path, folder: Path) -> Path:
    """Copies the result with cp and compares it with what the simulator holds."""
    record = json.loads((session / ".session.json").read_text())
    file = record["files"][0]
    copy: Path = folder / file["name"]
    subprocess.run(
        ["cp", "--", os.fspath(session / file["name"]), os.fspath(copy)], check=True, timeout=LONGEST_WAIT
    )
    ours = hashlib.sha256(copy.read_bytes()).hexdigest()
    theirs = simulator.ask(do="digest", session=record["id"], file=file["file_id"])
    if (copy.stat().st_size, ours) != (theirs["size"], theirs["sha256"]):
        raise ExportfsError(f"the copy {copy} is not what the server holds")
    say(
        f"cp copied {file['name']}, {copy.stat().st_size} bytes, the same as on the server (SHA-256 {ours[:16]}...)."
    )
    return copy


def _play(copy: Path) -> None:
    """Decodes every frame."""
    with av.open(os.fspath(copy)) as container:
        frames = sum(1 for _ in container.decode(video=0))
        codec = container.streams.video[0].codec_context.name
    if not frames:
        raise ExportfsError(f"{copy} holds no pictures")
    player = next((name for name in ("mpv", "vlc", "ffplay") if shutil.which(name)), "mpv")
    say(f"A decoder played all {frames} pictures of it ({codec}). To see them: {player} {quoted(copy)}")


def _try_next(place: Path, session: Path, folder: Path) -> None:
    say("\nTo try next, in another terminal:")
    for line in hints(place, session, folder):
        say(f"    {line}")
    say("")


def hints(place: Path, session: Path, folder: Path) -> list[str]:
    """Lines to paste into a shell as they stand, whatever PATH and the names hold. `folder`: for a file of theirs."""
    place, mine = place.absolute(), folder / "my.json"
    known = shutil.which(PROGRAM)
    ours = our_command()
    program = PROGRAM if known and os.path.realpath(known) == os.path.realpath(ours[0]) else shlex.join(ours)
    return [
        f"ls -l {quoted(place)}/sessions/*",
        f"cat {quoted(session / '.session.json')}",
        f"cp {quoted(place / 'new' / '.template.json')} {quoted(mine)}",
        f"cp {quoted(mine)} {quoted(place / 'new')}/ && ls -l {quoted(place / 'new')}",
        f"{program} export {quoted(place)} --camera {CAMERA} --duration 10s --format mkv --wait",
        f"{program} status {quoted(place)}",
        f"echo destroy > {quoted(session / '.control')}",
    ]
