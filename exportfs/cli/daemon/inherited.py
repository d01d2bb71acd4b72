"""What the caller may have left us in, put right before anything else: descriptors, signals, the locale."""

import logging
import os
import signal
import sys
from io import TextIOWrapper
from pathlib import Path


def prepare_process() -> None:
    """To be called first. Starts the interpreter anew where the locale is not UTF-8."""
    _open_standard_descriptors()
    _in_utf8()
    # Ignored, it would take the exit codes of our children from us (fusermount3, above all).
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # What goes wrong is said by the command, in one line; only mounts have a log.
    logging.lastResort = None
    logging.getLogger().addHandler(logging.NullHandler())


def _open_standard_descriptors() -> None:
    """Those that the caller closed: else the next file opened would be taken for standard error."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            # The lowest free number, which is this one.
            os.open(os.devnull, os.O_RDWR if descriptor == 0 else os.O_WRONLY)
            os.set_inheritable(descriptor, True)
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            descriptor = ("stdin", "stdout", "stderr").index(name)
            setattr(sys, name, open(descriptor, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _in_utf8() -> None:
    """Names, requests and output are UTF-8 whatever the locale says; names that are not UTF-8 survive as they are."""
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode and sys.executable:
        # As bytes: what the old encoding cannot read must arrive unchanged.
        words = Path("/proc/self/cmdline").read_bytes().split(b"\0")[1:-1]
        os.execv(sys.executable, [os.fsencode(sys.executable), b"-X", b"utf8", *words])
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            utf8 = stream.encoding.lower().replace("-", "") == "utf8"
            survives = "surrogateescape" if utf8 and stream is sys.stdout else "backslashreplace"
            stream.reconfigure(errors=survives)
