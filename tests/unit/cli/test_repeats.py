"""What repeats itself in the log."""

import logging
from collections.abc import Iterator

import pytest

from exportfs.cli import logs, repeats
from exportfs.cli.repeats import Repeats


class Said(logging.Handler):
    """What a log would hold, and a clock."""

    def __init__(self) -> None:
        super().__init__()
        self.time = 0.0
        self.lines: list[str] = []
        self.addFilter(Repeats(lambda: self.time))

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> Iterator[Said]:
    handler = Said()
    log = logging.getLogger("exportfs.test_repeats")
    log.addHandler(handler)
    monkeypatch.setattr(logging.getLogger(), "level", logging.INFO)
    log.setLevel(logging.INFO)
    yield handler
    log.removeHandler(handler)


log = logging.getLogger("exportfs.test_repeats")


@pytest.mark.promise("C6")
def test_a_night_without_a_line_is_a_few_lines(said: Said) -> None:
    """A player tries again and again."""
    for _ in range(8 * 3600 // 4):
        said.time += 4
        log.info("%s: %s", "read", f"nothing came for {said.time % 7:.0f} s")
    assert 10 <= len(said.lines) <= 20
    assert [line for line in said.lines if "since this was last written" not in line] == said.lines[:3]
    counted = [int(line.split("(and ")[1].split(" ")[0]) for line in said.lines[3:]]
    assert sum(counted) + len(said.lines) >= 7 * 3600 // 4


@pytest.mark.promise("C6")
def test_what_differs_is_written(said: Said) -> None:
    for number in range(100):
        log.info("the request %s started nothing", f"r{number}")
    assert len(set(said.lines)) == 100


def test_a_new_matter_is_written_at_once(said: Said) -> None:
    for _ in range(2):
        for _ in range(10):
            log.warning("the login could not be renewed")
        assert len(said.lines) == 3
        said.lines.clear()
        said.time += repeats.AFRESH + 1


@pytest.mark.promise("C6")
def test_nothing_is_left_out_while_debug_lines_are_on(said: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    """As SIGUSR2 switches them on."""
    root = logging.getLogger()
    root.setLevel(logging.DEBUG)  # its cache of levels is cleared with it
    try:
        for _ in range(10):
            log.info("the same")
    finally:
        root.setLevel(logging.INFO)
    assert said.lines == ["the same"] * 10


def test_what_is_remembered_is_bounded(said: Said) -> None:
    [filter_] = said.filters
    assert isinstance(filter_, Repeats)
    for number in range(3 * repeats.MOST_TEXTS):
        log.info("number %d", number)
    assert len(filter_._texts) == repeats.MOST_TEXTS


def test_the_log_of_a_mount_has_it(capfd: pytest.CaptureFixture[str]) -> None:
    before, level = list(logging.getLogger().handlers), logging.getLogger().level
    made = logs.start("info", None, foreground=True)
    try:
        for _ in range(100):
            logging.getLogger("exportfs.fuse.handlers").info("read: nothing came in time")
        made.stop()
    finally:
        logging.basicConfig(level=level, handlers=before, force=True)
    assert capfd.readouterr().err.count("nothing came in time") == repeats.SAID
