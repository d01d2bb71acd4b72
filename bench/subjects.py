"""What is measured: mounts of the same files, and the bare protocol beside them."""

import contextlib
import getpass
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.bare import SMALL_WINDOW
from bench.content import KIB, MIB
from bench.processes import Child, Failed, io_bytes, mounted, python
from bench.setup import Setup


@dataclass
class Mounted:
    """A running mount: where its files are, and how many payload bytes were sent for it so far."""

    child: Child
    root: Path  # the directory that holds the files
    sent: Callable[[], int] | None
    ours: bool = False

    def path(self, name: str) -> Path:
        return self.root / name


class Subject:
    name = ""
    color = "#888888"
    line = True  # also measured through the long line

    def missing(self, setup: Setup) -> str | None:
        """Why it cannot be measured here, if so."""
        return None


class MountSubject(Subject):
    ours = False

    def command(self, setup: Setup, mountpoint: Path, line: bool) -> list[str]:
        raise NotImplementedError

    def sent(self, setup: Setup, child: Child) -> Callable[[], int] | None:
        return None

    def root(self, mountpoint: Path) -> Path:
        return mountpoint

    @contextlib.contextmanager
    def mount(self, setup: Setup, line: bool) -> Iterator[Mounted]:
        mountpoint = setup.work / "mnt"
        with mounted(self.command(setup, mountpoint, line), mountpoint, setup.work / "mount.log") as child:
            yield Mounted(child, self.root(mountpoint), self.sent(setup, child), self.ours)


class Ours(MountSubject):
    name = "exportfs"
    color = "#1f77b4"
    ours = True

    def command(self, setup: Setup, mountpoint: Path, line: bool) -> list[str]:
        server = f"127.0.0.1:{setup.port('grpc', line)}"
        options = [*setup.security.mount(), "--cache-size", setup.plan.cache_size, "--foreground"]
        return python("exportfs", "mount", server, str(mountpoint), *options)

    def sent(self, setup: Setup, child: Child) -> Callable[[], int]:
        return lambda: setup.settled()["bytes"]

    def root(self, mountpoint: Path) -> Path:
        # The session's name follows from its id and options; the walk does not care which it is.
        for directory, _, files in os.walk(mountpoint / "sessions"):
            if "big.mp4" in files:
                return Path(directory)
        raise Failed("no result of the bench server is listed under sessions/")


class Trivial(MountSubject):
    name = "trivial pyfuse3, from memory"
    color = "#7f7f7f"
    line = False

    def command(self, setup: Setup, mountpoint: Path, line: bool) -> list[str]:
        return python("bench.trivialfs", str(setup.data), str(mountpoint))


class Bridge(MountSubject):
    """Measured in seeks only, which is all that it is for."""

    name = "shortest bridge, one call a read"
    color = "#9467bd"

    def command(self, setup: Setup, mountpoint: Path, line: bool) -> list[str]:
        port = setup.port("grpc", line)
        return python("bench.bridge", str(setup.data), str(mountpoint), str(port), *setup.security.bare())

    def sent(self, setup: Setup, child: Child) -> Callable[[], int]:
        return lambda: setup.settled()["bytes"]


class Rclone(MountSubject):
    name = "rclone mount"
    color = "#ff7f0e"
    verb = "mount"

    def missing(self, setup: Setup) -> str | None:
        if shutil.which("rclone") is None:
            return "rclone is not installed"
        told = subprocess.run(["rclone", self.verb, "--help"], capture_output=True, text=True, check=False)
        if f"rclone {self.verb} remote:" not in told.stdout:
            return f"this rclone has no {self.verb}"
        return setup.missing.get("nginx")

    def command(self, setup: Setup, mountpoint: Path, line: bool) -> list[str]:
        url = f"http://127.0.0.1:{setup.port('nginx', line)}/"
        own = ["--config", str(setup.work / "rclone.conf"), "--cache-dir", str(setup.work / "rclone")]
        return ["rclone", self.verb, ":http:", str(mountpoint), "--http-url", url, "--read-only", *own]

    def sent(self, setup: Setup, child: Child) -> Callable[[], int]:
        return lambda: io_bytes(setup.helpers["nginx"].pid, "wchar")


class Rclone2(Rclone):
    """With its other FUSE library."""

    name = "rclone mount2"
    color = "#ffbb78"
    verb = "mount2"


class Sshfs(MountSubject):
    def __init__(self, name: str, color: str, *options: str) -> None:
        self.name, self.color = name, color
        self.options = options

    def missing(self, setup: Setup) -> str | None:
        if shutil.which("sshfs") is None:
            return "sshfs is not installed"
        return setup.missing.get("sshd")

    def command(self, setup: Setup, mountpoint: Path, line: bool) -> list[str]:
        options = ["ro", f"IdentityFile={setup.work}/user_key", "StrictHostKeyChecking=no", "BatchMode=yes"]
        options += ["UserKnownHostsFile=/dev/null", "IdentitiesOnly=yes", *self.options]
        source = f"{getpass.getuser()}@127.0.0.1:{setup.data}"
        port = str(setup.port("sshd", line))
        return [
            "sshfs",
            "-f",
            "-F",
            "/dev/null",
            "-p",
            port,
            source,
            str(mountpoint),
            "-o",
            ",".join(options),
        ]

    def sent(self, setup: Setup, child: Child) -> Callable[[], int]:
        # The server forks for each login; what the mount itself takes in from its ssh is the same payload.
        return lambda: own_io_bytes(child.pid, "rchar")


def own_io_bytes(pid: int, field_name: str) -> int:
    for line in Path(f"/proc/{pid}/io").read_text().splitlines():
        if line.startswith(f"{field_name}:"):
            return int(line.split()[1])
    return 0


class Bare(Subject):
    """A Python `DownloadFile` loop without a mount, at one block size."""

    color = "#d62728"

    def __init__(
        self,
        name: str,
        block: int,
        options: list[tuple[str, Any]] | None = None,
        stub: bool = False,
        line: bool = True,
    ) -> None:
        self.name, self.block, self.options, self.stub, self.line = name, block, options or [], stub, line

    def job(self, setup: Setup, line: bool, what: str, **more: Any) -> dict[str, Any]:
        job = {
            "what": what,
            "target": f"127.0.0.1:{setup.port('grpc', line)}",
            "data": str(setup.data),
            "block": self.block,
            "options": self.options,
            "stub": self.stub,
            "tls": setup.security.bare(),
        }
        return job | more


class BareSeek(Bare):
    """Open, read one block, cancel: what a seek costs without a mount."""

    any_offset = False


class BareSeekAnywhere(BareSeek):
    """At the offsets that the mounts are asked for: mostly two blocks."""

    any_offset = True


def run_bare(
    setup: Setup, job: dict[str, Any], beside: dict[str, Any] | None = None
) -> tuple[dict[str, Any], dict[str, int]]:
    """Its result, and the server's counters over just what was timed; while another job is in full swing, if given."""
    with contextlib.ExitStack() as stack:
        other = stack.enter_context(_bare(setup, beside)) if beside else None
        child = stack.enter_context(_bare(setup, job))
        setup.settled()
        setup.server.ask("reset")
        if other is not None:
            other.say("go")
            time.sleep(0.05)
        child.say("go")
        result: dict[str, Any] = json.loads(child.line())
        return result, {} if other is not None else setup.settled()


@contextlib.contextmanager
def _bare(setup: Setup, job: dict[str, Any]) -> Iterator[Child]:
    """Connected, warm, and waiting for its "go"."""
    log = setup.work / f"bare-{job['what']}.log"
    log.write_text("")
    child = Child(python("bench.bare", json.dumps(job)), log, pipes=True)
    try:
        child.line()
        yield child
    finally:
        child.stop()


def all_subjects() -> list[Subject]:
    return [
        Ours(),
        Trivial(),
        Bridge(),
        Bare("bare loop, 256 KiB", 256 * KIB),
        Bare("bare loop, 1 MiB", MIB),
        Bare("bare loop, 2 MiB", 2 * MIB, line=False),
        Bare("bare loop, 1 MiB, generated stubs", MIB, stub=True, line=False),
        BareSeek("bare open, one block, cancel", 64 * KIB),
        BareSeek("bare open, small window", 64 * KIB, options=SMALL_WINDOW),
        BareSeekAnywhere("bare open, small window, any offset", 64 * KIB, options=SMALL_WINDOW),
        Rclone(),
        Rclone2(),
        Sshfs("sshfs", "#2ca02c"),
        Sshfs("sshfs, tuned", "#98df8a", "kernel_cache", "max_conns=4", "Ciphers=aes128-gcm@openssh.com"),
    ]
