"""Tests that make bare Debian machines run only where they are asked for: `make test-machines`."""

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if "bare" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("bare")]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if not item.get_closest_marker("bare")]
