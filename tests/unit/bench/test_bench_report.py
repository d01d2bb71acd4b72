"""Ratios, verdicts and tables out of made-up numbers."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from bench.__main__ import arguments, chosen, plan, size
from bench.content import GIB, MIB
from bench.goals import LINE, NEAR, OURS, Goal, Results, evaluate
from bench.measures import percentiles
from bench.processes import Failed
from bench.report import cell, markdown, write
from bench.subjects import Ours


@pytest.fixture
def results() -> Results:
    made = Results()
    for ours, bare in ((900, 1000), (1100, 1000), (800, 1000)):
        made.add(
            NEAR, OURS, {"cp": ours, "p50": 1.5, "p99": 3, "last_mb": 0.5, "readers_1": 1, "readers_2": 2}
        )
        made.add(NEAR, "bare loop, 1 MiB", {"cp": bare})
        made.add(NEAR, "bare loop, 64 KiB", {"cp": bare / 2})
        made.add(NEAR, "bare open, one block, cancel", {"p50": 2, "p99": 9})
        made.add(NEAR, "bare open, small window", {"p50": 1, "p99": 2})
        made.add(LINE, OURS, {"last": 41})
    made.skipped["sshfs"] = "sshfs is not installed"
    made.fail("rclone mount", "sequential", "gone")
    made.fail("rclone mount", "copy", "gone")
    return made


def goal(results: Results, text: str) -> Goal:
    return next(goal for goal in evaluate(results, 256, 20) if text in goal.text)


def test_a_ratio_is_of_medians_against_the_best_bare_subject(results: Results) -> None:
    copy = goal(results, "cp")
    assert "bare loop, 1 MiB" in copy.text
    assert (copy.value, copy.low, copy.high) == (0.9, 0.8, 1.1)
    assert copy.met


def test_the_best_is_the_least_where_less_is_better(results: Results) -> None:
    assert goal(results, "p50 / bare open").value == 1.5
    assert goal(results, "p50 / bare open").met is False
    assert goal(results, "p99 / bare open").value == 1.5
    assert goal(results, "p99 / bare open").met is True


def test_a_limit_in_round_trips(results: Results) -> None:
    assert goal(results, "20 ms: last").limit == 40
    assert goal(results, "20 ms: last").met is False


def test_the_worst_round_of_any_measure_is_the_peak_of_memory(results: Results) -> None:
    for one, places in ((200, 300), (210, 353), (220, 280)):
        results.add(NEAR, OURS, {"rss_one": one, "rss_places": places})
    found = goal(results, "peak memory")
    assert (found.value, found.low, found.limit, found.met) == (353, 200, 352, False)


def test_what_was_not_measured_is_neither_met_nor_missed(results: Results) -> None:
    assert goal(results, "rclone").met is None


def test_cells() -> None:
    assert cell([]) == ""
    assert cell([3.0]) == "3.00"
    assert cell([1, 2, 30]) == "2.00 (1.00\N{EN DASH}30.0)"


def test_percentiles_are_milliseconds() -> None:
    assert percentiles([count / 1000 for count in range(101)]) == pytest.approx((50, 99))


def test_the_report_is_complete_and_its_plots_are_well_formed(results: Results, tmp_path: Path) -> None:
    goals = evaluate(results, 256, 20)
    write(tmp_path, results, goals, {"machine": "a & b"}, {OURS: "#123456"})
    text = markdown(results, goals, {})
    assert "| exportfs | 900 (800\N{EN DASH}1,100) |" in text
    assert "not measured: sshfs: sshfs is not installed" in text
    assert "FAILED: rclone mount: gone (sequential, copy; 2 times)" in text
    assert json.loads((tmp_path / "bench.json").read_text())["rounds"][NEAR][OURS]["cp"] == [900, 1100, 800]
    plots = {path.stem for path in tmp_path.glob("*.svg")}
    assert {"copy", "random", "readers"} <= plots
    for path in tmp_path.glob("*.svg"):
        ElementTree.parse(path)


def test_options() -> None:
    assert (size("1G"), size("64m"), size("4096")) == (GIB, 64 * MIB, 4096)
    options = arguments(["--quick", "--no-peers", "--only", "exportfs", "--only", "trivial"])
    assert plan(options).size == 128 * MIB
    assert [subject.name for subject in chosen(options)] == [OURS, "trivial pyfuse3, from memory"]


def test_our_result_is_found_whatever_its_directory_is_called(tmp_path: Path) -> None:
    with pytest.raises(Failed):
        Ours().root(tmp_path)
    found = tmp_path / "sessions" / "some_name"
    found.mkdir(parents=True)
    (found / "big.mp4").touch()
    assert Ours().root(tmp_path) == found
