"""What differs from run to run, again and again, each for a while: what one run in a thousand would find. `make deep`
loads it.

A run of the suite tries some hundred examples of each property, and draws once where a test is marked `deep`; what is
rarer than that fails some day, on somebody else's change. Each round is what such a run does, with fixtures and a seed
of its own."""

import os
import time

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import is_hypothesis_test

SECONDS = float(os.environ.get("EXPORTFS_DEEP", "60"))
"""For which each is repeated; a round that has begun is ended."""
LAST_ROUND = 900.0
"""Seconds that the last one may take: the longest bound of the tests, and the 300 s for which hypothesis shortens what
it has found."""
ROUNDS = "rounds"


def differs(item: pytest.Item) -> bool:
    """Whether another run of it may have another outcome, by intention."""
    return is_hypothesis_test(getattr(item, "obj", None)) or item.get_closest_marker("deep") is not None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Only these are left."""
    config.hook.pytest_deselected(items=[item for item in items if not differs(item)])
    items[:] = [item for item in items if differs(item)]
    for item in items:
        # Before the test's own, which is for a single round.
        item.add_marker(pytest.mark.timeout(SECONDS + LAST_ROUND), append=False)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Reports the last round, which is the one that failed if any has."""
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    until, rounds, over = time.monotonic() + SECONDS, 0, False
    while not over:
        # What the rounds before have printed.
        item._report_sections.clear()
        rounds += 1
        reports = runtestprotocol(item, log=False, nextitem=nextitem)
        over = time.monotonic() >= until or not all(report.passed for report in reports)
    for report in reports:
        report.user_properties.append((ROUNDS, rounds))
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How often each was repeated: few rounds prove little."""
    terminalreporter.section("rounds")
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, rounds in report.user_properties:
                if name == ROUNDS and report.when == "call":
                    terminalreporter.line(f"{rounds:6} {report.nodeid}")
