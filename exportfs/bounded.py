"""Calls into the system that may never come back: one into a filesystem that hangs, on NFS or ours, cannot be given up,
nor ended by Ctrl-C. So they are made in threads, and are left to themselves after a while."""

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")
Start = Callable[[Callable[[], None]], None]
"""Has something done in a thread."""


def in_a_new_thread(work: Callable[[], None]) -> None:
    """Raises RuntimeError where none can be started."""
    threading.Thread(target=work, name="call", daemon=True).start()


class Worker:
    """One thread for many short calls. After one that never comes back it is of no use any more."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        in_a_new_thread(self._run)

    def start(self, work: Callable[[], None]) -> None:
        self._queue.put(work)

    def close(self) -> None:
        """Lets the thread end after what it is at."""
        self._queue.put(None)

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            work()


class Running(Generic[T]):
    """A call in a thread."""

    def __init__(self, call: Callable[[], T], start: Start = in_a_new_thread) -> None:
        self._call = call
        self._answer: list[T] = []
        self._error: BaseException | None = None
        self._undo: Callable[[T], None] | None = None
        self._lock = threading.Lock()
        self._over = threading.Event()
        start(self._run)

    def _run(self) -> None:
        try:
            answer = self._call()
        except BaseException as error:
            self._error = error
        else:
            with self._lock:
                self._answer.append(answer)
                undo = self._undo
            if undo is not None:
                undo(answer)
        self._over.set()

    def over(self, within: float) -> bool:
        """Waits for it so many seconds at most; Ctrl-C ends the waiting."""
        return self._over.wait(within)

    def result(self) -> T:
        """Of one that is over. Raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._answer[0]

    def leave(self, undo: Callable[[T], None]) -> None:
        """Nobody waits for it any more: what it gives, should it ever, goes to `undo`."""
        with self._lock:
            self._undo = undo
            answers = list(self._answer)
        for answer in answers:
            undo(answer)


def answer(call: Callable[[], T], within: float) -> T:
    """What the call gives. Raises TimeoutError where it takes longer, and what it raises itself."""
    running = Running(call)
    if not running.over(within):
        raise TimeoutError
    return running.result()
