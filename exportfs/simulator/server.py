"""A simulator on the network."""

from concurrent.futures import ThreadPoolExecutor

import grpc

from exportfs.simulator.certificates import Certificates
from exportfs.simulator.simulator import Simulator

_WORKERS = 64
"""Threads for calls: stuck downloads must not keep other calls from being answered."""


class SimulatorServer:
    """Serves a `Simulator` over gRPC. A context manager: starts, and stops at the end.

    gRPC's own limits are left as they are, so that a client that pings too often gets a GOAWAY. Only the size
    of a request is unlimited.
    """

    def __init__(
        self,
        simulator: Simulator,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: Certificates | None = None,
        workers: int = _WORKERS,
        at_once: int | None = None,
    ) -> None:
        """`port` 0: any free one, kept over restarts. `tls` None: plaintext. `at_once`: calls on one connection at a
        time; None: as many as come."""
        self.simulator = simulator
        self.host = host
        self.port = port
        self.tls = tls
        self._workers = workers
        self._at_once = at_once
        self._server: grpc.Server | None = None
        self._pool: ThreadPoolExecutor | None = None

    @property
    def address(self) -> str:
        """`host:port`, as a channel wants it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def running(self) -> bool:
        return self._server is not None

    def start(self) -> None:
        """Returns when it serves. Raises RuntimeError where the port is taken."""
        if self._server is not None:
            raise RuntimeError("the server runs already")
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="simulator")
        # Without this a second server on the same port would silently share it.
        options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", -1)]
        if self._at_once is not None:
            options.append(("grpc.max_concurrent_streams", self._at_once))
        server = grpc.server(pool, options=options)
        server.add_generic_rpc_handlers(self.simulator.handlers())
        try:
            self.port = self._bind(server)
        except RuntimeError:
            pool.shutdown()
            raise
        server.start()
        self._server, self._pool = server, pool

    def _bind(self, server: grpc.Server) -> int:
        if self.tls is None:
            return server.add_insecure_port(self.address)
        pair = (self.tls.key_file.read_bytes(), self.tls.certificate_file.read_bytes())
        return server.add_secure_port(self.address, grpc.ssl_server_credentials([pair]))

    def stop(self, grace: float = 0.0) -> None:
        """Refuses new calls at once, and ends the running ones after `grace` seconds; then returns."""
        if self._server is None or self._pool is None:
            return
        server, pool = self._server, self._pool
        self._server = self._pool = None
        stopped = server.stop(grace)
        if grace > 0:
            stopped.wait(grace)
        for call in self.simulator.log.running():
            call.wake(stopping=True)
        stopped.wait()
        pool.shutdown(wait=True)

    def restart(self, *, forget_tokens: bool = False) -> None:
        """Kills the server and starts it again on its port, with its sessions; logins may be lost."""
        self.stop()
        if forget_tokens:
            self.simulator.accounts.revoke()
        self.start()

    def __enter__(self) -> "SimulatorServer":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
