"""The command in a process of its own, on real mounts."""

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support import prepared
from tests.support.harness import DEADLINE, OURS, MountProcess, eventually

CAMERA = "hosts/Server/DeviceIpint.1/SourceEndpoint.video:0:0"
START = "2026-05-11T08:04:11Z"


def command(
    *words: object,
    code: int | None = 0,
    env: dict[str, str] | None = None,
    cwd: str | os.PathLike[str] = ".",
    **options: Any,
) -> "subprocess.CompletedProcess[str]":
    """Runs `axxon-exportfs WORDS`; `code` is the exit code that it must have (None: whichever)."""
    texts = [str(word) for word in words]
    environment = dict(os.environ) if env is None else env
    if not options and prepared.shared().serves(environment):
        done = prepared.shared().run(texts, environment, folder=cwd, timeout=3 * DEADLINE)
    else:
        done = subprocess.run(
            [*OURS, *texts],
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            check=False,
            timeout=3 * DEADLINE,
            env=environment,
            cwd=cwd,
            **options,
        )
    assert "Traceback" not in done.stderr, done.stderr
    assert code in (None, done.returncode), f"{words}: {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done


def export(mount: MountProcess, *words: object, kind: str = "mp4", **options: Any) -> Path:
    """An export of ten seconds from the archive, started; its session's directory."""
    interval = ("--from", START, "--duration", "10s")
    done = command(
        "export", mount.mountpoint, "--camera", CAMERA, *interval, "--format", kind, *words, **options
    )
    return Path(done.stdout.strip())


def record(session: Path) -> dict[str, Any]:
    """What `.session.json` says."""
    loaded: dict[str, Any] = json.loads((session / ".session.json").read_bytes())
    return loaded


def session_of(mount: MountProcess, condition: Callable[[list[str]], bool] = bool) -> Path:
    """The first session that the mount lists, once it lists some."""
    folder = mount.mountpoint / "sessions"
    names = eventually(lambda: names if condition(names := sorted(os.listdir(folder))) else None)
    return folder / str(names[0])
