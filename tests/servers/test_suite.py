"""The behaviour suite's reading and `new/`, and the faults of connections, against servers that are not our own.

The tests are those of the other folders; `front` and with it `server`, `mount` and `scene` are this folder's.
"""
# ruff: noqa: F401

import pytest

from tests.behaviour.test_main_job import test_bad_request, test_computed_result, test_request_to_result
from tests.conftest import FrontFactory
from tests.faults.test_matrix import scene as matrix_scene
from tests.faults.test_resume import scene, test_break_in_the_middle
from tests.new.test_exactly_once import (
    test_lost_reply,
    test_lost_request,
    test_the_same_again_after_a_remount,
    test_the_server_restarts_at_that_moment,
)


@pytest.fixture
def front(other_front: FrontFactory) -> FrontFactory:
    """Each of the other servers in turn."""
    return other_front


pytestmark = [pytest.mark.mount, pytest.mark.slow]
