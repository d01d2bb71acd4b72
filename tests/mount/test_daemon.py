"""A mount in the background keeps nothing of its caller, and signals do what docs/semantics.md says."""

import contextlib
import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from exportfs.simulator import Simulator, SimulatorServer, make_certificates
from tests.support.harness import DEADLINE, OURS, eventually, is_mounted
from tests.support.namespace import without_copies

pytestmark = pytest.mark.mount


class Mounting:
    """Mounts with the command as users call it; unmounts what it mounted."""

    def __init__(self, address: str, folder: Path) -> None:
        self.address = address
        self.place = folder / "mnt"
        self.place.mkdir()
        self.log = folder / "own.log"
        self.environment = {**os.environ, "XDG_STATE_HOME": os.fspath(folder / "state")}

    def words(self, *options: str) -> list[str]:
        return [
            *OURS,
            "mount",
            self.address,
            os.fspath(self.place),
            "--insecure",
            "--refresh",
            "0.5",
            *options,
        ]

    def run(self, words: list[str], **more: Any) -> "subprocess.CompletedProcess[str]":
        more = {"capture_output": True, "stdin": subprocess.DEVNULL, **more}
        return subprocess.run(
            words, env=self.environment, text=True, check=False, timeout=2 * DEADLINE, **more
        )

    def start(self, *options: str, **more: Any) -> "subprocess.Popen[bytes]":
        """In the foreground."""
        words = self.words("--foreground", *options)
        more = {"stdin": subprocess.DEVNULL, "stderr": subprocess.PIPE, **more}
        process = subprocess.Popen(words, env=self.environment, **more)
        try:
            eventually(lambda: is_mounted(self.place) or process.poll() is not None)
            assert process.poll() is None
            self.pid  # noqa: B018 # it answers
        except BaseException:
            process.kill()
            raise
        return process

    @property
    def pid(self) -> int:
        return int(json.loads((self.place / ".status.json").read_bytes())["pid"])

    def clean_up(self) -> None:
        if is_mounted(self.place):
            with contextlib.suppress(OSError, ValueError):
                os.kill(self.pid, signal.SIGTERM)
            with contextlib.suppress(AssertionError):
                eventually(lambda: not is_mounted(self.place), within=5)
        if is_mounted(self.place):
            subprocess.run(["fusermount3", "-uz", os.fspath(self.place)], check=False)


@pytest.fixture
def mounting(server: SimulatorServer, tmp_path: Path) -> Iterator[Mounting]:
    mounting = Mounting(server.address, tmp_path)
    yield mounting
    mounting.clean_up()


def end(process: "subprocess.Popen[bytes]") -> int:
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=DEADLINE)
    return process.returncode


def ignoring(*numbers: signal.Signals) -> Callable[[], None]:
    """For preexec_fn: as nohup and a shell's background jobs do it."""

    def ignore() -> None:
        for number in numbers:
            signal.signal(number, signal.SIG_IGN)

    return ignore


# -- What is kept of the caller


@pytest.mark.promise("C7")
def test_descriptors_are_closed(mounting: Mounting, tmp_path: Path) -> None:
    """A lock, and a pipe that somebody reads to its end: `x=$(... mount ... 3>&1)`, `make -j2`."""
    reading, writing = os.pipe()
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    result = mounting.run(mounting.words(), pass_fds=(writing, lock), cwd=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    os.close(writing)
    os.close(lock)
    os.set_blocking(reading, False)
    assert os.read(reading, 1) == b""  # the end: nobody has it open for writing
    os.close(reading)
    with open(tmp_path / "lock", "rb") as again:
        fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with contextlib.suppress(PermissionError):  # only root may look: the process is not dumpable
        folder = Path(f"/proc/{mounting.pid}/fd")
        for entry in folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # closed meanwhile
                assert os.readlink(entry) != os.fspath(tmp_path / "lock")
    # Nor of its session and directory.
    pid = mounting.pid
    assert os.getsid(pid) == pid
    if os.geteuid() == 0 or os.access(f"/proc/{pid}/cwd", os.R_OK):
        assert os.readlink(f"/proc/{pid}/cwd") == "/"


@pytest.mark.promise("C5", "C7")
def test_signals_of_the_background(mounting: Mounting) -> None:
    """What was blocked does not stay blocked; SIGHUP does not end it."""

    def block() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1})

    assert mounting.run(mounting.words(), preexec_fn=block).returncode == 0
    pid = mounting.pid
    os.kill(pid, signal.SIGHUP)
    os.kill(pid, signal.SIGUSR2)
    assert mounting.pid == pid
    assert (mounting.place / "README.txt").read_text()
    os.kill(pid, signal.SIGTERM)
    eventually(lambda: not is_mounted(mounting.place))


@pytest.mark.promise("C7")
def test_closed_standard_descriptors(mounting: Mounting) -> None:
    result = mounting.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *mounting.words()])
    assert result.returncode == 0
    assert mounting.pid
    result = mounting.run(["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *mounting.words()])
    assert result.returncode == 1  # mounted already


def test_a_named_descriptor_can_be_read(mounting: Mounting, tmp_path: Path) -> None:
    """`--ca-file <(...)`: kept until it has been read."""
    reading, writing = os.pipe()
    os.write(writing, b"no certificate\n")
    os.close(writing)
    words = [word for word in mounting.words() if word != "--insecure"]
    result = mounting.run([*words, "--ca-file", f"/dev/fd/{reading}"], pass_fds=(reading,))
    os.close(reading)
    assert result.returncode == 1
    assert "PEM" in result.stderr


@pytest.mark.promise("C7")
def test_files_named_from_where_it_was_started(simulator: Simulator, tmp_path: Path) -> None:
    """It leaves that directory once it is ready, and what it was given relative to it still holds."""
    session = simulator.add_computed(300_000)
    (file,) = simulator.files(session)
    with SimulatorServer(simulator, tls=make_certificates(tmp_path)) as server:
        assert server.tls is not None
        mounting = Mounting(server.address, tmp_path)
        (tmp_path / "password").write_text("demo\n")
        (tmp_path / "password").chmod(0o600)
        words = [*OURS, "mount", server.address, "mnt", "--user", "demo", "--password-file", "password"]
        words += ["--tls-server-name", server.tls.name, "--ca-file", server.tls.ca_file.name]
        try:
            result = mounting.run([*words, "--log-file", mounting.log.name], cwd=tmp_path)
            assert (result.returncode, result.stderr) == (0, "")
            (path,) = mounting.place.glob(f"sessions/*/{file.path}")
            assert path.read_bytes() == simulator.content(session, file.path)
            assert "serving" in mounting.log.read_text()
        finally:
            mounting.clean_up()


def test_nothing_on_standard_error(mounting: Mounting) -> None:
    for words in (mounting.words(), [*OURS, "umount", os.fspath(mounting.place)]):
        result = mounting.run(words)
        assert (result.returncode, result.stdout, without_copies(result.stderr)) == (0, "", "")


# -- Signals


@pytest.mark.promise("C5")
def test_ignored_signals_stay_ignored(mounting: Mounting) -> None:
    process = mounting.start(preexec_fn=ignoring(signal.SIGHUP, signal.SIGINT))
    for number in (signal.SIGHUP, signal.SIGINT):
        process.send_signal(number)
    # Handled after those, would they be.
    process.send_signal(signal.SIGUSR2)
    assert process.stderr is not None
    assert any(b"debug lines are on" in line for line in process.stderr)
    assert is_mounted(mounting.place)
    assert end(process) == 0
    assert not is_mounted(mounting.place)


@pytest.mark.promise("C5")
@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_signals_end_the_foreground(mounting: Mounting, number: signal.Signals) -> None:
    process = mounting.start()
    process.send_signal(number)
    process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert not is_mounted(mounting.place)


@pytest.mark.promise("C5")
@pytest.mark.parametrize("foreground", [False, True])
def test_the_log_file_is_rotated(mounting: Mounting, foreground: bool) -> None:
    """logrotate renames the file, makes a new one or none, and sends SIGHUP."""
    options = ("--log-file", os.fspath(mounting.log))
    if foreground:
        process = mounting.start(*options)
    else:
        assert mounting.run(mounting.words(*options)).returncode == 0
    pid = mounting.pid
    eventually(lambda: "serving" in mounting.log.read_text())
    mounting.log.rename(mounting.log.with_suffix(".1"))
    os.kill(pid, signal.SIGHUP)
    eventually(mounting.log.exists)
    assert mounting.log.stat().st_mode & 0o777 == 0o600
    eventually(lambda: "SIGHUP" in mounting.log.read_text())
    # And without a signal: the log follows its name.
    mounting.log.rename(mounting.log.with_suffix(".2"))
    mounting.log.touch(0o600)
    os.kill(pid, signal.SIGUSR2)
    eventually(lambda: "debug lines are on" in mounting.log.read_text())
    assert is_mounted(mounting.place)
    assert mounting.pid == pid
    if foreground:
        assert end(process) == 0


@pytest.mark.promise("C5")
def test_the_terminal_goes(mounting: Mounting) -> None:
    """A foreground mount ends with its terminal, also one with a log file."""
    child, terminal = pty.fork()
    if child == 0:
        os.execve(
            sys.executable,
            mounting.words("--foreground", "--log-file", os.fspath(mounting.log)),
            mounting.environment,
        )
    try:
        eventually(lambda: is_mounted(mounting.place))
        assert mounting.pid == child
        os.kill(child, signal.SIGHUP)  # logrotate, while the terminal is there
        eventually(lambda: "SIGHUP" in mounting.log.read_text())
        assert is_mounted(mounting.place)
    finally:
        os.close(terminal)
    assert os.waitpid(child, 0)[1] == 0
    assert not is_mounted(mounting.place)


# -- Logs that nobody takes


def answers(place: Path) -> None:
    """Where it waited for the log it would never."""
    probe = "import os, sys; os.statvfs(sys.argv[1]); open(sys.argv[1] + '/.status.json').read()"
    subprocess.run([sys.executable, "-c", probe, os.fspath(place)], check=True, timeout=DEADLINE)


def log_much(mounting: Mounting, pid: int) -> None:
    """Several times what the pipe holds."""
    code = (
        "import os, sys, contextlib\n"
        "for n in range(1500):\n"
        "    with contextlib.suppress(OSError): os.mkdir(f'{sys.argv[1]}/new/{n:0200}')\n"
    )
    subprocess.run([sys.executable, "-c", code, os.fspath(mounting.place)], check=True, timeout=60)
    for _ in range(5):
        os.kill(pid, signal.SIGUSR1)  # stacks of all tasks and threads
        answers(mounting.place)


@pytest.mark.slow
@pytest.mark.promise("C6")
def test_a_full_pipe_as_standard_error(mounting: Mounting) -> None:
    reading, writing = os.pipe()
    try:
        process = mounting.start("--log-level", "debug", stderr=writing)
        log_much(mounting, process.pid)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
        assert not is_mounted(mounting.place)
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.slow
@pytest.mark.promise("C6")
def test_a_log_file_that_takes_nothing(mounting: Mounting, tmp_path: Path) -> None:
    """A named pipe whose reader does not read, as a disk that hangs."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        words = mounting.words("--log-level", "debug", "--log-file", os.fspath(fifo))
        assert mounting.run(words).returncode == 0
        log_much(mounting, mounting.pid)
        os.kill(mounting.pid, signal.SIGHUP)
        answers(mounting.place)
        assert mounting.run([*OURS, "umount", os.fspath(mounting.place)]).returncode == 0
        assert not is_mounted(mounting.place)
    finally:
        os.close(reader)
