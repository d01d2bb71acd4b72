"""The benchmark's server in C++: what it needs, and how it is built."""

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

SOURCE = Path(__file__).parent / "cpp" / "server.cc"
PROTOS = Path(__file__).parents[1] / "protos"
USED = (
    "axxonsoft/bl/mmexport/ExportService",
    "axxonsoft/bl/mmexport/Export",
    "axxonsoft/bl/primitive/Primitives",
)
FLAGS = ("-std=c++17", "-O1")  # what is hot is in the libraries


class BuildError(Exception):
    """It did not compile."""


@functools.cache
def missing() -> str | None:
    """What is not there of what it needs."""
    for name in ("g++", "protoc", "pkg-config"):
        if shutil.which(name) is None:
            return f"no {name}: apt install g++ libgrpc++-dev libprotobuf-dev protobuf-compiler pkg-config"
    known = subprocess.run(["pkg-config", "--exists", "grpc++", "protobuf"], check=False).returncode == 0
    return None if known else "no libgrpc++-dev"


def build(folder: Path) -> Path:
    """The program, compiled into `folder` unless it is there already. Takes half a minute; raises BuildError."""
    sources = [SOURCE, *(PROTOS / f"{name}.proto" for name in USED)]
    given = [*(source.read_bytes() for source in sources), " ".join(FLAGS).encode()]
    program = folder.absolute() / f"server-{hashlib.sha256(b''.join(given)).hexdigest()[:16]}"
    if not program.exists():
        folder.mkdir(parents=True, exist_ok=True)
        # Renamed when it is whole: who builds at the same time builds the same.
        with tempfile.TemporaryDirectory(prefix="build-", dir=folder) as place:
            _compile(Path(place)).rename(program)
    return program


def _compile(place: Path) -> Path:
    _run("protoc", f"-I{PROTOS}", f"--cpp_out={place}", *(f"{name}.proto" for name in USED))
    flags = _run("pkg-config", "--cflags", "--libs", "grpc++", "protobuf").split()
    parts = [os.fspath(SOURCE), *(os.fspath(place / f"{name}.pb.cc") for name in USED)]
    program = place / "server"
    _run("g++", *FLAGS, f"-I{place}", "-o", os.fspath(program), *parts, *flags)
    return program


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or [f"{command[0]} failed"]
        raise BuildError(lines[0][:300])
    return done.stdout
