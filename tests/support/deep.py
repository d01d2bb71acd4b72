"""Every property again and again, each for a while: what one run in a thousand would find. `make deep` loads it.

A run of the suite tries some hundred examples of each; an example that is rarer than that fails some day, on somebody
else's change. Each round is what such a run does, with a seed of its own."""

import os
import time

import pytest
from hypothesis import is_hypothesis_test

SECONDS = float(os.environ.get("EXPORTFS_DEEP", "60"))
"""For which each is repeated; a round that has begun is ended."""
ROUNDS = "rounds"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Only properties are left."""
    others = [item for item in items if not is_hypothesis_test(getattr(item, "obj", None))]
    config.hook.pytest_deselected(items=others)
    items[:] = [item for item in items if item not in set(others)]


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool:
    names = pyfuncitem._fixtureinfo.argnames
    given = {name: pyfuncitem.funcargs[name] for name in names}
    until, rounds = time.monotonic() + SECONDS, 0
    try:
        while not rounds or time.monotonic() < until:
            rounds += 1
            pyfuncitem.obj(**given)
    finally:
        pyfuncitem.user_properties.append((ROUNDS, rounds))
    return True


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """How often each was repeated: few rounds prove little."""
    terminalreporter.section("rounds")
    for outcome in ("passed", "failed"):
        for report in terminalreporter.getreports(outcome):
            for name, rounds in report.user_properties:
                if name == ROUNDS and report.when == "call":
                    terminalreporter.line(f"{rounds:6} {report.nodeid}")
