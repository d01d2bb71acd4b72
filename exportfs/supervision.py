"""What those who look after a mount get from it: systemd's notifications, and signals that make it say what it does."""

import faulthandler
import logging
import os
import signal
import socket
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


async def explain_on_signal() -> None:
    """SIGUSR1 writes every task's and thread's stack to the log, SIGUSR2 switches debug lines on and off."""
    usual = logging.root.level
    with trio.open_signal_receiver(*SIGNALS) as signals:
        # Also where the event loop is stuck and none of what follows runs.
        registered = _dump_threads_on(signal.SIGUSR1)
        try:
            async for number in signals:
                if number == signal.SIGUSR1:
                    log.warning("tasks:\n%s%s", tasks(), "" if registered else threads())
                else:
                    debug = logging.root.level != logging.DEBUG
                    logging.root.setLevel(logging.DEBUG if debug else max(usual, logging.INFO))
                    log.warning("debug lines are %s", "on" if debug else "off")
        finally:
            faulthandler.unregister(signal.SIGUSR1)


def _dump_threads_on(number: signal.Signals) -> bool:
    """Lets the signal write all threads' stacks to standard error, which the log reads without ever blocking a writer
    while a mount is served. Whether that is possible."""
    try:
        faulthandler.register(number, file=2, all_threads=True, chain=True)
    except (OSError, ValueError, RuntimeError):
        return False
    return True


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
    """The stacks of all threads, as text."""
    # In memory: a disk may hang.
    with open(os.memfd_create("threads", os.MFD_CLOEXEC), "w+") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return file.read()
