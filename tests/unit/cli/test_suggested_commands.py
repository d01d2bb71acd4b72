"""Commands that messages suggest can be pasted into a shell, whatever the paths in them."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import exportfs
from exportfs.client.submit import submit
from exportfs.errors import ExportfsError
from exportfs.fuse.mountpoint import check_directory
from exportfs.program import quoted

PATH = "with a blank & 'quotes'"
COMMAND = re.compile(r"(^|`|, or )(mkdir|chmod|chown|umount|fusermount3|axxon-exportfs) [^`]*$")
BARE = re.compile(r"(\w+\.)*(path|mountpoint|place|directory|folder|file|name)")


def test_mount_points() -> None:
    with pytest.raises(ExportfsError) as caught:
        check_directory(Path("/nowhere") / PATH)
    assert f"`mkdir -p {quoted(f'/nowhere/{PATH}')}`" in str(caught.value)
    with pytest.raises(ExportfsError) as caught:
        submit(Path("/nowhere") / PATH, "a", b"{}")
    assert f"mount SERVER {quoted(f'/nowhere/{PATH}')}`" in str(caught.value)


def suggested() -> Iterator[tuple[str, str]]:
    """Where, and each value that is put into a command of a message."""
    root = Path(exportfs.__file__).parent
    for file in root.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if not isinstance(node, ast.JoinedStr):
                continue
            before = ""
            for part in node.values:
                if isinstance(part, ast.Constant):
                    before += str(part.value)
                elif isinstance(part, ast.FormattedValue):
                    value = ast.unparse(part.value)
                    if COMMAND.search(before):
                        yield f"{file.relative_to(root)}:{node.lineno}", value
                    before += "axxon-exportfs" if value in ("PROGRAM", "with_what") else "X"


def test_every_path_is_quoted() -> None:
    found = list(suggested())
    assert sum(value.startswith("quoted(") for _, value in found) >= 8
    assert [one for one in found if BARE.fullmatch(one[1])] == []
