"""Commands run in this process see nothing of this machine."""

import pytest

from tests.support.commands import mount, run, surroundings, time, waited

__all__ = ["mount", "run", "surroundings", "time", "waited"]


@pytest.fixture
def fresh() -> bool:
    """They are about commands on a mount."""
    return False
