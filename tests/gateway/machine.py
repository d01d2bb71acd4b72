"""A gateway: a machine within this one, with system folders, a network and users of its own, of which nothing stays.

So the configurations of docs/gateway.md are run as they stand there, on the ports and in the folders that they name.
"""

import os
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.support.harness import DEADLINE, OURS, eventually
from tests.support.processes import shared_mark

PAGE = Path(__file__).resolve().parents[2] / "docs/gateway.md"
MOUNTPOINT = Path("/srv/video/axxon")
PASSWORD = "correct-horse"
SCRIPT = r"""
set -e
mount --make-rshared /
ip link set lo up
mkdir "$1/etc"
cp -a /etc/. "$1/etc/"
mount --bind "$1/etc" /etc
for folder in /srv /run /home /var/log /var/tmp /var/lib/samba /var/cache/samba /var/lib/nginx /var/lib/nfs; do
    [ ! -d "$folder" ] || mount -t tmpfs -o mode=755 none "$folder"
done
echo ready
exec cat
"""
"""Mounts made later in it reach the servers, each of which has a copy of it that follows (as systemd's have)."""


def configurations() -> dict[str, str]:
    """The files of the page, by where they go: a line that ends with the name in backquotes and a colon, and the block
    after it."""
    blocks = re.findall(r"`(/etc/[^`]+)`:\n\n```\w*\n(.*?)^```$", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert blocks
    found = dict(blocks)
    assert len(found) == len(blocks), "two blocks for the same file"
    return found


def commands(heading: str) -> str:
    """What is to be typed, as root, below a heading of the page."""
    section = PAGE.read_text().split(f"\n## {heading}\n")[1].split("\n## ")[0]
    blocks = re.findall(r"^```sh\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    return "".join(blocks).replace("sudo ", "")


@dataclass
class Machine:
    """Run commands in it with `run`, servers with `serving`, the mount with `mount`."""

    holder: int
    folder: Path
    address: str
    """Of the simulated server."""
    _mount: "subprocess.Popen[bytes] | None" = field(default=None)

    @property
    def tree(self) -> Path:
        """The mount, seen from outside."""
        return Path(f"/proc/{self.holder}/root{MOUNTPOINT}")

    def path(self, path: str) -> Path:
        """A path in it, for this process."""
        return Path(f"/proc/{self.holder}/root{path}")

    def run(
        self, *words: object, code: int | None = 0, within: float = DEADLINE, **options: Any
    ) -> "subprocess.CompletedProcess[str]":
        """`code` is the exit code that it must have (None: whichever)."""
        if "input" not in options:
            options["stdin"] = subprocess.DEVNULL
        done = subprocess.run(
            self.command(*words),
            capture_output=True,
            check=False,
            timeout=within,
            cwd="/",
            **{"text": True, **options},
        )
        assert code in (None, done.returncode), f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def command(self, *words: object) -> list[str]:
        """What runs a command in it."""
        return [*self._enter("--net"), *map(str, words)]

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """A file of it."""
        place = self.path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
        place.chmod(mode)

    def mount(self) -> None:
        """Mounts as its fstab says, but for server and login."""
        words = self.path("/etc/fstab").read_text().split()
        assert words[1:3] == [str(MOUNTPOINT), "fuse.axxon-exportfs"]
        options = []
        for option in words[3].split(","):
            name, equals, value = option.partition("=")
            if name not in ("username", "password-file", "ca-file") and not name.startswith(("_", "x-")):
                options += [f"--{name}", value] if equals else [f"--{name}"]
        # It outlives the test that mounts anew.
        environment = {**os.environ, **shared_mark(), "XDG_STATE_HOME": os.fspath(self.folder / "state")}
        with (self.folder / "mount.log").open("ab") as log:
            self._mount = subprocess.Popen(
                [
                    *(
                        "setpriv",
                        "--pdeathsig",
                        "TERM",
                        *self._enter(),
                        *OURS,
                        "mount",
                        self.address,
                        str(MOUNTPOINT),
                    ),
                    *("--insecure", "--foreground", "--refresh", "0.2", "--timeout", "5", *options),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
            )
        eventually(self._mounted)

    def _mounted(self) -> bool:
        assert self._mount is not None
        assert self._mount.poll() is None, (self.folder / "mount.log").read_text()
        return (self.tree / "README.txt").exists()

    def unmount(self) -> None:
        """As a service is stopped, whoever uses it."""
        if self._mount is not None:
            self._mount.terminate()
            self._mount.wait(DEADLINE)
            self._mount = None

    @contextmanager
    def serving(self, *words: object, port: int) -> Iterator[Path]:
        """Runs a server until the end of the block, with all that it starts; gives the file of what it says."""
        said = self.folder / f"{Path(str(words[0])).name}.said"
        # A PID namespace of its own: when it ends, nothing of it is left.
        alone = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--propagation", "slave")
        with said.open("wb") as log:
            process = subprocess.Popen(
                self.command(*alone, *words),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
            )
        try:
            eventually(lambda: self._answers(process, port, said))
            yield said
        finally:
            # Its first process, and with that all of them: who changes user is no longer ended with its parent.
            if process.poll() is None:
                for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                    os.kill(int(child), signal.SIGKILL)
            process.wait(DEADLINE)

    def _answers(self, process: "subprocess.Popen[bytes]", port: int, said: Path) -> bool:
        assert process.poll() is None, said.read_text(errors="replace")
        table = Path(f"/proc/{self.holder}/net")
        listening = "".join((table / name).read_text() for name in ("tcp", "tcp6"))
        return re.search(rf":{port:04X} [0-9A-F:]+ 0A ", listening) is not None

    def _enter(self, *more: str) -> list[str]:
        return ["nsenter", f"--target={self.holder}", "--mount", *more, "--"]


@contextmanager
def machine(folder: Path, address: str) -> Iterator[Machine]:
    """One with the users and the mount of the page."""
    with subprocess.Popen(
        ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", SCRIPT, "gateway", folder],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        made = Machine(holder.pid, folder, address)
        try:
            made.path(str(MOUNTPOINT)).mkdir(parents=True)
            for path, text in configurations().items():
                made.write(path, text)
            yield made
        finally:
            made.unmount()
            holder.kill()
