"""Changes of the block size, as the log tells them in the field."""

import logging

import pytest

from exportfs.config import KIB, MIB
from exportfs.content.block_sizes import BlockSizes
from exportfs.content.line import Line
from exportfs.content.tuning import BLOCK_QUICK, BLOCK_SLOW, QUICK_BEFORE_UP


def test_a_change_of_block_size_is_logged_once_with_its_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "exportfs.content")
    sizes = BlockSizes(256 * MIB, Line())
    said = "streams have blocks of {} KiB from now on: "
    sizes.right(MIB, BLOCK_SLOW / 2, whole=True)
    assert caplog.messages == []
    sizes.right(MIB, BLOCK_SLOW * 2, whole=True)
    sizes.right(MIB, BLOCK_SLOW * 2, whole=True)  # no longer the size in use: nothing changes
    assert caplog.messages == [said.format(512) + "blocks of 1024 KiB took too long"]
    caplog.clear()
    for _ in range(QUICK_BEFORE_UP):
        sizes.right(512 * KIB, BLOCK_QUICK / 2, whole=True)
    assert caplog.messages == [said.format(1024) + "larger blocks are tried again: they came quickly"]
    caplog.clear()
    sizes.worse(MIB, proof=True)
    refused = "blocks of 1024 KiB are not asked for again: the server refuses them"
    assert caplog.messages == [said.format(512) + refused]


def test_a_size_at_the_bottom_is_no_change(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "exportfs.content")
    sizes = BlockSizes(64 * KIB, Line())
    assert sizes.sizes == [16 * KIB]
    sizes.stalled(16 * KIB)
    assert caplog.messages == []
