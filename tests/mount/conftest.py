"""These tests are about the process, from its start on."""

import pytest


@pytest.fixture
def fresh() -> bool:
    return True
