"""What those who look after a mount get from it: systemd's notifications, and signals that make it say what it does."""

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping

import trio

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)


class Notifier:
    """Says `READY=1` and the like to whoever started us, as sd_notify(3) does; to nobody where nobody asked."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        ours = environ.get("WATCHDOG_PID") in (None, str(os.getpid()))
        usec = environ.get("WATCHDOG_USEC", "") if ours else ""
        self.watchdog = int(usec) / 1e6 if usec.isascii() and usec.isdigit() else 0.0
        """Seconds after which we count as stuck; 0: nobody watches."""

    def tell(self, *lines: str) -> None:
        """Whether it arrives is not our business."""
        if not self._address.startswith(("/", "@")):
            return
        # A leading @ stands for the zero byte of an abstract socket's name.
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sender:
                sender.setblocking(False)
                sender.sendto("\n".join(lines).encode(), address)
        except OSError as error:
            log.debug("the service manager could not be told %s: %s", lines, error)

    async def keep_telling(self) -> None:
        """Feeds the watchdog: as long as this runs, calls into the mount are answered."""
        if self.watchdog <= 0:
            return
        while True:
            self.tell("WATCHDOG=1")
            await trio.sleep(self.watchdog / 2)


def hold_stack_signal() -> None:
    """Keeps SIGUSR1 from every thread that is started from now on: the one that writes stacks takes it, also where the
    event loop is stuck. To be called before other threads are started."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})


async def explain_on_signal() -> None:
    """SIGUSR1 writes every task's and thread's stack to the log, SIGUSR2 switches debug lines on and off."""
    usual = logging.root.level
    with trio.open_signal_receiver(*SIGNALS) as signals:
        _write_stacks_in_a_thread()
        async for number in signals:
            if number == signal.SIGUSR1:  # it is not held, or no thread could be started
                log.warning("threads:\n%s", threads())
                log.warning("tasks:\n%s", tasks())
            else:
                debug = logging.root.level != logging.DEBUG
                logging.root.setLevel(logging.DEBUG if debug else max(usual, logging.INFO))
                log.warning("debug lines are %s", "on" if debug else "off")


def _write_stacks_in_a_thread() -> None:
    if signal.SIGUSR1 not in signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        return
    token = trio.lowlevel.current_trio_token()

    def wait() -> None:
        while True:
            signal.sigwait({signal.SIGUSR1})
            log.warning("threads:\n%s", threads())
            with contextlib.suppress(trio.RunFinishedError):
                token.run_sync_soon(lambda: log.warning("tasks:\n%s", tasks()), idempotent=False)

    with contextlib.suppress(RuntimeError):  # no thread can be started
        threading.Thread(target=wait, name="stacks", daemon=True).start()


def tasks() -> str:
    """The tree of all tasks, each with its stack, as text."""
    root = trio.lowlevel.current_root_task()
    return "".join(branch(root, 0)) if root is not None else ""


def branch(task: trio.lowlevel.Task, depth: int) -> Iterator[str]:
    indent = "    " * depth
    yield f"{indent}task {task.name}\n"
    frames = ((frame, line) for frame, line in task.iter_await_frames())
    for entry in traceback.StackSummary.extract(frames, lookup_lines=False):
        yield f"{indent}  {entry.filename}:{entry.lineno} in {entry.name}\n"
    for nursery in task.child_nurseries:
        for child in sorted(nursery.child_tasks, key=lambda child: child.name):
            yield from branch(child, depth + 1)


def threads() -> str:
    """The stacks of all threads of Python, as text. Not by `faulthandler`, whose dumps from a signal's handler read the
    frames of threads that run: on Python 3.13 that ended a mount (observed)."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    lines = []
    for ident, frame in sys._current_frames().items():
        lines.append(f"Thread 0x{ident:016x} {names.get(ident, '(not of threading)')}\n")
        for entry in traceback.StackSummary.extract(traceback.walk_stack(frame), lookup_lines=False):
            lines.append(f"  {entry.filename}:{entry.lineno} in {entry.name}\n")
    return "".join(lines)
