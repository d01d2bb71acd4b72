"""The Python packages that a mount stands on: an older one on PYTHONPATH, or one made for another Python, is named with
its version and place, where it would otherwise end a command with a traceback."""

import importlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from exportfs.doctor.finding import Finding

OLDEST = {"google.protobuf": ("protobuf", (7, 35, 1)), "grpc": ("grpcio", (1, 85, 1))}
"""By module: the package's name, and the version that pyproject.toml asks for; a test compares them."""
_FIRST_NAMES = ("google", "grpc", "exportfs")


def package_findings() -> Iterator[Finding]:
    """One for each package, and one for our own messages, which are made for these versions."""
    importlib.import_module("exportfs.grpc_environment")  # before gRPC
    good = True
    for module, (name, oldest) in OLDEST.items():
        finding = _package(module, name, oldest)
        good = good and finding.ok is True
        yield finding
    if good:
        try:
            importlib.import_module("exportfs.wire")
        except Exception as error:
            detail = f"the generated messages do not load: {_said(error)}"
            yield Finding(False, "messages", detail, "reinstall axxon-exportfs")


def package_trouble(error: Exception) -> str | None:
    """In a sentence which package an unexpected error comes from, and what to do; None where all are right."""
    if isinstance(error, ModuleNotFoundError) and (error.name or "").partition(".")[0] not in _FIRST_NAMES:
        return None
    bad = [finding for finding in package_findings() if finding.ok is False]
    return f"{bad[0].title}: {bad[0].detail}: {bad[0].fix}" if bad else None


def _package(module: str, name: str, oldest: tuple[int, ...]) -> Finding:
    wanted = ".".join(map(str, oldest))
    title = f"Python package {name}"
    try:
        loaded = importlib.import_module(module)
    except Exception as error:
        place = _place_of(module)
        where = f" from {place}" if place else ""
        return Finding(False, title, f"does not load{where}: {_said(error)}", _fix(place, name, wanted))
    version = str(getattr(loaded, "__version__", "?"))
    place = _folder(getattr(loaded, "__file__", None), module)
    if _numbers(version) < oldest:
        return Finding(
            False, title, f"this is {version} in {place}, and {wanted} is needed", _fix(place, name, wanted)
        )
    return Finding(True, title, f"{version} in {place}")


def _fix(place: str, name: str, wanted: str) -> str:
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if place and any(Path(place).is_relative_to(path) for path in paths):
        return f"take {place} out of PYTHONPATH"
    return f"install {name} {wanted} or newer, or reinstall axxon-exportfs in an environment of its own"


def _place_of(module: str) -> str:
    """Where a package that does not load lies; empty where there is none."""
    for path in sys.path:
        if (found := Path(path or ".", *module.split("."))).is_dir():
            return _folder(str(found / "__init__.py"), module)
    return ""


def _folder(file: str | None, module: str) -> str:
    """The directory on sys.path that a package came from."""
    return str(Path(file).resolve().parents[len(module.split("."))]) if file else "?"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part.isdecimal())


def _said(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
