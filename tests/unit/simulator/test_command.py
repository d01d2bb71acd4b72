import ctypes
import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from exportfs.simulator import SimulatorServer
from exportfs.simulator.control import Control
from tests.unit.simulator.helpers import Client


class Process:
    """A simulator in a process of its own."""

    def __init__(self, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "exportfs.simulator", "--json", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.ready = self.answer()

    def answer(self) -> Any:
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def do(self, name: str, **arguments: object) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": name} | arguments) + "\n")
        self.process.stdin.flush()
        answer = self.answer()
        assert answer.pop("ok"), answer
        return answer

    def end(self) -> int:
        """Waits for the end of it."""
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        return self.process.wait(60)


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    processes = []

    def make(*arguments: str) -> Process:
        processes.append(Process(*arguments))
        return processes[-1]

    yield make
    for one in processes:
        if one.process.poll() is None:
            one.process.kill()
        one.end()


def test_the_command_serves_over_tls_until_it_is_ended(start: Callable[..., Process]) -> None:
    simulator = start("--sessions", "2", "--big", "3G", "--user", "eve", "--password", "secret")
    ready = simulator.ready
    ca_file = Path(ready["ca_file"])
    assert ready["user"] == "eve"
    assert "secret" not in json.dumps(ready)
    credentials = grpc.ssl_channel_credentials(ca_file.read_bytes())
    client = Client(ready["address"], credentials, ready["tls_server_name"])
    assert client.login("eve", "secret").token_value
    infos = client.all()
    assert [info.session.id for info in infos] == ready["sessions"]
    assert infos[0].state.result.files[0].size == 3 << 30
    client.close()
    simulator.process.send_signal(signal.SIGTERM)
    assert simulator.end() == 0
    assert not ca_file.parent.exists()


def test_commands(start: Callable[..., Process], tmp_path: Path) -> None:
    simulator = start("--control", "--insecure", "--manual-clock", "--directory", str(tmp_path))
    client = Client(simulator.ready["address"])
    client.login()
    added = simulator.do("add", sizes=[100_000], names=["f"], seed="s")
    number = simulator.do("fault", method="DownloadFile", action="Fail", code="INTERNAL", times=None)["id"]
    with pytest.raises(grpc.RpcError) as caught:
        client.read(added["session"], "f")
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert simulator.do("remove", id=number) == {"hits": 1}
    assert len(client.read(added["session"], "f")) == 100_000
    stats = simulator.do("stats")
    assert (stats["counts"]["DownloadFile"], stats["bytes_sent"], stats["logins"]) == (2, 100_000, 1)
    assert [call["outcome"] for call in simulator.do("calls", method="DownloadFile")["calls"]] == [
        "INTERNAL",
        "OK",
    ]
    simulator.do("advance", seconds=301)
    with pytest.raises(grpc.RpcError):
        client.all()
    client.close()
    simulator.do("quit")
    assert simulator.end() == 0


def test_quit_is_answered_before_the_end(server: SimulatorServer) -> None:
    """The process ends with its main thread, whatever the one that answers has still to say."""
    answers = io.StringIO()
    said_by_then = []
    control = Control(server, lambda: said_by_then.append(answers.getvalue()))
    commands = io.StringIO('{"do": "stats"}\n{"do": "quit"}\n{"do": "stats"}\n')
    control.serve(commands, answers, threading.Lock())
    assert said_by_then == [answers.getvalue()]
    assert [json.loads(line)["ok"] for line in answers.getvalue().splitlines()] == [True, True]


def test_interrupting_it(start: Callable[..., Process]) -> None:
    simulator = start("--control")
    simulator.process.send_signal(signal.SIGINT)
    assert simulator.end() == 0


def test_a_signal_that_another_thread_takes(start: Callable[..., Process]) -> None:
    """Any may, when it comes to a process that stands still: it was never heard of."""
    simulator = start("--insecure")
    pid = simulator.process.pid
    other = next(int(name) for name in os.listdir(f"/proc/{pid}/task") if int(name) != pid)
    assert ctypes.CDLL(None).tgkill(pid, other, signal.SIGTERM) == 0
    assert simulator.end() == 0


def test_the_end_of_stdin_is_not_the_end(start: Callable[..., Process]) -> None:
    simulator = start("--control", "--insecure")
    assert simulator.process.stdin is not None
    simulator.process.stdin.close()
    client = Client(simulator.ready["address"])
    assert client.login().token_value
    client.close()
    simulator.process.terminate()
    assert simulator.end() == 0


def test_what_people_read(server: SimulatorServer) -> None:
    arguments = [sys.executable, "-m", "exportfs.simulator", "--port", str(server.port)]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=20)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    with subprocess.Popen(arguments[:3], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(4)]
        process.terminate()
    assert "user demo, password demo" in lines[1]
    assert "ca.crt" in lines[2]


@pytest.fixture
def control(server: SimulatorServer) -> Control:
    return Control(server, lambda: None)


def _do(control: Control, name: str, **arguments: object) -> Any:
    return control.carry_out(json.dumps({"do": name} | arguments))


@pytest.mark.parametrize(
    "line",
    [
        "",
        "{",
        "[]",
        '{"do": "dance"}',
        '{"do": "fault", "method": "x", "action": "Fly"}',
        '{"do": "advance"}',
    ],
)
def test_wrong_commands_are_answered(control: Control, line: str) -> None:
    answer = control.carry_out(line)
    assert not answer["ok"]
    assert answer["error"]


def test_all_commands(control: Control, server: SimulatorServer, client: Client) -> None:
    session = _do(control, "add", sizes=[10], names=["f"])["session"]
    assert len(_do(control, "add_many", count=3, size=5)["sessions"]) == 3
    sessions = _do(control, "sessions")["sessions"]
    assert sessions[0] == {"id": session, "files": {"f": 10}}
    digest = _do(control, "digest", session=session, file="f")
    assert (digest["size"], len(digest["sha256"])) == (10, 64)
    assert _do(control, "resize", session=session, file="f", size=5)["ok"]
    assert len(client.read(session, "f")) == 5
    assert _do(control, "destroy", session=session)["ok"]
    assert not _do(control, "destroy", session=session)["ok"]
    assert _do(control, "fault", method="ListSessions", action="Answer", replies=["0a02fffe"])["id"] == 1
    assert _do(control, "login", code=4, description="locked")["ok"]
    assert client.login().error_code == 4
    assert _do(control, "release")["ok"]
    assert _do(control, "clear")["ok"]
    assert len(client.all()) == 3
    assert _do(control, "revoke")["ok"]
    assert _do(control, "reset_stats")["ok"]
    assert _do(control, "stats")["counts"] == {}
    port = server.port
    for name in ("stop", "start", "restart"):
        assert _do(control, name)["ok"]
    assert server.port == port
    assert _do(control, "quit")["ok"]
