"""Everything that the subjects read from: the files, our server, nginx, sshd, and the long line."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from bench import cpp_server
from bench.content import MIB, Content, make_file
from bench.processes import Child, Failed, python, wait_for
from bench.security import Security, security

PARTS = 8
RUN_SSHD = Path("/run/sshd")  # sshd refuses to run as root without it
SMALL = (1, 16, 64)  # MiB: points of the cost curve below the part size


@dataclass
class Plan:
    """How much is read."""

    size: int
    line_size: int  # through the long line
    reads: int = 200
    line_reads: int = 200
    align: int = 1  # of random reads: any offset, as a player's
    delay_ms: float = 20
    cache_size: str = "256M"
    server: str = ""  # "cpp" or "python"; empty: C++ where it can be built
    tls: bool = False  # between our mount, the bare loops and our server
    built: Path = Path("bench/out/server")  # where the one in C++ is kept

    @property
    def part_size(self) -> int:
        return max(2 * MIB, self.size // PARTS)

    def files(self) -> dict[str, int]:
        found = {"big.mp4": self.size, "line.mp4": self.line_size}
        found |= {f"part{number}.mp4": self.part_size for number in range(PARTS)}
        return found | {f"small{size}.mp4": size * MIB for size in SMALL if size * MIB < self.part_size}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def listening(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@dataclass
class Setup:
    plan: Plan
    work: Path
    data: Path
    copies: Path
    contents: dict[str, Content]
    server: Child
    ports: dict[str, int]
    security: Security
    line_ports: dict[str, int] = field(default_factory=dict)
    helpers: dict[str, Child] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    served: str = ""  # the server, in the report's words

    def port(self, service: str, line: bool) -> int:
        return (self.line_ports if line else self.ports)[service]

    def stats(self) -> dict[str, int]:
        return self.server.ask("stats")

    def settled(self) -> dict[str, int]:
        """The server's counters once a cancel has reached it and nothing is sent any more."""
        last, deadline = self.stats(), time.monotonic() + 2
        while time.monotonic() < deadline:
            time.sleep(0.1)
            now = self.stats()
            if now["bytes"] == last["bytes"]:
                return now
            last = now
        return last


NGINX = """
{user}
daemon off; worker_processes 1; pid {work}/nginx.pid; error_log {work}/nginx.log;
events {{ worker_connections 256; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000;
  client_body_temp_path {work}/t1; proxy_temp_path {work}/t2; fastcgi_temp_path {work}/t3;
  uwsgi_temp_path {work}/t4; scgi_temp_path {work}/t5;
  server {{ listen 127.0.0.1:{port}; root {data}; autoindex on; }}
}}
"""

SSHD = """
ListenAddress {host}:{port}
HostKey {work}/host_key
AuthorizedKeysFile {work}/user_key.pub
PidFile {work}/sshd.pid
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
Subsystem sftp internal-sftp
"""


def start_nginx(work: Path, data: Path) -> tuple[Child, int]:
    program = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
    if program is None:
        raise Failed("nginx is not installed")
    port = free_port()
    config = work / "nginx.conf"
    user = f"user {getpass.getuser()};" if os.geteuid() == 0 else ""
    config.write_text(NGINX.format(user=user, work=work, data=data, port=port))
    child = Child([program, "-c", str(config), "-e", f"{work}/nginx.log"], work / "nginx.out")
    _wait("nginx", child, lambda: listening(port))
    return child, port


def as_it_is(command: list[str]) -> list[str]:
    return command


def start_sshd(
    work: Path, host: str = "127.0.0.1", place: Callable[[list[str]], list[str]] = as_it_is
) -> tuple[Child, int]:
    """`place` gives the command that runs another one where `host` is."""
    program, keygen = shutil.which("/usr/sbin/sshd"), shutil.which("ssh-keygen")
    if program is None or keygen is None:
        raise Failed("sshd is not installed")
    for key in ("host_key", "user_key"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(work / key)], check=True)
    if os.geteuid() == 0:
        RUN_SSHD.mkdir(mode=0o755, exist_ok=True)
    port = free_port()
    config = work / "sshd_config"
    config.write_text(SSHD.format(work=work, host=host, port=port))
    log = work / "sshd.log"
    child = Child(place([program, "-D", "-e", "-f", str(config)]), log)
    _wait("sshd", child, lambda: "Server listening" in log.read_text(errors="replace"))
    return child, port


def remove(directory: Path) -> None:
    with contextlib.suppress(OSError):
        directory.rmdir()


def _wait(name: str, child: Child, ready: Callable[[], bool]) -> None:
    try:
        wait_for(name, ready, child.alive, 10)
    except Failed as error:
        child.stop()
        raise Failed(f"{error}: {child.last_words()}") from None


def serving(plan: Plan) -> tuple[list[str], str]:
    """The command of the server that was asked for, and what the report says of it."""
    if plan.server == "python":
        return python("bench.server"), "in Python, as asked"
    reason = cpp_server.missing()
    if reason is None:
        try:
            return [str(cpp_server.build(plan.built))], "in C++"
        except cpp_server.BuildError as error:
            reason = str(error)
    if plan.server:
        raise Failed(f"the server in C++ cannot be built: {reason}")
    return python("bench.server"), f"in Python, whose own cost understates the mount ({reason})"


@contextlib.contextmanager
def build(plan: Plan, peers: bool, line: bool) -> Iterator[Setup]:
    """All of it, and whatever happens, none of it afterwards."""
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with contextlib.ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="exportfs-bench-")))
        kept = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="exportfs-bench-", dir=memory)))
        data, copies = kept / "data", kept / "copies"
        data.mkdir()
        copies.mkdir()
        for name, size in plan.files().items():
            make_file(data / name, size)
        command, served = serving(plan)
        secured = security(work, plan.tls)
        server = Child([*command, str(data), *secured.server()], work / "server.log", pipes=True)
        stack.callback(server.stop)
        setup = Setup(
            plan=plan,
            work=work,
            data=data,
            copies=copies,
            contents={name: Content(data / name) for name in plan.files()},
            server=server,
            ports={"grpc": int(server.line())},
            security=secured,
            served=f"{served}, {secured}",
        )
        if peers:
            if os.geteuid() == 0 and not RUN_SSHD.exists():
                stack.callback(remove, RUN_SSHD)
            starts: dict[str, Callable[[], tuple[Child, int]]] = {
                "nginx": partial(start_nginx, work, data),
                "sshd": partial(start_sshd, work),
            }
            for name, start in starts.items():
                try:
                    child, port = start()
                except Failed as error:
                    setup.missing[name] = str(error)
                    continue
                stack.callback(child.stop)
                setup.helpers[name], setup.ports[name] = child, port
        if line:
            targets = [str(port) for port in setup.ports.values()]
            proxy = Child(python("bench.proxy", str(plan.delay_ms), *targets), work / "proxy.log", pipes=True)
            stack.callback(proxy.stop)
            own = [int(port) for port in proxy.line().split()]
            setup.line_ports = dict(zip(setup.ports, own, strict=True))
        yield setup
