"""Builds the Debian package for the release that it is run on: `make deb`.

The package is a virtual environment below /usr/lib/axxon-exportfs, filled from the one that this runs in: what was
tested is what is packaged, and nothing is downloaded. It needs `python3` of the release's minor version and `fuse3`.
What tells the system of the program comes from `exportfs.cli.install.files`, as with `axxon-exportfs setup`.
"""

import argparse
import gzip
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from email.utils import formatdate
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement

from exportfs import __version__
from exportfs.cli.install.files import places_of_package, things

ROOT = Path(__file__).parents[1]
NAME = "axxon-exportfs"
PREFIX = Path("usr/lib") / NAME
EXTRAS = ("simulator", "keyring")
"""All of the program works from the package, `demo` too."""
PYTHON = Path("/usr/bin/python3")
OTHER = f"use the system's, with `make deb PYTHON={PYTHON} VENV=.venv-deb`"
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"
MAINTAINER = "exportfs maintainers <maintainers@axxon-exportfs.invalid>"


class UnfitError(Exception):
    """The package cannot be built here; says why and what to do."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "dist", help="Folder of the package.")
    arguments = parser.parse_args()
    try:
        check()
        # Not below the output, which may be on a file system without modes.
        with tempfile.TemporaryDirectory(prefix="exportfs-deb-") as folder:
            print(build(Path(folder), arguments.output))
    except UnfitError as error:
        sys.exit(f"make deb: {error}")


def check() -> None:
    """Raises UnfitError where the package would not fit the system's Python, or tools are missing."""
    system = subprocess.run([PYTHON, "-V"], capture_output=True, text=True, check=False).stdout.split()[-1:]
    if not system or system[0].rsplit(".", 1)[0] != VERSION:
        raise UnfitError(f"{PYTHON} is {' '.join(system) or 'missing'}, this is Python {VERSION}: {OTHER}")
    if Path(sys.base_prefix) != PYTHON.parents[1]:
        raise UnfitError(f"modules were compiled for the Python below {sys.base_prefix}: {OTHER}")
    for tool in ("dpkg-deb", "dpkg-shlibdeps", "strip"):
        if shutil.which(tool) is None:
            raise UnfitError(f"{tool} is missing: apt install dpkg-dev binutils")


def build(folder: Path, output: Path) -> Path:
    """The package, made of a tree in `folder`."""
    tree = folder / "tree"
    site = tree / PREFIX / "lib" / f"python{VERSION}" / "site-packages"
    site.mkdir(parents=True)
    needed = {dist.name: dist for dist in closure(NAME, EXTRAS)}
    ours = needed.pop(NAME)
    for dist in needed.values():
        copy(dist, site)
    unpack_wheel(folder, site)
    environment(tree)
    for thing in things(places_of_package(tree), [f"/usr/bin/{NAME}"]):
        write(thing.path, thing.content, thing.mode)
    documents(tree, [ours, *needed.values()])
    control(folder, tree, ours)
    return pack(tree, output)


def closure(name: str, extras: tuple[str, ...]) -> Iterator[Distribution]:
    """A distribution that is installed here, and all that it needs."""
    seen: set[tuple[str, str]] = set()
    waiting: list[tuple[str, tuple[str, ...]]] = [(name, extras)]
    while waiting:
        name, extras = waiting.pop()
        dist = distribution(name)
        if (dist.name, "") not in seen:
            seen.add((dist.name, ""))
            yield dist
        for extra in ("", *extras):
            if extra and (dist.name, extra) in seen:
                continue
            seen.add((dist.name, extra))
            for text in dist.requires or ():
                wanted = Requirement(text)
                inside = wanted.marker is None or wanted.marker.evaluate({"extra": extra})
                # Without an extra, what only an extra asks for is none of it.
                if inside and (wanted.name, "") not in seen:
                    waiting.append((wanted.name, tuple(wanted.extras)))


def copy(dist: Distribution, site: Path) -> None:
    """Its files, without scripts for the command line and without bytecode."""
    for file in dist.files or ():
        if file.parts[0] == ".." or file.suffix == ".pyc":
            continue
        target = site / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(os.fspath(file.locate()), target)


def unpack_wheel(folder: Path, site: Path) -> None:
    """This program itself, which is installed here as a link to the checkout."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)


def environment(tree: Path) -> None:
    """What makes a virtual environment of it, and the command."""
    binaries = tree / PREFIX / "bin"
    binaries.mkdir()
    (binaries / "python3").symlink_to(PYTHON)
    write(tree / PREFIX / "pyvenv.cfg", f"home = {PYTHON.parent}\ninclude-system-site-packages = false\n")
    # -I: neither PYTHONPATH nor a user's own packages get into what root may run.
    start = f"#!/{PREFIX}/bin/python3 -I\nfrom exportfs.cli import main\n\nmain()\n"
    write(binaries / NAME, start, 0o755)
    command = tree / "usr/bin" / NAME
    command.parent.mkdir()
    command.symlink_to(f"../lib/{NAME}/bin/{NAME}")


def documents(tree: Path, contents: list[Distribution]) -> None:
    """Below /usr/share/doc, and the man pages packed."""
    folder = tree / "usr/share/doc" / NAME
    shutil.copytree(ROOT / "docs", folder / "docs")
    shutil.copy(ROOT / "README.md", folder)
    changes = (ROOT / "CHANGELOG.md").read_bytes()
    (folder / "changelog.gz").write_bytes(gzip.compress(changes, mtime=0))
    entry = f"{NAME} ({package_version()}) stable; urgency=medium\n\n  * See changelog.gz.\n\n"
    entry += f" -- {MAINTAINER}  {formatdate(changed())}\n"
    (folder / "changelog.Debian.gz").write_bytes(gzip.compress(entry.encode(), mtime=0))
    write(folder / "copyright", copyright_of(contents))
    overrides = tree / "usr/share/lintian/overrides" / NAME
    write(overrides, (ROOT / "package/debian/lintian-overrides").read_text())
    manual = tree / "usr/share/man/man1" / f"{NAME}.1"
    helper = tree / "usr/share/man/man8" / f"mount.fuse.{NAME}.8"
    write(helper, f".so man1/{NAME}.1\n")
    for page in (manual, helper):
        page.with_name(page.name + ".gz").write_bytes(gzip.compress(page.read_bytes(), mtime=0))
        page.unlink()


def copyright_of(contents: list[Distribution]) -> str:
    lines = [
        f"{NAME}: see README.md beside this file for what it is and where it comes from.",
        "Its source states no licence yet.",
        "",
        f"Below /{PREFIX} are also these packages, each with its licence in its .dist-info:",
        "",
    ]
    for dist in sorted(contents[1:], key=lambda dist: dist.name.lower()):
        told = dist.metadata.get("License-Expression") or dist.metadata.get("License") or ""
        classifiers = dist.metadata.get_all("Classifier") or ()
        known = [line.rpartition("::")[2].strip() for line in classifiers if line.startswith("License")]
        licence = told if told and "\n" not in told else ", ".join(known)
        lines.append(f"{dist.name} {dist.version}: {licence or 'see there'}")
    return "\n".join(lines) + "\n"


def control(folder: Path, tree: Path, ours: Distribution) -> None:
    """What dpkg has to know: what it is, what it needs, and what to do when it comes and goes."""
    meta = tree / "DEBIAN"
    meta.mkdir()
    depends = libraries(folder, tree)  # strips, too: before the sums
    for script in ("postinst", "prerm", "postrm"):
        write(meta / script, (ROOT / "package/debian" / script).read_text(), 0o755)
    sums = subprocess.run(
        "find usr -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum",
        shell=True,
        cwd=tree,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    write(meta / "md5sums", sums)
    minor = sys.version_info.minor
    needs = [f"python3 (>= 3.{minor})", f"python3 (<< 3.{minor + 1})", "fuse3", *depends]
    size = sum(-(-path.lstat().st_size // 1024) for path in tree.rglob("*"))
    fields = {
        "Package": NAME,
        "Version": package_version(),
        "Architecture": run("dpkg", "--print-architecture"),
        "Maintainer": MAINTAINER,
        "Installed-Size": str(size),
        "Depends": ", ".join(needs),
        "Recommends": "ca-certificates",
        "Section": "utils",
        "Priority": "optional",
        "Description": (ROOT / "package/debian/description").read_text().rstrip("\n"),
    }
    write(meta / "control", "".join(f"{name}: {value}\n" for name, value in fields.items()))


def package_version() -> str:
    return f"{__version__}-1~{release()}"


def changed() -> int:
    """When this version was made, in seconds since 1970: the same for every build of it."""
    return int(os.environ.get("SOURCE_DATE_EPOCH") or (ROOT / "CHANGELOG.md").stat().st_mtime)


def release() -> str:
    """`deb12` for Debian 12: packages of one version for several releases sort like these."""
    known = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    return re.sub(r"[^a-z0-9.]", "", f"{known['ID'][:3]}{known['VERSION_ID']}".replace('"', ""))


def libraries(folder: Path, tree: Path) -> list[str]:
    """Packages of the shared libraries that compiled modules need and do not bring along."""
    modules = [path for path in tree.rglob("*.so*") if path.is_file()]
    private = sorted({str(path.parent) for path in modules})
    # Compiled here with debug symbols; others come as their makers packed them, and are left alone.
    for path in (path for path in modules if "pyfuse3" in path.parts):
        subprocess.run(["strip", "--strip-unneeded", path], check=True)
    (folder / "debian").mkdir()
    write(folder / "debian/control", f"Source: {NAME}\n\nPackage: {NAME}\nArchitecture: any\n")
    told = subprocess.run(
        ["dpkg-shlibdeps", "-O", "--ignore-missing-info", "--warnings=0", *(f"-l{place}" for place in private),
         *(f"-e{module}" for module in modules)],
        cwd=folder, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    return told.strip().removeprefix("shlibs:Depends=").split(", ")


def pack(tree: Path, output: Path) -> Path:
    programs = {tree / PREFIX / "bin", tree / "usr/sbin", tree / "DEBIAN"}
    for path in [tree, *tree.rglob("*")]:
        if not path.is_symlink():
            script = path.parent in programs and path.stat().st_mode & 0o100
            path.chmod(0o755 if path.is_dir() or script else 0o644)
    output.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "SOURCE_DATE_EPOCH": str(changed())}
    command = ["dpkg-deb", "--root-owner-group", "-Zxz", "-z1", "--build", tree, output]
    told = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    return Path(told.rsplit("'", 2)[-2])


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def write(path: Path, content: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    path.chmod(mode)


if __name__ == "__main__":
    main()
