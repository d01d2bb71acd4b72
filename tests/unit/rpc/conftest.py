"""Fixtures of downloads."""

import pytest

from tests.support.tls import Ends, ends


@pytest.fixture(scope="session", params=[False, True], ids=["plain", "TLS"])
def encryption(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Ends | None:
    """None: none. What is cut anywhere is cut in records then, not in packets."""
    return ends(tmp_path_factory.mktemp("tls")) if request.param else None
