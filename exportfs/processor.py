"""What a thread needs of the processor."""

import contextlib
import os
import time


class BusySeconds:
    """Called, gives the seconds in which the thread that called it first has worked or waited for a core so far; only
    worked, where the kernel does not tell of waiting (proc(5), schedstat)."""

    def __init__(self) -> None:
        self._file: int | None = None

    def __call__(self) -> float:
        try:
            if self._file is None:
                self._file = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
            # Kept open: opening it is ten times dearer than reading it, and it is read with each seek.
            ran, waited, _ = os.pread(self._file, 64, 0).split()
        except (OSError, ValueError):
            return time.thread_time()
        return (int(ran) + int(waited)) / 1e9

    def __del__(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                os.close(self._file)
