"""The reason why the system refused a mount is in the one line that is shown."""

import os
import subprocess
from pathlib import Path

import pytest

from exportfs.fuse.reason import reason
from exportfs.simulator import SimulatorServer
from tests.support.harness import OURS, is_mounted


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (
            "fusermount3: could not determine username\n",
            "could not determine username: fusermount3 wants an entry for this user in the passwd database",
        ),
        (
            "fusermount3: user has no write access to mountpoint /mnt\n",
            "user has no write access to mountpoint /mnt: the mount point must be writable for you",
        ),
        ("fuse: failed to exec fusermount3\n", "failed to exec fusermount3: install the package fuse3"),
        (
            "fusermount3: fuse device not found, try 'modprobe fuse' first\n",
            "fuse device not found, try 'modprobe fuse' first: load the kernel's module",
        ),
        (
            "fusermount3: mount failed: Operation not permitted\nfusermount3: mount failed: Operation not permitted\n",
            "mount failed: Operation not permitted: in a container add",
        ),
        ("mount: /mnt: odd\nand\x1b more\n", "/mnt: odd; and\x1b more: see `axxon-exportfs doctor`"),
        ("", "fuse_session_mount failed: see `axxon-exportfs doctor`"),
    ],
)
def test_reason(written: str, said: str) -> None:
    sentence = reason(written, "fuse_session_mount failed")
    assert sentence.startswith(said)
    assert "\n" not in sentence


@pytest.mark.mount
def test_the_one_line_has_the_reason(server: SimulatorServer, tmp_path: Path) -> None:
    """Refused to the program that we fall back to where the kernel refuses this process."""
    place = tmp_path / "mnt"
    place.mkdir()
    os.chmod(tmp_path, 0o755)
    programs = tmp_path / "bin"
    programs.mkdir()
    fake = programs / "fusermount3"
    fake.write_text(
        "#!/bin/sh\necho 'fusermount3: mounting over filesystem type 0x1 is forbidden' >&2\nexit 1\n"
    )
    fake.chmod(0o755)
    words = [*OURS, "mount", server.address, os.fspath(place), "--insecure"]
    environment = {
        **os.environ,
        "XDG_STATE_HOME": os.fspath(tmp_path / "state"),
        "PATH": f"{programs}:{os.environ['PATH']}",
    }
    limits = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-sys_admin"] if os.geteuid() == 0 else []
    result = subprocess.run(
        [*limits, *words], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith(f"axxon-exportfs: cannot mount at {place}: ")
    assert "mounting over filesystem type 0x1 is forbidden" in result.stderr
    assert not is_mounted(place)
