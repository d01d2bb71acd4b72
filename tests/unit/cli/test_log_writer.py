"""The queue between those who log and what takes the lines."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest

from exportfs.cli import log_writer, logs
from exportfs.cli.log_writer import WARNING, DescriptorSink, FileSink, LogWriter, SyslogSink
from exportfs.errors import ExportfsError


class Gate:
    """A sink that takes nothing until it is opened."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.taken: list[str] = []

    def write(self, text: str, severity: int) -> None:
        self.open.wait(20)
        self.taken.append(text)

    def reopen(self) -> None:
        self.taken.append("<reopened>")


def test_all_in_order() -> None:
    gate = Gate()
    writer = LogWriter(gate)
    gate.open.set()
    for number in range(100):
        writer.put(str(number), WARNING)
    assert writer.flush(20)
    assert gate.taken == [str(number) for number in range(100)]


def test_what_is_not_taken_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "MOST_LINES", 10)
    gate = Gate()
    writer = LogWriter(gate)
    begun = time.monotonic()
    for number in range(1000):
        writer.put(str(number), WARNING)
    assert not writer.flush(0.01)
    assert time.monotonic() - begun < 5
    gate.open.set()
    assert writer.flush(20)
    dropped = 1000 - (len(gate.taken) - 1)
    assert 985 <= dropped <= 990
    assert gate.taken[-1] == f"log messages dropped here, because the log was blocked: {dropped}"
    assert writer.dropped_in_all == dropped


def test_the_end_of_a_mount_waits_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """For the log, and for standard error, which is the same pipe in the foreground: nobody reads it."""
    waits: list[float] = []

    def takes_nothing(descriptor: int, within: float) -> bool:
        waits.append(within)
        return True

    monkeypatch.setattr(logs, "FLUSH_TIMEOUT", 0.05)
    monkeypatch.setattr(logs, "takes_more", takes_nothing)
    gate = Gate()
    writer = LogWriter(gate)
    writer.put("of the end", WARNING)
    logs.Log(writer, foreground=True, file=False).stop()
    gate.open.set()
    assert waits == [0.0]


def test_bytes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_writer, "MOST_BYTES", 10_000)
    gate = Gate()
    writer = LogWriter(gate)
    for _ in range(100):
        writer.put("x" * 1000, WARNING)
    gate.open.set()
    assert writer.flush(20)
    assert 8 <= len(gate.taken) <= 12


def test_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(ExportfsError, match="raise the limit of processes"):
        LogWriter(Gate())


def test_a_system_log_that_nobody_reads(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(os.fspath(tmp_path / "log"))
        writer = LogWriter(SyslogSink(tmp_path / "log", "tag"))
        begun = time.monotonic()
        for number in range(5000):
            writer.put(f"line {number}", WARNING)
        assert time.monotonic() - begun < 5
        assert not writer.flush(0.1)
        receiver.settimeout(20)
        assert receiver.recv(1000) == f"<12>tag[{os.getpid()}]: line 0".encode()
        for _ in range(4999):
            receiver.recv(1000)
        assert writer.flush(20)


def test_a_system_log_that_restarts(tmp_path: Path) -> None:
    """Each line of a message is one of the log; no line is too long for it."""
    sink = SyslogSink(tmp_path / "log", "tag")
    with pytest.raises(OSError, match="No such file"):
        sink.write("nobody there", WARNING)
    for text in ("first\nsecond", "x" * 100_000):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
            receiver.bind(os.fspath(tmp_path / "log"))
            receiver.settimeout(20)
            sink.write(text, WARNING)
            got = [receiver.recv(1 << 20).partition(b": ")[2] for _ in text.splitlines()]
        assert [text.encode()[: len(line)] for text, line in zip(text.splitlines(), got, strict=True)] == got
        os.unlink(tmp_path / "log")
    sink.reopen()


def test_file_follows_its_name(tmp_path: Path) -> None:
    path = tmp_path / "log"
    sink = FileSink(path)
    sink.write("one", WARNING)
    path.rename(tmp_path / "log.1")
    sink.write("two", WARNING)
    path.unlink()
    sink.write("three", WARNING)
    os.truncate(path, 0)  # logrotate's copytruncate
    sink.write("four", WARNING)
    assert (tmp_path / "log.1").read_text() == "one\n"
    assert path.read_text() == "four\n"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_file_that_cannot_be_made_anew(tmp_path: Path) -> None:
    """The old one is kept, better than nothing."""
    folder = tmp_path / "folder"
    folder.mkdir()
    sink = FileSink(folder / "log")
    folder.rename(tmp_path / "other")
    sink.write("still", WARNING)
    assert (tmp_path / "other" / "log").read_text() == "still\n"


def test_a_pipe_that_nobody_reads_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(OSError, match="No such device"):
        FileSink(tmp_path / "fifo")


def test_a_full_disk_does_not_end_it() -> None:
    """And what was lost is said when there is room again."""
    reading, writing = os.pipe()
    os.close(reading)
    writer = LogWriter(DescriptorSink(writing))
    writer.put("lost", WARNING)
    assert writer.flush(20)
    reading, replacement = os.pipe()
    os.dup2(replacement, writing)
    os.close(replacement)
    writer.put("there", WARNING)
    assert writer.flush(20)
    os.close(writing)
    with open(reading) as text:
        assert text.read() == "there\nlog messages dropped here, because the log was blocked: 1\n"
