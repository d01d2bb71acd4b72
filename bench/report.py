"""What a run found, as Markdown tables, JSON and plots."""

import json
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

from bench.goals import LINE, NEAR, Goal, Results
from bench.plots import Bar, Curve, bars, curves, number

# Title of a column, metric.
TABLES = {
    NEAR: {
        "Sequential": {
            "cold `dd` MB/s": "dd",
            "cold `cp` to tmpfs MB/s": "cp",
            "warm MB/s": "warm",
            "8 readers MB/s": "par",
            "8 readers of one MB/s": "places",
            "CPU s/GiB": "cpu",
            "sent / read": "sent",
            "calls": "downloads",
            "peak RSS MiB": "rss_one",
            "8 readers": "rss",
            "8 of one": "rss_places",
        },
        "Seeks": {
            "random 64 KiB p50 ms": "p50",
            "p99 ms": "p99",
            "sent / read": "sent_random",
            "last 64 KiB after open ms": "last",
            "sent MB": "last_mb",
            "first, then last ms": "first_last",
            "sent MB ": "first_last_mb",
        },
        "Fairness, while 8 readers run": {
            "`stat` p99 ms": "stat",
            "`ls` p99 ms": "ls",
            "first block alone ms": "alone",
            "first block beside another reader ms": "beside",
            "most streams at once": "most_active",
            "a left stream is cancelled after s": "abandoned",
        },
    },
    LINE: {
        "Through the long line": {
            "cold `dd` MB/s": "dd",
            "big file MB/s": "long",
            "big file, 4 connections MB/s": "long_shared",
            "random 64 KiB p50 ms": "p50",
            "p99 ms": "p99",
            "sent / read": "sent_random",
            "last 64 KiB after open ms": "last",
            "first, then last ms": "first_last",
        },
    },
}

PLOTS = [
    ("cold", NEAR, "dd", "Cold sequential read, dd bs=1M", "MB/s", False),
    ("copy", NEAR, "cp", "Cold cp to tmpfs", "MB/s", False),
    ("warm", NEAR, "warm", "Second read", "MB/s", False),
    ("parallel", NEAR, "par", "8 readers of 8 files", "MB/s", False),
    ("places", NEAR, "places", "8 readers of one file", "MB/s", False),
    ("cpu", NEAR, "cpu", "CPU time of the mount, cold dd", "seconds per GiB", False),
    ("random", NEAR, "p50", "Random 64 KiB reads, median", "ms", True),
    ("random-p99", NEAR, "p99", "Random 64 KiB reads, 99th percentile", "ms", True),
    ("random-sent", NEAR, "sent_random", "Random 64 KiB reads: bytes sent per byte read", "", True),
    ("line", LINE, "dd", "Through the long line: cold dd", "MB/s", False),
    ("line-random", LINE, "p50", "Through the long line: random 64 KiB, median", "ms", False),
]
CURVES = [
    ("size", "size_", "Cold dd over file size", "MiB"),
    ("readers", "readers_", "Readers in parallel, a file each", "readers"),
]


def cell(values: list[float]) -> str:
    if not values:
        return ""
    if len(values) == 1 or min(values) == max(values):
        return number(values[0])
    return f"{number(median(values))} ({number(min(values))}\N{EN DASH}{number(max(values))})"


def table(rows: list[list[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    lines.insert(1, "| --- |" + " ---: |" * (len(rows[0]) - 1))
    return "\n".join(lines)


def tables(results: Results) -> str:
    parts = []
    for place, found in TABLES.items():
        for title, columns in found.items():
            subjects = results.rounds.get(place, {})
            used = {t: m for t, m in columns.items() if any(m in metrics for metrics in subjects.values())}
            rows = [["", *(title.strip() for title in used)]]
            for name, metrics in subjects.items():
                if any(metric in metrics for metric in used.values()):
                    rows.append([name, *(cell(metrics.get(metric, [])) for metric in used.values())])
            if len(rows) > 1:
                parts.append(f"## {title}\n\n{table(rows)}")
    return "\n\n".join(parts)


def goals_table(goals: list[Goal]) -> str:
    verdicts = {True: "yes", False: "**no**", None: "not measured"}
    rows = [["goal", "found", "rounds", "wanted", "met"]]
    for goal in goals:
        sign = "\N{GREATER-THAN OR EQUAL TO}" if goal.at_least else "\N{LESS-THAN OR EQUAL TO}"
        found = "" if goal.value is None else f"{number(goal.value)} {goal.unit}".strip()
        spread = (
            ""
            if goal.low is None or goal.high is None
            else f"{number(goal.low)}\N{EN DASH}{number(goal.high)}"
        )
        wanted = f"{sign} {goal.limit:.3g} {goal.unit}".strip()
        rows.append([goal.text, found, spread, wanted, verdicts[goal.met]])
    return table(rows)


def failures(results: Results) -> list[str]:
    """One line for each error, however often it came."""
    return [
        f"{subject}: {error} ({', '.join(dict.fromkeys(measures))}; {len(measures)} times)"
        for (subject, error), measures in results.errors.items()
    ]


def markdown(results: Results, goals: list[Goal], about: dict[str, Any]) -> str:
    said = [f"- {key}: {value}" for key, value in about.items()]
    said += [f"- not measured: {name}: {reason}" for name, reason in results.skipped.items()]
    said += [f"- FAILED: {line}" for line in failures(results)]
    head = "# Benchmark\n\nMedians of the rounds, with the least and the most."
    parts = [head, "\n".join(said), tables(results), "## Goals", goals_table(goals)]
    return "\n\n".join(parts) + "\n"


def write(
    out: Path, results: Results, goals: list[Goal], about: dict[str, Any], colors: dict[str, str]
) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "bench.md").write_text(markdown(results, goals, about))
    data = {
        "about": about,
        "skipped": results.skipped,
        "errors": failures(results),
        "rounds": results.rounds,
        "goals": [asdict(goal) | {"met": goal.met} for goal in goals],
    }
    (out / "bench.json").write_text(json.dumps(data, indent=1) + "\n")
    for name, place, metric, title, unit, log in PLOTS:
        found = [
            Bar(subject, median(values), min(values), max(values), colors.get(subject, "#888"))
            for subject, metrics in results.rounds.get(place, {}).items()
            if (values := metrics.get(metric))
        ]
        bars(out / f"{name}.svg", title, unit, found, log)
    for name, prefix, title, across in CURVES:
        lines = []
        for subject, metrics in results.rounds.get(NEAR, {}).items():
            points = [
                (float(metric.removeprefix(prefix)), median(values))
                for metric, values in metrics.items()
                if metric.startswith(prefix)
            ]
            lines.append(Curve(subject, points, colors.get(subject, "#888")))
        curves(out / f"{name}.svg", title, across, "MB/s", lines)
