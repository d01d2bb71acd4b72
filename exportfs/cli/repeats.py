"""A log says what happens, not how often a program tried again: over a line that is dark for a night every failed read
is the same line, thousands of times."""

import logging
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

SAID = 3
"""Lines of one text that are written as they come."""
FIRST_PAUSE, LONGEST_PAUSE = 60.0, 3600.0
"""Seconds after which it is written again, with how often it was not; doubling."""
AFRESH = 600.0
"""Seconds without it after which it is a new matter."""
MOST_TEXTS = 500
"""That are remembered; what was longest without a line is forgotten first."""
_DURATION = re.compile(r"\b\d+(\.\d+)? s\b")


@dataclass(slots=True)
class _Text:
    last: float
    said_at: float
    said: int = 0
    unsaid: int = 0
    pause: float = FIRST_PAUSE


class Repeats(logging.Filter):
    """Lets the first lines of a text through, and then one now and then; all of them while debug lines are on. Texts
    that differ in a duration are one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._texts: OrderedDict[tuple[str, str], _Text] = OrderedDict()

    def filter(self, record: logging.LogRecord) -> bool:
        if logging.getLogger().isEnabledFor(logging.DEBUG):
            return True
        message = record.getMessage()
        now, key = self._clock(), (record.name, _DURATION.sub("# s", message))
        text = self._texts.get(key)
        if text is None or now - text.last > AFRESH:
            text = self._texts[key] = _Text(now, now)
        self._texts.move_to_end(key)
        if len(self._texts) > MOST_TEXTS:
            self._texts.popitem(last=False)
        text.last = now
        if text.said < SAID:
            text.said, text.said_at = text.said + 1, now
            return True
        if now - text.said_at < text.pause:
            text.unsaid += 1
            return False
        if text.unsaid:
            times = "once" if text.unsaid == 1 else f"{text.unsaid} times"
            record.msg, record.args = f"{message} (and {times} since this was last written)", ()
        text.said_at, text.unsaid, text.pause = now, 0, min(2 * text.pause, LONGEST_PAUSE)
        return True
