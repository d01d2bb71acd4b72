"""The manifest of a copy, as it is on the disk."""

import json
from pathlib import Path

import pytest

from exportfs.client.manifest import MANIFEST, Manifest

NAMES = ("a.mp4", 'quoted "\n  ], {\\.jpg', "Süd\u2028\udcff.mp4")


def entry(name: str, sha256: str = "0" * 64) -> dict[str, object]:
    return {"name": name, "size": 2**63, "sha256": sha256, "times": [None, {}], "by": {"x": [1, []]}}


@pytest.mark.promise("G6")
def test_each_save_writes_the_whole_document(tmp_path: Path) -> None:
    """Also what was saved before is written as it is now."""

    def saved() -> None:
        manifest.save()
        assert (tmp_path / MANIFEST).read_text() == json.dumps(manifest.document(), indent=2) + "\n"

    manifest = Manifest(
        tmp_path, {"version": 1, "session": {"id": "x\ny", "options": {}, "cameras": [{"a": []}]}}
    )
    saved()
    for name in NAMES:
        manifest.files[name] = entry(name)
        saved()
    manifest.files[NAMES[1]] = entry(NAMES[1], "1" * 64)
    manifest.not_copied = [{"name": "b", "reason": "gone"}, {}]
    saved()
    del manifest.files[NAMES[0]]
    saved()
