"""Whether a listed session is the one that was asked for: what is kept to answer that."""

import tracemalloc

from exportfs.requests.matching import matches
from exportfs.wire import export


def test_large_requests_are_not_held() -> None:
    """They may be megabytes, and live in a mount for weeks."""

    def compare(number: int) -> None:
        options = export.Options(export_agent_access_point=f"{number}" + "x" * (1 << 20)).SerializeToString()
        other = export.Options(export_agent_access_point=f"{number}").SerializeToString()
        assert not matches(options, other)

    compare(0)
    tracemalloc.start()
    try:
        for number in range(20):
            compare(number)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1 << 20
