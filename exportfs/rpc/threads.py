"""Threads that are used again. What `concurrent.futures` does not promise: where no thread can be started, nothing has
changed; a thread that hangs keeps no process from ending."""

import threading
from collections import deque
from collections.abc import Callable

IDLE_TIMEOUT = 30.0
"""Seconds after which a thread that has nothing to do ends."""

Work = Callable[[], object]


class Threads:
    """Runs each piece of work at once, in a thread that is free or a new one. Safe to use from any thread."""

    def __init__(self, name: str, most: int) -> None:
        self._name = name
        self._most = most
        self._count = 0
        self._idle = 0
        """Threads that wait and that no work in the queue is for."""
        self._queue: deque[Work] = deque()
        self._turn = threading.Condition(threading.Lock())
        self._ending = False

    def start(self, work: Work) -> None:
        """Raises RuntimeError where no thread can be had; the work is not done then."""
        with self._turn:
            if self._ending:
                raise RuntimeError("the mount is ending")
            if self._idle:
                self._idle -= 1
                self._queue.append(work)
                self._turn.notify()
                return
            if self._count >= self._most:
                raise RuntimeError(f"all {self._most} threads are in use")
            threading.Thread(target=self._run, args=(work,), name=self._name, daemon=True).start()
            self._count += 1

    def close(self) -> None:
        """Lets threads end that have nothing to do; does not wait for the others."""
        with self._turn:
            self._ending = True
            self._turn.notify_all()

    def _run(self, work: Work | None) -> None:
        try:
            while work is not None:
                work()
                work = self._next()
        finally:
            with self._turn:
                self._count -= 1

    def _next(self) -> Work | None:
        with self._turn:
            self._idle += 1
            # Whoever queues takes a thread from the idle ones: there is work for as many as are not idle.
            self._turn.wait_for(lambda: self._queue or self._ending, IDLE_TIMEOUT)
            if self._queue:
                return self._queue.popleft()
            self._idle -= 1
            return None
