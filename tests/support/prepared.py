"""Mounts and commands without the second that an interpreter takes to import everything: they are forked from a
process that has.

From the arguments on a forked one is what `python -m exportfs mount ...` is: run as that module, with these
arguments, environment, folder and descriptors 0 to 2 and no others, default signals, and a child of the test.
What it does not go through is the interpreter's own start; tests of that start one anew (`MountProcess(fresh=True)`),
as is done by itself where the environment differs in what is read while importing, PYTHON* or LC_* say.
"""

import atexit
import ctypes
import gc
import importlib
import json
import os
import pkgutil
import runpy
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO, Any, NoReturn

from tests.support.processes import shared_mark

ROOM = "EXPORTFS_TEST_ROOM"
"""The environment variable that makes room for what a mount's environment shows in /proc."""
WORDS_ROOM, ENVIRONMENT_ROOM = 8192, 65536
INTERVALS = "EXPORTFS_TEST_INTERVALS"
"""The environment variable with the fixed intervals that are shorter in this mount (`shorter`)."""
FREE = ("EXPORTFS_", "XDG_", "PYTEST_")
"""Variables beginning with these are read when they are needed, not while importing."""
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
"""linux/prctl.h."""
ENDS_WITHIN = 10.0
_libc = ctypes.CDLL(None, use_errno=True)


def shorter(intervals: dict[str, float]) -> dict[str, str]:
    """Of a mount's environment: the constants of the program with these names are so many seconds in it, for tests that
    would wait for them and are about something else."""
    return {INTERVALS: json.dumps(intervals)} if intervals else {}


class Child(subprocess.Popen[bytes]):
    """A child of this process that somebody else has forked; `out` and `err` are the pipes that it writes to."""

    def __init__(
        self, pid: int, words: list[str], out: IO[Any] | None = None, err: IO[Any] | None = None
    ) -> None:
        # As Popen's own does, but for starting it.
        self._waitpid_lock: Any = threading.Lock()
        self._input: Any = None
        self._communication_started = False
        self.stdin, self.stdout, self.stderr = None, out, err
        self.text_mode = out is not None
        self.args: Any = words
        self.pid = pid
        self.returncode: Any = None
        self._child_created = True


class Prepared:
    """A process that mounts and commands are forked from, started with this environment."""

    def __init__(self, environment: dict[str, str]) -> None:
        self.environment = environment
        self._lock = threading.Lock()
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            room = {ROOM: "x" * ENVIRONMENT_ROOM}
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno()), "x" * WORDS_ROOM],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                cwd=Path(__file__).parents[2],
                env={**self.environment, **room},
            )

    def serves(self, environment: dict[str, str]) -> bool:
        """Whether a process with this environment would have imported just the same."""
        return all(
            self.environment.get(name) == environment.get(name)
            for name in self.environment.keys() | environment.keys()
            if not name.startswith(FREE)
        )

    def start(
        self, words: list[str], environment: dict[str, str], log: int, *, ends_with_us: bool
    ) -> subprocess.Popen[bytes]:
        """`exportfs` with these arguments; `log` is its standard output and error."""
        return Child(self._fork(words, environment, [log, log], ends_with_us=ends_with_us), _command(words))

    def run(
        self,
        words: list[str],
        environment: dict[str, str],
        *,
        folder: str | os.PathLike[str] = ".",
        timeout: float,
    ) -> "subprocess.CompletedProcess[str]":
        """`exportfs` with these arguments to its end, as `subprocess.run` does it."""
        (out, outs), (err, errs) = os.pipe(), os.pipe()
        with open(out) as read_out, open(err) as read_err:
            try:
                pid = self._fork(words, environment, [outs, errs], folder=folder)
            finally:
                os.close(outs)
                os.close(errs)
            child: Any = Child(pid, _command(words), read_out, read_err)
            try:
                told = child.communicate(timeout=timeout)
            except BaseException:
                child.kill()
                child.wait()
                raise
        return subprocess.CompletedProcess(child.args, child.returncode, *told)

    def _fork(
        self,
        words: list[str],
        environment: dict[str, str],
        descriptors: list[int],
        *,
        folder: str | os.PathLike[str] = ".",
        ends_with_us: bool = False,
    ) -> int:
        """Gives the pid."""
        wanted = {
            "words": words,
            "environment": environment,
            "folder": os.path.abspath(folder),
            "umask": _umask(),
            "ends with us": ends_with_us,
        }
        with self._lock:
            # Its own parent ends at once: it becomes ours.
            _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            try:
                socket.send_fds(self._socket, [json.dumps(wanted).encode()], descriptors)
                pid = int(self._socket.recv(100) or 0)
            finally:
                _libc.prctl(PR_SET_CHILD_SUBREAPER, 0, 0, 0, 0)
        if not pid:
            raise RuntimeError("the process that mounts are forked from has ended")
        return pid

    def close(self) -> None:
        self._socket.close()
        self._process.wait(ENDS_WITHIN)


def _command(words: list[str]) -> list[str]:
    return [sys.executable, "-m", "exportfs", *words]


_shared: Prepared | None = None


def shared() -> Prepared:
    """The one of this process, which outlives the test that needs it first."""
    global _shared
    if _shared is None:
        _shared = Prepared({**os.environ, **shared_mark()})
    return _shared


def close_shared() -> None:
    global _shared
    if _shared is not None:
        _shared.close()
        _shared = None


def _umask() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("Umask:"):
            return int(line.split()[1], 8)
    raise AssertionError("no umask")


# In the process that is forked from.


def _serve(requests: socket.socket) -> None:
    """Returns in processes that are mounts; ends this one with the test's."""
    import exportfs.app
    import exportfs.cli.commands
    import exportfs.pages.rendering

    for module in pkgutil.iter_modules(exportfs.cli.commands.__path__):
        importlib.import_module(f"exportfs.cli.commands.{module.name}")
    # Each mount does this in the background: a tenth of a second of CPU, most of what a short one takes.
    exportfs.pages.rendering.load()

    # What is there need not be looked through, and copied for it, by each child.
    gc.collect()
    gc.freeze()
    # gRPC's threads would not be there in a child. It starts them with its first channel.
    assert len(os.listdir("/proc/self/task")) == 1, "something has a thread, and cannot be forked"
    while True:
        message, descriptors, _, _ = socket.recv_fds(requests, 1 << 20, 2)
        if not message:
            os._exit(0)
        told, tells = os.pipe()
        begin, begins = os.pipe()
        between = os.fork()
        if not between:
            child = os.fork()
            if child:
                os.write(tells, b"%d" % child)
                os._exit(0)
            os.close(begins)
            os.read(begin, 1)  # until our parent is gone: its end must not count as that of the test
            _become(json.loads(message), *descriptors)
            return
        pid = os.read(told, 100)
        os.waitpid(between, 0)
        for descriptor in (told, tells, begin, begins, *descriptors):
            os.close(descriptor)
        requests.send(pid)


def _become(wanted: dict[str, Any], out: int, err: int) -> None:
    """This process as exec would have left it."""
    for number, descriptor in ((0, os.open(os.devnull, os.O_RDONLY)), (1, out), (2, err)):
        os.dup2(descriptor, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    # What the descriptors were before has been looked at.
    for name, number in (("stdout", 1), ("stderr", 2)):
        old = getattr(sys, name)
        stream = open(  # noqa: SIM115 # for as long as this process lives
            number, "w", encoding=old.encoding, errors=old.errors, closefd=False, buffering=-1
        )
        stream.reconfigure(line_buffering=number == 2)
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    words, environment = wanted["words"], wanted["environment"]
    os.environ.clear()  # before its memory is written to
    _show(48, [os.fsencode(word) for word in _command(words)])
    _show(50, [os.fsencode(f"{name}={value}") for name, value in environment.items()])
    os.environ.update(environment)
    os.chdir(wanted["folder"])
    os.umask(wanted["umask"])
    sys.argv[1:] = words
    for name, seconds in json.loads(environment.get(INTERVALS, "{}")).items():
        module, _, constant = name.rpartition(".")
        assert isinstance(getattr(sys.modules[module], constant), float), name
        setattr(sys.modules[module], constant, seconds)
    if wanted["ends with us"]:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)


def _show(field: int, words: list[bytes]) -> None:
    """In /proc/self/cmdline or environ, which are memory of ours between the addresses in a field of stat and the next
    (proc_pid_stat(5))."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    begin, end = (int(text) for text in fields[field - 3 : field - 1])
    text = b"".join(word + b"\0" for word in words)
    if len(text) > end - begin:
        raise RuntimeError("too long a command line or environment for a mount that is forked")
    ctypes.memmove(begin, text.ljust(end - begin, b"\0"), end - begin)


def main() -> NoReturn:
    _serve(socket.socket(fileno=int(sys.argv[1])))
    try:
        runpy.run_module("exportfs", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        if isinstance(end.code, int | None):
            _end(end.code or 0)
        raise
    _end(0)


def _end(code: int) -> NoReturn:
    """All that the interpreter does at its end, but for taking apart every module: that is 0.1 s of CPU for a process
    that has to copy all memory for it. An exception goes the long way."""
    threading._shutdown()  # type: ignore[attr-defined] # waits for threads, as the interpreter does
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is not None:
            stream.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
