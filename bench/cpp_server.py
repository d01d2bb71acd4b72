"""The benchmark's server in C++: what it needs, and how it is built."""

import functools
import hashlib
import itertools
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
FLAGS = ("-std=c++17", "-O0")  # what is hot is in the libraries


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
    """The program, compiled into `folder` unless it is there already, in a quarter of a minute. BuildError."""
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
    program = place / "server"
    compile_as_one([*(f"{name}.pb.cc" for name in USED), SOURCE], place, program, *FLAGS)
    return program


def compile_as_one(parts: list[str | Path], place: Path, program: Path, *flags: str) -> None:
    """Sources in C++, some of them generated in `place`, into a program: as one source, which reads gRPC's headers
    once. Raises BuildError."""
    libraries = _run("pkg-config", "--cflags", "--libs", "grpc++", "protobuf").split()
    whole = place / "whole.cc"
    whole.write_text("".join(map(_included, parts, itertools.count())))
    _run("g++", *flags, f"-I{place}", "-o", os.fspath(program), os.fspath(whole), *libraries)


def _included(source: str | Path, number: int) -> str:
    """With names of its own for what protoc calls the same in every file."""
    names = ("schemas", "file_default_instances")
    before = "".join(f"#define {name} {name}_{number}\n" for name in names)
    return f'{before}#include "{source}"\n' + "".join(f"#undef {name}\n" for name in names)


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or [f"{command[0]} failed"]
        raise BuildError(lines[0][:300])
    return done.stdout
