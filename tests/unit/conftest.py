"""Fixtures of several rooms."""

import pytest

from exportfs.client import copy_file
from tests.support.small_files import CHUNK


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies go in chunks of CHUNK bytes, with a checkpoint after three."""
    monkeypatch.setattr(copy_file, "CHUNK_BYTES", CHUNK)
    monkeypatch.setattr(copy_file, "CHECKPOINT_BYTES", 3 * CHUNK)
