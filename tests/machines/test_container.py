"""The image of `Containerfile`, built from a bare Debian made here and run as docs/container.md says.

Where podman, buildah or root are missing, or podman cannot run anything, it is skipped. Nothing is fetched from a
registry of images, and containers run in a mount namespace of the test's own, whose /srv is what they share.
"""

import json
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from exportfs.simulator import Config, LoginConfig, Simulator, SimulatorServer
from tests.docs.test_project import ROOT
from tests.machines.test_bare_debian import clone, run
from tests.support.harness import ARCHIVE_REQUEST, eventually

pytestmark = [pytest.mark.bare, pytest.mark.timeout(3000)]
MACHINES = Path(os.environ.get("MACHINES", "/var/tmp/exportfs-machines"))
BASE, IMAGE, NAME = "localhost/bare-debian", "localhost/axxon-exportfs-test", "exportfs-test"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
SCRIPT = """
set -e
mount -t tmpfs none /srv
mount --make-rshared /srv
mkdir -p /srv/video/axxon
# crun takes no mixture of both versions of control groups.
if [ -d /sys/fs/cgroup/unified ]; then umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; fi
echo ready
exec cat
"""


class Engine:
    """podman, with images of its own."""

    def __init__(self, holder: int, folder: Path) -> None:
        self.folder = folder
        self.shared = Path(f"/proc/{holder}/root/srv/video/axxon")
        self._enter = ["nsenter", f"--target={holder}", "--mount", "--"]
        (folder / "storage.conf").write_text(
            f'[storage]\ndriver = "vfs"\ngraphroot = "{folder}/images"\nrunroot = "{folder}/run"\n'
        )
        self._environment = {**os.environ, "CONTAINERS_STORAGE_CONF": os.fspath(folder / "storage.conf")}

    def __call__(self, *words: object, code: int | None = 0) -> str:
        done = subprocess.run(
            [*self._enter, *map(str, words)],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            cwd="/",
        )
        assert code in (None, done.returncode), "\n".join(done.stdout.splitlines()[-50:])
        return done.stdout


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    missing = [program for program in ("podman", "buildah", "crun") if not shutil.which(program)]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"no {', '.join(missing) or 'root'}: apt install podman buildah crun")
    with subprocess.Popen(
        ["unshare", "--mount", "--propagation", "private", "sh", "-c", SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"ready\n"
        engine = Engine(holder.pid, tmp_path)
        try:
            yield engine
        finally:
            engine("podman", "rm", "--force", "--time", "1", NAME, code=None)
            holder.kill()


def base(engine: Engine) -> None:
    """Debian's image, as far as we need it: how this machine reaches its registries is in it."""
    run("trixie", "root", "true")
    variables = [f"--change=ENV={name}={CERTIFICATES}" for name in ("PIP_CERT", "SSL_CERT_FILE")]
    archive = engine.folder / "base.tar"
    apart = [f"--exclude=./{name}/*" for name in ("proc", "sys", "dev")]
    engine("tar", "-C", MACHINES / "trixie", *apart, "-cf", archive, ".")
    engine("podman", "import", "-q", *variables, archive, BASE)
    archive.unlink()
    tried = engine("podman", "run", "--rm", "--network=none", *SANDBOX, BASE, "echo", "it-runs", code=None)
    if "it-runs" not in tried:
        pytest.skip(f"podman cannot run anything here: {tried.strip()}")


SANDBOX = ("--cgroups=disabled", "--ulimit=nofile=4096:4096", "--ulimit=nproc=4096:4096")
"""So that it runs where resources cannot be managed."""


def command(address: str, folder: Path) -> list[str]:
    """That of docs/container.md, but for server, login and names."""
    text = (ROOT / "docs/container.md").read_text()
    begin = text.index("podman run")
    words = shlex.split(text[begin : text.index("```", begin)].replace("\\\n", " "))
    for name in ("--user", "--password-file", "--ca-file"):
        del words[words.index(name) : words.index(name) + 2]
    for old, new in (
        ("vms.example.org", address),
        ("axxon-exportfs", IMAGE),
        ("/etc/axxon-exportfs:/etc/axxon-exportfs:ro", f"{folder}:/etc/axxon-exportfs:ro"),
        ("axxon-exportfs:/var/lib/axxon-exportfs", f"{folder}/state:/var/lib/axxon-exportfs"),
    ):
        words[len(words) - 1 - words[::-1].index(old)] = new
    words[words.index("--name") + 1] = NAME
    words[2:2] = SANDBOX
    return [*words, "--insecure", "--refresh", "0.2"]


def test_as_the_page_says(engine: Engine, tmp_path: Path) -> None:
    base(engine)
    source = clone(tmp_path)
    engine("buildah", "build", "--isolation=chroot", f"--build-arg=BASE={BASE}", "-t", IMAGE, source)
    assert engine("podman", "run", "--rm", "--network=none", *SANDBOX, IMAGE, "--version").startswith(
        "axxon-exportfs"
    )
    (tmp_path / "state").mkdir()
    simulator = Simulator(Config(login=LoginConfig(required=False), export_seconds=0.2))
    with SimulatorServer(simulator) as server:
        session_id = simulator.add_computed(3_000_017, expires=False)
        (file,) = simulator.files(session_id)
        engine(*command(server.address, tmp_path))

        def mounted() -> bool:
            try:
                return (engine.shared / "README.txt").exists()
            except OSError:
                return False

        for ending in ("stop", "kill", ""):
            eventually(mounted)
            (path,) = engine.shared.glob(f"sessions/*/{file.path}")
            assert path.read_bytes() == simulator.content(session_id, file.path)
            # The very same after a restart: known from the journal.
            (engine.shared / "new/a.json").write_text(json.dumps(ARCHIVE_REQUEST))
            assert simulator.log.count("StartSession") == 1
            if ending:
                engine("podman", ending, NAME)
                eventually(lambda: not mounted())
                assert ending == "kill" or not os.listdir(engine.shared)
                engine("podman", "start", NAME)
    simulator.close()
