"""What this thread needs of the processor."""

import time


def busy_seconds() -> float:
    """Seconds in which the calling thread has worked or waited for a core so far; only worked, where the kernel does
    not tell of waiting (proc(5), schedstat)."""
    try:
        with open("/proc/thread-self/schedstat", "rb", buffering=0) as file:
            ran, waited, _ = file.read(64).split()
    except (OSError, ValueError):
        return time.thread_time()
    return (int(ran) + int(waited)) / 1e9
