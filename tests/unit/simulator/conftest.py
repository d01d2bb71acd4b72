from collections.abc import Callable, Iterator

import pytest

from exportfs.simulator import Config, ManualClock, Simulator, SimulatorServer
from tests.unit.simulator.helpers import Client

Make = Callable[..., SimulatorServer]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def make_server(clock: ManualClock) -> Iterator[Make]:
    """Starts servers with a `Config`, on the clock that the test moves."""
    servers = []

    def make(config: Config | None = None, **options: object) -> SimulatorServer:
        server = SimulatorServer(Simulator(config, clock), **options)  # type: ignore[arg-type] # its parameters by name
        servers.append(server)
        server.start()
        return server

    yield make
    for server in servers:
        server.stop()
        server.simulator.close()


@pytest.fixture
def connect() -> Iterator[Callable[[SimulatorServer], Client]]:
    """Clients that are logged in."""
    clients = []

    def make(server: SimulatorServer) -> Client:
        clients.append(Client.of(server))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def server(make_server: Make) -> SimulatorServer:
    return make_server()


@pytest.fixture
def simulator(server: SimulatorServer) -> Simulator:
    return server.simulator


@pytest.fixture
def client(server: SimulatorServer, connect: Callable[[SimulatorServer], Client]) -> Client:
    return connect(server)
