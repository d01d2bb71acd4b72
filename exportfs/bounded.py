"""Calls into the system that may never come back: one into a filesystem that hangs, on NFS or ours, cannot be given up,
nor ended by Ctrl-C. So they are made in threads, and are left to themselves after a while."""

import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Running(Generic[T]):
    """A call in a thread of its own, which may outlive its process's last moment."""

    def __init__(self, call: Callable[[], T]) -> None:
        """Raises RuntimeError where no thread can be started."""
        self._call = call
        self._answer: list[T] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="call", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._answer.append(self._call())
        except BaseException as error:
            self._error = error

    def over(self, within: float) -> bool:
        """Waits for it so many seconds at most; Ctrl-C ends the waiting."""
        self._thread.join(within)
        return not self._thread.is_alive()

    def result(self) -> T:
        """Of one that is over. Raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._answer[0]


def answer(call: Callable[[], T], within: float) -> T:
    """What the call gives. Raises TimeoutError where it takes longer, and what it raises itself."""
    running = Running(call)
    if not running.over(within):
        raise TimeoutError
    return running.result()
