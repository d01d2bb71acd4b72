"""systemd's notifications, and the signals that make a mount say what it does."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from exportfs.simulator import Hang, Simulator, SimulatorServer
from exportfs.supervision import Notifier
from tests.conftest import MountFactory
from tests.support.harness import MountProcess, eventually


@pytest.fixture
def service_manager(tmp_path: Path) -> socket.socket:
    receiver = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    receiver.bind(os.fspath(tmp_path / "notify"))
    receiver.settimeout(20)
    return receiver


def test_nobody_asked() -> None:
    Notifier({}).tell("READY=1")
    Notifier({"NOTIFY_SOCKET": "/no/such/socket"}).tell("READY=1")
    Notifier({"NOTIFY_SOCKET": "vsock:2:1"}).tell("READY=1")


def test_abstract_socket() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(f"\0exportfs-test-{os.getpid()}")
        Notifier({"NOTIFY_SOCKET": f"@exportfs-test-{os.getpid()}"}).tell("READY=1", "STATUS=x")
        assert receiver.recv(100) == b"READY=1\nSTATUS=x"


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, 0.0),
        ({"WATCHDOG_USEC": "60000000"}, 60.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": str(os.getpid())}, 60.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_watchdog_of_the_environment(environ: dict[str, str], seconds: float) -> None:
    assert Notifier(environ).watchdog == seconds


@pytest.mark.mount
def test_a_mount_tells_systemd(
    server: SimulatorServer, service_manager: socket.socket, tmp_path: Path
) -> None:
    environment = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "200000"}
    mount = MountProcess(server.address, tmp_path, "--insecure", env=environment)
    with service_manager:
        try:
            mount.start()
            told = [service_manager.recv(1000).decode() for _ in range(4)]
            ready = f"READY=1\nSTATUS=serving {mount.address} at {mount.mountpoint}"
            assert sorted(told) == sorted([ready, *["WATCHDOG=1"] * 3])
            assert mount.stop() == 0
            while service_manager.recv(1000) != b"STOPPING=1":
                pass
            mount.check_log()
        finally:
            mount.clean_up()


@pytest.mark.mount
def test_usr1_dumps_every_task(mount: MountProcess, simulator: Simulator) -> None:
    simulator.add_computed(1000)
    names = eventually(lambda: os.listdir(mount.mountpoint / "sessions"))
    assert names
    os.kill(mount.pid, signal.SIGUSR1)
    # The task that answers the kernel, below the one that began it all; and where each is. It comes line by line.
    words = ("task exportfs", "Thread 0x", "Mount.run", "in reap", " in serve")
    eventually(lambda: all(word in mount.log.read_text() for word in words))
    assert (mount.mountpoint / ".status.json").read_text()


@pytest.mark.mount
def test_usr2_switches_debug_lines(mount: MountProcess) -> None:
    os.kill(mount.pid, signal.SIGUSR2)
    eventually(lambda: "debug lines are on" in mount.log.read_text())
    os.kill(mount.pid, signal.SIGUSR2)
    eventually(lambda: "debug lines are off" in mount.log.read_text())


@pytest.mark.mount
def test_usr1_with_a_log_file(start_mount: MountFactory, simulator: Simulator, tmp_path: Path) -> None:
    mount = start_mount("--log-file", str(tmp_path / "own.log"))
    simulator.faults.add("ListSessions", Hang(), times=1)
    os.kill(mount.pid, signal.SIGUSR1)
    eventually(lambda: "Thread 0x" in (text := (tmp_path / "own.log").read_text()) and "tasks:" in text)


STUCK = """
import logging, sys, time, trio
from exportfs.supervision import explain_on_signal, hold_stack_signal

async def stuck():
    async with trio.open_nursery() as nursery:
        nursery.start_soon(explain_on_signal)
        await trio.testing.wait_all_tasks_blocked()
        print("stuck", flush=True)
        time.sleep(1000)

import trio.testing
hold_stack_signal()
logging.basicConfig(stream=sys.stdout)
trio.run(stuck)
"""


def test_usr1_while_the_event_loop_is_stuck() -> None:
    words = [sys.executable, "-c", STUCK]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "stuck\n"
            process.send_signal(signal.SIGUSR1)
            told = []
            while "in stuck" not in (line := process.stdout.readline()):
                assert line
                told.append(line)
            assert any("Thread 0x" in line and "MainThread" in line for line in told)
        finally:
            process.kill()
