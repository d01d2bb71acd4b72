"""Another gRPC server, or a proxy, before the simulator.

What the mount speaks with is then another implementation of HTTP/2 and of protobuf, while what happens behind it (the
sessions, the faults by script, the log of calls) is the simulator's: so the whole suite can run against each. Each
front is a process of its own that ends with its standard input, hence with us.
"""

import contextlib
import fcntl
import functools
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
from pathlib import Path
from typing import IO, Any, Self

from bench.cpp_server import compile_as_one
from exportfs.simulator import Certificates, SimulatorServer
from tests.support import processes
from tests.support.harness import DEADLINE, eventually
from tests.support.ports import reserved

HERE = Path(__file__).parent
PROTOS = HERE.parents[1] / "protos"
SERVED = ("axxonsoft/bl/mmexport/ExportService", "axxonsoft/bl/auth/Authentication")
USED = (*SERVED, "axxonsoft/bl/mmexport/Export", "axxonsoft/bl/primitive/Primitives")


class Front:
    """A server before another. A context manager: starts, and stops at the end."""

    def __init__(self, behind: SimulatorServer, folder: Path, tls: Certificates | None = None) -> None:
        self.behind = behind
        self.folder = folder
        self.tls = tls
        self.port = 0
        self._kept = contextlib.ExitStack()
        """So that nobody else gets its port before it is there, or while it is not."""
        self._process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        """How to run it."""
        raise NotImplementedError

    def start(self) -> None:
        """Returns when it serves."""
        self._process = self._run(self.command())
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline() or 0)
        assert self.port, "the server did not start"

    def stop(self, grace: float = 0.0) -> None:
        """Ends it, and the simulator too: who looks at it sees one server."""
        self._end()
        self.behind.stop(grace)

    def restart(self, *, forget_tokens: bool = False) -> None:
        """Kills the server and starts it again on its port, with its sessions; logins may be lost."""
        self._end()
        self.behind.restart(forget_tokens=forget_tokens)
        self.start()

    def order(self, text: str) -> None:
        """Tells the process something, and waits until it has done so."""
        assert self._said(text) == text.split()[0]

    def _said(self, order: str) -> str:
        """Its answer; empty where it ended without one."""
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def __enter__(self) -> Self:
        try:
            self.port = self._kept.enter_context(reserved())
            self.start()
        except BaseException:
            self._end()
            self._kept.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._leave()
        self._kept.close()

    def _leave(self) -> None:
        self._end()

    def _run(
        self, command: list[str], *, folder: Path | None = None, env: dict[str, str] | None = None
    ) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            command,
            cwd=folder or self.folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate(timeout=DEADLINE)


class Node(Front):
    """grpc-js. Further settings as in `node/front.js`."""

    def __init__(
        self, behind: SimulatorServer, folder: Path, tls: Certificates | None = None, **settings: Any
    ) -> None:
        super().__init__(behind, folder, tls)
        self.settings = settings

    @staticmethod
    def missing() -> str | None:
        """What is not there of what it needs."""
        if shutil.which("node") is None:
            return "no node"
        if not (HERE / "node/node_modules/@grpc/grpc-js").is_dir():
            return "no packages for node: make test-system"
        return None

    def start(self) -> None:
        """In a process that has served another test, if there is one: Node takes most of a second to begin."""
        while (process := _idle.pop() if _idle else self._begun()).poll() is not None:
            pass
        self._process = process
        config: dict[str, Any] = {"upstream": self.behind.address, "port": self.port, **self.settings}
        if self.tls is not None:
            config |= {"cert": os.fspath(self.tls.certificate_file), "key": os.fspath(self.tls.key_file)}
        self.port = int(self._said(f"serve {json.dumps(config)}") or 0)
        assert self.port, "the server did not start"

    def refused(self) -> int:
        """How many downloads it has refused for the size of their blocks."""
        return int(self._said("refused"))

    def _begun(self) -> "subprocess.Popen[str]":
        command = ["node", os.fspath(HERE / "node/front.js"), os.fspath(PROTOS)]
        return self._run(command, folder=HERE, env={**os.environ, **processes.shared_mark()})

    def _leave(self) -> None:
        """Nothing of this server is left in its process, or that is ended as well."""
        process = self._process
        if process is not None and process.poll() is None and self._said("end") == "end":
            self._process = None
            _idle.append(process)
        self._end()


_idle: list["subprocess.Popen[str]"] = []
"""Processes of Node that serve nobody at the moment."""


def end_idle() -> None:
    """No process of Node outlives the run. Not asked to end: on a machine that is busy with others' tests one did not
    within 20 s, and nobody cares how it ends."""
    while _idle:
        process = _idle.pop()
        process.kill()
        process.communicate(timeout=DEADLINE)


class Cpp(Front):
    """Debian's libgrpc++."""

    @staticmethod
    @functools.cache  # pkg-config takes half a second
    def missing() -> str | None:
        """What is not there of what it needs."""
        tools = [
            name for name in ("g++", "protoc", "grpc_cpp_plugin", "pkg-config") if not shutil.which(name)
        ]
        if tools:
            return f"no {tools[0]}: apt install g++ libgrpc++-dev libprotobuf-dev protobuf-compiler-grpc"
        known = subprocess.run(["pkg-config", "--exists", "grpc++"], check=False).returncode == 0
        return None if known else "no libgrpc++-dev"

    @staticmethod
    def build(folder: Path) -> Path:
        """The program, compiled into `folder` unless it is there already."""
        sources = [HERE / "cpp/front.cc", *(PROTOS / f"{name}.proto" for name in USED)]
        digest = hashlib.sha256(b"".join(source.read_bytes() for source in sources)).hexdigest()
        program = folder / f"front-{digest[:16]}"
        with (folder / "lock").open(
            "w"
        ) as lock:  # one worker of a parallel run compiles, the others wait for it
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not program.exists():
                Cpp._compile(folder, program)
        return program

    @staticmethod
    def _compile(folder: Path, program: Path) -> None:
        place = folder / f"build-{os.getpid()}"
        place.mkdir()
        try:
            protos = [f"{name}.proto" for name in USED]
            plugin = f"--plugin=protoc-gen-grpc={shutil.which('grpc_cpp_plugin')}"
            to = [f"--cpp_out={place}", f"--grpc_out={place}", plugin]
            subprocess.run(["protoc", f"-I{PROTOS}", *to, *protos], check=True)
            made = [f"{name}.pb.cc" for name in USED] + [f"{name}.grpc.pb.cc" for name in SERVED]
            built = place / "front"
            compile_as_one([*made, HERE / "cpp/front.cc"], place, built, "-std=c++17", "-O0")
            built.rename(program)
        finally:
            shutil.rmtree(place)

    def __init__(
        self, behind: SimulatorServer, folder: Path, tls: Certificates | None = None, *, program: Path
    ) -> None:
        super().__init__(behind, folder, tls)
        self.program = program

    def command(self) -> list[str]:
        pair = [os.fspath(self.tls.certificate_file), os.fspath(self.tls.key_file)] if self.tls else []
        return [os.fspath(self.program), self.behind.address, str(self.port), *pair]


class Nginx(Front):
    """nginx with `grpc_pass`. `http`: further lines for its configuration."""

    main = "master_process off;"
    """One process, so that nothing outlives it."""

    def __init__(
        self,
        behind: SimulatorServer,
        folder: Path,
        tls: Certificates | None = None,
        *,
        underscores: bool = True,
        http: str = "",
    ) -> None:
        super().__init__(behind, folder, tls)
        self.underscores = underscores
        self.http = http

    @staticmethod
    def missing() -> str | None:
        """What is not there of what it needs."""
        return None if shutil.which("nginx") else "no nginx"

    def start(self) -> None:
        self._process = self._run(self.command())
        threading.Thread(target=_drain, args=(self._process.stdout,), daemon=True).start()
        eventually(self._listens)

    def _listens(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "nginx.log").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def command(self) -> list[str]:
        """As the vendor's users set it up."""
        temporary = "".join(
            f"{kind}_temp_path {self.folder}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        (self.folder / "nginx.conf").write_text(
            f"""
            daemon off; {self.main} pid {self.folder}/nginx.pid; error_log {self.folder}/nginx.log;
            {"user root;" if os.geteuid() == 0 else ""}
            events {{ worker_connections 512; }}
            http {{
                access_log off; {temporary}
                {self.block()}
            }}
            """
        )
        return ["nginx", "-p", os.fspath(self.folder), "-c", os.fspath(self.folder / "nginx.conf")]

    def block(self) -> str:
        """Its `server`."""
        pair = ""
        if self.tls is not None:
            pair = f"ssl_certificate {self.tls.certificate_file}; ssl_certificate_key {self.tls.key_file};"
        return f"""
            server {{
                listen 127.0.0.1:{self.port} {"ssl" if self.tls else ""} http2; {pair}
                underscores_in_headers {"on" if self.underscores else "off"};
                {"" if "client_max_body_size" in self.http else "client_max_body_size 64m;"}
                grpc_read_timeout 1h; grpc_send_timeout 1h;
                {self.http}
                location / {{ grpc_pass grpc://{self.behind.address}; }}
            }}
        """


class ReloadedNginx(Nginx):
    """nginx as a service runs it, configured as docs/server-contract.md says but for addresses and files.

    It takes over a changed configuration by new workers: the old ones refuse new calls with GOAWAY, and what they still
    serve is cut off after a moment.
    """

    main = "worker_processes 1; worker_shutdown_timeout 200ms;"

    def block(self) -> str:
        assert self.tls is not None
        page = (PROTOS.parent / "docs/server-contract.md").read_text()
        (text,) = re.findall(r"^```\n(server \{\n.*?)^```$", page, re.DOTALL | re.MULTILINE)
        for word, ours in (
            ("20109", f"127.0.0.1:{self.port}"),
            ("/etc/nginx/vms.pem", self.tls.certificate_file),
            ("/etc/nginx/vms.key", self.tls.key_file),
            ("127.0.0.1:20110", self.behind.address),
            ("underscores_in_headers on;", f"underscores_in_headers on; {self.http}"),
        ):
            assert text.count(word) == 1, word
            text = text.replace(word, str(ours))
        return str(text)

    def reload(self) -> None:
        """Returns when the old workers are gone."""
        assert self._process is not None
        old = self._workers()
        self._process.send_signal(signal.SIGHUP)
        eventually(lambda: self._workers() and not set(old) & set(self._workers()))

    def _workers(self) -> list[str]:
        assert self._process is not None
        return Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()

    def _end(self) -> None:
        if self._process is not None:
            self._process.terminate()  # killed, it would leave its workers
            self._process.wait(DEADLINE)
        super()._end()


def _drain(pipe: IO[str] | None) -> None:
    if pipe is not None:
        pipe.read()
