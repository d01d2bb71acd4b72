"""Puts each of the other servers before the simulator."""

from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from exportfs.simulator import SimulatorServer, make_certificates
from tests.conftest import FrontFactory
from tests.servers.fronts import Cpp, Front, Nginx, Node, end_idle

KINDS: dict[str, type[Front]] = {"node": Node, "cpp": Cpp, "nginx": Nginx}


def needed(kind: type[Any]) -> None:
    """Skips the test where a server is not installed."""
    missing = kind.missing()
    if missing:
        pytest.skip(missing)


@pytest.fixture(scope="session", autouse=True)
def _node_ends() -> Iterator[None]:
    yield
    end_idle()


@pytest.fixture(scope="session")
def cpp_program(pytestconfig: pytest.Config) -> Path:
    """The C++ server; compiled once and kept, since that takes a minute or two."""
    needed(Cpp)
    assert pytestconfig.cache is not None
    return Cpp.build(Path(pytestconfig.cache.mkdir("cpp-server")))


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.xdist_group(kind)) for kind in KINDS])
def other_front(request: pytest.FixtureRequest, tmp_path: Path) -> FrontFactory:
    """Node, C++ and nginx, each, as in the field, with TLS."""
    kind: type[Any] = KINDS[request.param]
    needed(kind)
    folder = tmp_path / request.param
    folder.mkdir()
    tls = make_certificates(folder)

    def before(server: SimulatorServer) -> AbstractContextManager[Any]:
        if kind is Cpp:
            return Cpp(server, folder, tls, program=request.getfixturevalue("cpp_program"))
        made: Front = kind(server, folder, tls)
        return made

    return before
