"""`axxon-exportfs simulate`: the simulator as a command."""

import contextlib
import json
import re
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import click

from exportfs.simulator.certificates import make_certificates
from exportfs.simulator.clock import ManualClock, SystemClock
from exportfs.simulator.config import Account, Config, LoginConfig
from exportfs.simulator.control import Control
from exportfs.simulator.server import SimulatorServer
from exportfs.simulator.simulator import Simulator
from exportfs.simulator.site import believable_site

_SIZE = re.compile(r"(\d+)([KMGT]?)", re.IGNORECASE)
_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}


def _size(value: str) -> int:
    """Bytes, or K, M, G, T of 1024 each."""
    match = _SIZE.fullmatch(value)
    if match is None:
        raise click.BadParameter(f"invalid size {value!r}: give one such as 3G")
    return int(match[1]) << _UNITS[match[2].upper()]


@contextlib.contextmanager
def _directory(given: Path | None) -> Iterator[Path]:
    """Where certificates go: the given one, or a private one that is removed at the end."""
    if given is not None:
        given.mkdir(parents=True, exist_ok=True)
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="exportfs-simulator-") as made:
        yield Path(made)


def _announce(server: SimulatorServer, user: str, password: str, as_json: bool) -> None:
    ca_file = str(server.tls.ca_file) if server.tls is not None else None
    if as_json:
        # Not the password: what is printed ends up in logs.
        ready = {
            "address": server.address,
            "port": server.port,
            "ca_file": ca_file,
            "tls_server_name": server.tls.name if server.tls is not None else None,
            "user": user,
            "sessions": server.simulator.sessions.ids()[:1000],
        }
        print(json.dumps(ready), flush=True)
        return
    shown = "demo" if (user, password) == ("demo", "demo") else "as given"
    print(f"Simulated export server on {server.address}")
    print(f"  user {user}, password {shown}")
    if server.tls is not None:
        print(f"  CA file {ca_file}, server name {server.tls.name}")
    print("Ctrl-C ends it.", flush=True)


_ENDS = (signal.SIGTERM, signal.SIGINT)


class _End:
    """Waited for in the main thread. A pipe: what a signal's handler does with an event may be just what the thread is
    at, which then waits for itself; and a signal that another thread takes (as after SIGSTOP) wakes nobody from one."""

    def __init__(self) -> None:
        self._come, self._comes = socket.socketpair()
        self._comes.setblocking(False)
        self._before = signal.set_wakeup_fd(self._comes.fileno(), warn_on_full_buffer=False)

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        """The byte for it has been written."""

    def come(self) -> None:
        self._comes.send(b"\0")

    def wait(self) -> None:
        while self._come.recv(1)[0] not in (0, *_ENDS):
            pass

    def close(self) -> None:
        signal.set_wakeup_fd(self._before)
        self._come.close()
        self._comes.close()


def run(
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    insecure: bool = False,
    user: str = "demo",
    password: str = "demo",
    token_life: float = 300.0,
    export_seconds: float = 2.0,
    directory: Path | None = None,
    sessions: int = 0,
    big: tuple[int, ...] = (),
    as_json: bool = False,
    control: bool = False,
    manual_clock: bool = False,
) -> None:
    """Serves until SIGTERM, SIGINT or `quit`. To be called from the main thread.

    Durations in seconds, sizes in bytes. Raises RuntimeError where the port is taken, OSError where the
    directory cannot be written.
    """
    end = _End()
    before = {number: signal.signal(number, end.on_signal) for number in _ENDS}
    clock = ManualClock() if manual_clock else SystemClock()
    config = Config.of_site(
        believable_site(clock.now()),
        login=LoginConfig(accounts={user: Account(password)}, token_life=token_life),
        export_seconds=export_seconds,
    )
    simulator = Simulator(config, clock)
    try:
        with _directory(directory) as folder:
            tls = None if insecure else make_certificates(folder, config.node)
            for size in big:
                simulator.add_computed(size, expires=False)
            simulator.add_many(sessions)
            with SimulatorServer(simulator, host, port, tls) as server:
                _announce(server, user, password, as_json)
                if control:
                    # A daemon: it may be reading stdin when the signal comes.
                    commands = Control(server, end.come)
                    arguments = (sys.stdin, sys.stdout, threading.Lock())
                    threading.Thread(target=commands.serve, args=arguments, daemon=True).start()
                end.wait()
    finally:
        simulator.close()
        for number, handler in before.items():
            signal.signal(number, handler)
        end.close()


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, type=click.IntRange(0, 65535), help="TCP port; 0 takes any free one.")
@click.option("--insecure", is_flag=True, help="Plaintext instead of TLS.")
@click.option("--user", default="demo", show_default=True, help="The one account.")
@click.option("--password", default="demo", show_default=True, help="Its password: of no real server.")
@click.option("--token-life", default=300.0, show_default=True, help="Seconds that a login's token is valid.")
@click.option("--export-seconds", default=2.0, show_default=True, help="Seconds that an export takes.")
@click.option(
    "--directory",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where ca.crt and the server's key are put; otherwise a private directory, removed at the end.",
)
@click.option("--sessions", default=0, type=click.IntRange(0), help="Completed sessions to begin with.")
@click.option(
    "--big", metavar="SIZE", type=_size, multiple=True, help="A completed result of this size, such as 3G."
)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON when ready.")
@click.option("--control", is_flag=True, help="Take commands on stdin, one line of JSON each.")
@click.option("--manual-clock", is_flag=True, help="Time stands still but for the command `advance`.")
def simulate(**arguments: Any) -> None:
    """Run the bundled server simulator.

    An export server with some cameras and their footage, on its own, until Ctrl-C.
    """
    try:
        run(**arguments)
    except (RuntimeError, OSError) as error:
        raise click.ClickException(str(error)) from None
