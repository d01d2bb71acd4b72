"""docs/metrics.md lists what `.metrics` has, and its alerts ask for what there is."""

import json
import re
import shutil
import subprocess
from pathlib import Path

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
    found: dict[str, tuple[str, tuple[str, ...]]] = {PREFIX + CALLS: ("histogram", ("method", "code"))}
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
    outcomes = re.findall(r'outcome=~"([\w|]+)"', RULES)
    assert set("|".join(outcomes).split("|")) <= set(Outcome)


# Series of ten minutes or more, a sample a minute, with which each alert fires; and the minute at which it does.
WELL, MOUNT = 3, '{mountpoint="/srv/footage"}'
FIRING: dict[str, tuple[dict[str, str], int]] = {
    "LoginFailing": ({f"logged_in{MOUNT}": "1x3 0x9"}, 8),
    "LoginUnsteady": ({f"login_failures_total{MOUNT}": "0x3 1+1x9"}, 9),
    "KeepAliveFailing": ({f"keepalive_failing_sessions{MOUNT}": "0x3 2x9"}, 8),
    "JournalNotWritten": ({f"journal_write_failures_total{MOUNT}": "0x3 1x9"}, 6),
    "ServerUnreachable": ({f"server_reachable{MOUNT}": "1x3 0x9"}, 8),
    "ServerSlow": (
        {
            f'call_duration_seconds_bucket{{method="ListSessions",code="OK",le="{bound}"}}': f"0x3 0+{calls}x40"
            for bound, calls in (("1.0", 0), ("2.5", 2), ("5.0", 10), ("+Inf", 10))
        },
        30,
    ),
    "ReadsFailing": ({'operation_errors_total{operation="read"}': "0x3 1x9"}, 6),
    "RequestsUnanswered": ({'requests_total{outcome="unknown"}': "0x3 1x9"}, 6),
}
OTHERS = {
    "JournalDiskFull": ({'node_filesystem_avail_bytes{mountpoint="/"}': "1e9x3 1e6x20"}, 12),
    "MetricsAreOld": ({'node_textfile_mtime_seconds{file="/var/lib/footage.prom"}': "0x30"}, 12),
}


def rule_tests() -> str:
    """For `promtool test rules`: JSON, which is YAML as well."""
    ours = {
        alert: ({PREFIX + name: values for name, values in series.items()}, minute)
        for alert, (series, minute) in FIRING.items()
    }
    tests = []
    for alert, (series, minute) in {**ours, **OTHERS}.items():
        firing = f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})'
        tests.append(
            {
                "interval": "1m",
                "input_series": [{"series": name, "values": values} for name, values in series.items()],
                "promql_expr_test": [
                    {"expr": firing, "eval_time": f"{WELL}m", "exp_samples": []},
                    {
                        "expr": firing,
                        "eval_time": f"{minute}m",
                        "exp_samples": [{"labels": "{}", "value": 1}],
                    },
                ],
            }
        )
    return json.dumps({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": tests})


def test_alerts_fire(tmp_path: Path) -> None:
    """With promtool where it is (Debian's package prometheus); that there is a case for each everywhere."""
    assert set(re.findall(r"- alert: (\w+)", RULES)) == set(FIRING) | set(OTHERS) >= PROMISES
    for alert, (series, _) in FIRING.items():
        rule = RULES.partition(f"- alert: {alert}\n")[2].partition("- alert")[0]
        assert all(PREFIX + re.split(r"\W", name)[0] in rule for name in series), alert
    (tmp_path / "rules.yml").write_text(RULES)
    (tmp_path / "tests.yml").write_text(rule_tests())
    if shutil.which("promtool"):
        for words in (("check", "rules", "rules.yml"), ("test", "rules", "tests.yml")):
            done = subprocess.run(
                ["promtool", *words], cwd=tmp_path, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stdout + done.stderr
