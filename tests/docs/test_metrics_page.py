"""docs/metrics.md lists what `.metrics` has, and its alerts ask for what there is."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from prometheus_client.core import CounterMetricFamily

from exportfs.metrics import Outcome
from exportfs.vfs.metrics.openmetrics import CALLS, METRICS, PREFIX, STATES

PAGE = (Path(__file__).parents[2] / "docs" / "metrics.md").read_text()
ROW = re.compile(r"^\| `(axxon_exportfs_\w+)` \| (\w+) \|([^|]*)\| ", re.MULTILINE)
RULES = PAGE.partition("```yaml\n")[2].partition("```")[0]
PROMISES = {
    "LoginFailing",
    "KeepAliveFailing",
    "JournalNotWritten",
    "JournalDiskFull",
    "ServerSlow",
    "ServerUnreachable",
}


def rendered() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Type and labels of each metric, by its name in the page."""
    found = {PREFIX + CALLS: ("histogram", ("method", "code"))}
    for name, family in METRICS.items():
        counter = family.kind is CounterMetricFamily
        kind, ending = ("counter", "_total") if counter else ("gauge", "")
        found[PREFIX + name + ending] = kind, family.labels
    return found


def test_the_page_lists_what_is_rendered() -> None:
    listed = {name: (kind, tuple(re.findall(r"`(\w+)`", labels))) for name, kind, labels in ROW.findall(PAGE)}
    assert listed == rendered()


def test_label_values() -> None:
    for word in (*Outcome, *STATES):
        assert f"`{word}`" in PAGE, word


def test_alerts_ask_for_what_there_is() -> None:
    known = set(rendered()) | {f"{PREFIX}{CALLS}_bucket"}
    asked = set(re.findall(r"axxon_exportfs_\w+", RULES))
    assert asked
    assert asked <= known
    assert set(re.findall(r"- alert: (\w+)", RULES)) >= PROMISES
    outcomes = re.findall(r'outcome=~"([\w|]+)"', RULES)
    assert set("|".join(outcomes).split("|")) <= set(Outcome)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="no promtool (Debian's package prometheus)")
def test_promtool_takes_the_alerts(tmp_path: Path) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(RULES)
    done = subprocess.run(["promtool", "check", "rules", rules], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
