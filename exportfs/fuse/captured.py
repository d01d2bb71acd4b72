"""What C libraries and their children write to standard error: the reason why mounting failed, and nowhere else to be
had. libfuse prints it, and so does fusermount3."""

import contextlib
import os
import sys
from collections.abc import Iterator


class Captured:
    """Filled when the `with` block of `captured_stderr` ends."""

    text = ""


@contextlib.contextmanager
def captured_stderr() -> Iterator[Captured]:
    """Whatever is written to descriptor 2 meanwhile, by this process or a child, goes into the result instead.

    For short calls: other threads' words are captured as well. Where no file can be made nothing is captured.
    """
    result = Captured()
    try:
        # No pipe: nobody would read it meanwhile, and a full one blocks.
        file = os.memfd_create("stderr", os.MFD_CLOEXEC)
    except OSError:
        yield result
        return
    usual = None
    try:
        if sys.stderr is not None:
            with contextlib.suppress(OSError, ValueError):
                sys.stderr.flush()
        with contextlib.suppress(OSError):  # there may be no descriptor 2
            usual = os.dup(2)
        os.dup2(file, 2)
        yield result
    finally:
        if usual is None:
            os.close(2)
        else:
            os.dup2(usual, 2)
            os.close(usual)
        with open(file, "rb") as written:
            written.seek(0)
            result.text = written.read(_MOST).decode("utf-8", "replace")


_MOST = 1 << 16
