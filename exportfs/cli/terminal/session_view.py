"""How `status` draws sessions on a terminal: a block each, the name whole on a line of its own."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from rich.console import Group, RenderableType
from rich.text import Text

from exportfs.cli.terminal.output import printable
from exportfs.client.endings import footage_lines
from exportfs.client.sessions import SessionRecord
from exportfs.record import COMPLETED, FAILED, RUNNING
from exportfs.units import human_duration, human_size

STYLES = {RUNNING: "cyan", COMPLETED: "green", FAILED: "red"}
INDENT = 2
_GAP = "  "
_BAR_WIDTH = 10
_LONGEST_LABELS = 300


def block(record: SessionRecord, now: datetime, width: int, *, fold: bool = False) -> list[Text]:
    """Lines of a session: its name, whole, then state and figures, the cameras, and what is wrong with it.

    `width`: of the terminal; only the name may be longer, which the terminal then wraps so that it can be copied.
    `fold`: wrap it here, where the terminal does not.
    """
    parts = _figures(record, now)
    lines = [
        Text(printable(record.name), style="bold", no_wrap=not fold, overflow="fold" if fold else "ignore")
    ]
    lines += _flow(parts, width)
    if record.cameras:
        labels = printable(", ".join(record.cameras))
        lines += _wrapped(
            labels if len(labels) <= _LONGEST_LABELS else labels[:_LONGEST_LABELS] + "...", width
        )
    for text, style in _troubles(record):
        lines += _wrapped(text, width, style)
    return lines


def sessions_in(
    sessions: Sequence[SessionRecord], now: datetime, width: int, height: int | None
) -> RenderableType:
    """All of them as they come; with a `height`, running ones first and as many as fit, and how many do not."""
    if not sessions:
        return Text("no sessions")
    if height is None:
        return Group(*(line for record in sessions for line in block(record, now, width)))
    ordered = sorted(sessions, key=lambda record: record.state != RUNNING)
    shown: list[Text] = []
    for index, record in enumerate(ordered):
        lines = block(record, now, width, fold=True)
        taken = sum(rows(line, width) for line in shown)
        last = index == len(ordered) - 1
        if taken + sum(rows(line, width) for line in lines) + (0 if last else 1) > height:
            return Group(*shown, Text(_hidden(ordered[index:], index), style="yellow"))
        shown += lines
    return Group(*shown)


def rows(line: Text, width: int) -> int:
    """Of the screen that a line takes."""
    return max(1, -(-line.cell_len // max(1, width)))


def expiry(record: SessionRecord, now: datetime) -> str:
    """`in 10m 00s kept`, `due`, or `-`."""
    expires = moment(record.expires_at)
    if expires is None:
        return "-"
    kept = " kept" if record.raw.get("kept_alive") is True else ""
    left = (expires - now).total_seconds()
    return (f"in {human_duration(left)}" if left > 0 else "due") + kept


def moment(value: object) -> datetime | None:
    """Of RFC 3339; None for anything else."""
    if not isinstance(value, str):
        return None
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _hidden(rest: Sequence[SessionRecord], shown: int) -> str:
    running = sum(record.state == RUNNING for record in rest)
    more = (
        f"{len(rest)} more sessions"
        if shown and len(rest) > 1
        else f"{len(rest)} {'more ' if shown else ''}session"
    )
    more += "s" if not shown and len(rest) > 1 else ""
    return f"{more} not shown{f', {running} of them running' if running else ''}"


def _figures(record: SessionRecord, now: datetime) -> list[Text]:
    style = STYLES.get(record.state, "yellow")
    state = Text(printable(record.state), style=style)
    if record.state == RUNNING and record.progress is not None:
        full = round(record.progress * _BAR_WIDTH)
        state.append(" ")
        state.append("━" * full, style=style)
        state.append("─" * (_BAR_WIDTH - full), style="dim")
        state.append(f" {record.progress:.0%}")
    parts = [state]
    if record.files:
        files = f"{len(record.files)} file{'' if len(record.files) == 1 else 's'}"
        parts.append(Text(f"{files}, {human_size(record.size)}"))
    told = expiry(record, now)
    if told != "-":
        when, kept, _ = told.partition(" kept")
        parts.append(
            Text(("expires " if when != "due" else "expiry ") + when + (", kept alive" if kept else ""))
        )
    return parts


def _troubles(record: SessionRecord) -> Iterator[tuple[str, str]]:
    if record.error:
        yield record.error, "red"
        return
    for line in footage_lines(record):
        yield line.removeprefix(f"{record.name}: "), "" if record.unsure and not record.missing else "yellow"


def _flow(parts: Sequence[Text], width: int) -> list[Text]:
    """Side by side, as many as fit into a line; none is cut."""
    lines = [Text(" " * INDENT)]
    for part in parts:
        if len(lines[-1]) > INDENT:
            if lines[-1].cell_len + len(_GAP) + part.cell_len > width:
                lines.append(Text(" " * INDENT))
            else:
                lines[-1].append(_GAP)
        lines[-1].append_text(part)
    return lines


def _wrapped(text: str, width: int, style: str = "") -> list[Text]:
    """Folded between words, and within one that is too long; each line indented."""
    from rich.console import Console

    console = Console(width=max(width, INDENT + 8), color_system=None, file=None)
    lines = Text(printable(text), style=style).wrap(console, max(8, width - INDENT))
    return [Text(" " * INDENT).append_text(line) for line in lines]
