"""Packages that are too old, or made for another Python: named with version and place, never a traceback."""

import importlib.metadata
import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from exportfs.doctor.packages import OLDEST, package_findings
from tests.support.harness import OURS

FAKES = {
    "protobuf": ("google/protobuf/__init__.py", '__version__ = "3.12.4"\n', "this is 3.12.4"),
    "grpcio": ("grpc/__init__.py", '__version__ = "1.51.1"\n', "this is 1.51.1"),
    "broken": (
        "grpc/__init__.py",
        "raise ImportError(\"cannot import name 'cygrpc' from 'grpc._cython'\")\n",
        "cannot import name 'cygrpc'",
    ),
}


def test_all_is_right_here() -> None:
    assert [finding.ok for finding in package_findings()] == [True, True]


def test_the_versions_are_those_of_the_project() -> None:
    wanted = {
        match[1]: tuple(map(int, match[2].split(".")))
        for match in (
            re.match(r"([\w-]+)>=([\d.]+)$", line)
            for line in importlib.metadata.requires("axxon-exportfs") or ()
        )
        if match
    }
    assert dict(OLDEST.values()) == {name: wanted[name] for name in ("protobuf", "grpcio")}


@pytest.mark.parametrize("which", FAKES)
def test_named_in_one_line(tmp_path: Path, which: str) -> None:
    path, content, words = FAKES[which]
    (tmp_path / "old" / path).parent.mkdir(parents=True)
    (tmp_path / "old" / path).write_text(content)
    place = tmp_path / "place"
    place.mkdir()
    for command in (
        ["doctor", "--json"],
        ["doctor", "127.0.0.1:1", "--insecure"],
        ["mount", "127.0.0.1:1", str(place), "--insecure"],
        ["mount", "127.0.0.1:1", str(place), "--insecure", "--foreground"],
        ["simulate"],
    ):
        result = subprocess.run(
            [*OURS, *command],
            env={
                **os.environ,
                "PYTHONPATH": str(tmp_path / "old"),
                "XDG_STATE_HOME": str(tmp_path / "state"),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert result.returncode == 1, (command, result)
        assert "Traceback" not in result.stderr, (command, result.stderr)
        if command[0] == "doctor":
            assert result.stderr == ""
            if command[1] == "--json":
                first = next(finding for finding in json.loads(result.stdout) if finding["ok"] is False)
                assert "Python package" in first["title"]
            shown = result.stdout
        else:
            shown = result.stderr
            assert shown.count("\n") == 1, shown
        assert words in shown, (command, shown)
        assert str(tmp_path / "old") in shown
        assert "out of PYTHONPATH" in shown
