"""docs/scripting.md, run on a real mount."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import exportfs.client
from exportfs.simulator import Config, LoginConfig, Simulator
from exportfs.simulator.site import believable_site
from tests.support.harness import MountProcess

PAGE = Path(__file__).parents[2] / "docs" / "scripting.md"


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    simulator = Simulator(
        Config(login=LoginConfig(required=False), export_seconds=0.2, site=believable_site())
    )
    yield simulator
    simulator.close()


@pytest.mark.mount
@pytest.mark.alone  # it looks for a name in all mounts, and other tests stop theirs
def test_the_example(mount: MountProcess, simulator: Simulator, tmp_path: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    # Beside other tests there are other mounts.
    only = "(mount,) = usable_mounts()"
    assert only in code
    code = code.replace(only, "import sys; mount = Path(sys.argv[1])")
    words = [sys.executable, "-c", code, mount.mountpoint]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "2.Gate south hosts/Server/DeviceIpint.2/" in done.stdout
    assert "completed () [] case-4711/" in done.stdout
    (bag,) = (tmp_path / "case-4711").iterdir()
    assert (bag / "bagit.txt").exists()
    assert simulator.log.count("StartSession") == 1


def test_every_name_is_there() -> None:
    for name in exportfs.client.__all__:
        assert callable(getattr(exportfs.client, name)), name
    with pytest.raises(AttributeError):
        exportfs.client.nothing  # noqa: B018


def test_the_page_names_what_is_there() -> None:
    named = set(re.findall(r"`(\w+)[`(]", PAGE.read_text()))
    assert named - set(exportfs.client.__all__) <= {"status", "missing", "datetime", "OSError"}
    assert len(named) > 15
