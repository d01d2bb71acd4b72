"""Build hook: generates the messages from protos/ into exportfs/wire/, for wheels and editable installs, and puts the
documents into wheels.

The modules are put below our own package, not at the top level where the vendor's own Python bindings
would live, so the imports between them are rewritten. File names inside the descriptors stay the vendor's.
"""

import re
import shutil
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

IMPORT = re.compile(r"^(from|import) axxonsoft\.", re.MULTILINE)


def generate(root: Path) -> None:
    """Writes exportfs/wire/axxonsoft/ anew from protos/. Raises RuntimeError where protoc refuses them."""
    from grpc_tools import protoc

    source, target = root / "protos", root / "exportfs" / "wire"
    well_known = Path(protoc.__file__).parent / "_proto"
    names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*.proto"))
    shutil.rmtree(target / "axxonsoft", ignore_errors=True)
    arguments = ["protoc", f"-I{source}", f"-I{well_known}"]
    arguments += [f"--python_out={target}", f"--pyi_out={target}", f"--grpc_python_out={target}"]
    if protoc.main([*arguments, *names]) != 0:
        raise RuntimeError("protoc could not compile protos/; its messages stand above")
    for path in (target / "axxonsoft").rglob("*.py*"):
        path.write_text(IMPORT.sub(r"\1 exportfs.wire.axxonsoft.", path.read_text()))
    for folder in {path.parent for path in (target / "axxonsoft").rglob("*.py")}:
        for package in [folder, *folder.parents]:
            if package == target:
                break
            (package / "__init__.py").touch()


class GenerateMessages(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        generate(Path(self.root))
        if version != "editable":
            # For `axxon-exportfs docs`, which finds those of a checkout beside the package.
            for page in sorted((Path(self.root) / "docs").glob("*.md")):
                build_data["force_include"][str(page)] = f"exportfs/docs/{page.name}"
