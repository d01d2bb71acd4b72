"""Links of the documents lead somewhere, and the files that they name are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in HEADING.findall(page.read_text())
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links(page: Path) -> None:
    for target in LINK.findall(page.read_text()):
        if "://" in target:
            continue
        name, _, anchor = target.partition("#")
        other = (page.parent / name) if name else page
        assert other.exists(), target
        if anchor:
            assert anchor in anchors(other), target


def test_the_index_is_complete() -> None:
    text = (ROOT / "docs" / "README.md").read_text()
    ours = {"commands", "configuration", "desktop", "fstab", "getting-started", "options", "performance"}
    for name in ours | {"request-files", "troubleshooting"}:
        assert f"({name}.md)" in text


GUIDES = [ROOT / "CONTRIBUTING.md", ROOT / "docs" / "architecture.md", ROOT / "docs" / "development.md"]
NAMED = re.compile(r"`([\w./-]+(?:/[\w.-]*|\.(?:py|md|toml|lock)))`")
MADE = {"exportfs/wire/axxonsoft", "dist"}
"""Named, and made when the package is built."""


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_named_files_are_there(page: Path) -> None:
    """Paths are relative to the project, or to its package."""
    found = (name.rstrip("/") for name in NAMED.findall(page.read_text()))
    named = {name for name in found if not name.startswith(("/", "new/"))} - MADE
    assert len(named) > 5
    missing = [
        name
        for name in sorted(named)
        if not any((base / name).exists() for base in (ROOT, ROOT / "exportfs", ROOT / "docs"))
    ]
    assert missing == []
