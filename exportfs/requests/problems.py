"""What is wrong with a request, where, and the errors that carry it."""

from collections.abc import Iterable
from dataclasses import dataclass

from exportfs.errors import InvalidArgument, TooLarge

SHOWN = 20
"""Problems that str() of a RequestError spells out; all of them are in `problems`."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong. `str()` is a sentence."""

    path: str
    """The field, as `archive.sources[0].origin`, spelt as the request spells it; empty for the whole text."""
    message: str
    line: int | None = None
    """From 1."""
    column: int | None = None
    """From 1, in characters."""

    def __str__(self) -> str:
        where = "" if self.line is None else f"line {self.line}, column {self.column}"
        prefix = f"{self.path} ({where})" if self.path and where else self.path or where.capitalize()
        end = "" if self.message.endswith(("?", ".")) else "."
        if not prefix:
            return f"{self.message[:1].upper()}{self.message[1:]}{end}"
        return f"{prefix}: {self.message}{end}"


class RequestError(InvalidArgument):
    """The request is not one that could be sent. `str()` holds a sentence for each problem."""

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems: tuple[Problem, ...] = tuple(problems)
        shown = [str(problem) for problem in self.problems[:SHOWN]]
        more = len(self.problems) - len(shown)
        if more > 0:
            shown.append(f"And {more} more.")
        super().__init__(" ".join(shown))


class RequestTooLarge(TooLarge):
    """The request is over MAX_REQUEST_BYTES, or holds more values than any real one."""
