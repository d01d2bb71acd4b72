"""How `status` looks: tables of rich, made from a mount's own words. Every key may be missing."""

import io
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from exportfs.cli.following import footage_lines
from exportfs.cli.mounts import MountStatus, members
from exportfs.cli.sessions import COMPLETED, FAILED, RUNNING, SessionRecord
from exportfs.cli.text import human_duration, human_size, printable

_STYLES = {RUNNING: "cyan", COMPLETED: "green", FAILED: "red"}
_PIPE_WIDTH = 10_000
_BAR_WIDTH = 10
_ERRORS_SHOWN = 5


def view(mounts: list[MountStatus], now: datetime, *, bars: bool) -> RenderableType:
    """All mounts, one below the other. `bars`: drawn progress, for terminals."""
    parts: list[RenderableType] = []
    for index, mount in enumerate(mounts):
        if index:
            parts.append(Text(""))
        parts += _mount(mount, now, bars)
    return Group(*parts)


def plain(renderable: RenderableType) -> str:
    """The same for a pipe: no colours, nothing cut off, no blanks at the ends of lines."""
    buffer = io.StringIO()
    Console(file=buffer, width=_PIPE_WIDTH, color_system=None, force_terminal=False).print(renderable)
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())


def terminal() -> Console:
    return Console(file=sys.stdout)


def _mount(mount: MountStatus, now: datetime, bars: bool) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if mount.status:
        parts.append(_facts(mount, now))
        parts += _sessions(mount.sessions, now, bars)
        parts += _operations(mount.status)
        parts += _errors(mount.status)
    else:
        parts.append(Text(printable(str(mount.mountpoint)), style="bold"))
        if mount.private_to:
            owner = f"private mount of user {mount.private_to}: nobody else can look in without --allow-other"
            parts.append(Text(printable(owner)))
    if mount.error:
        parts.append(Text(printable(mount.error), style="red"))
    return parts


def _facts(mount: MountStatus, now: datetime) -> Table:
    status = mount.status
    server, login = _object(status, "server"), _object(status, "login")
    cache, downloads = _object(status, "cache"), _object(status, "downloads")
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row("mount", _text(mount.mountpoint, " (read-only)" if status.get("read_only") is True else ""))
    table.add_row("server", _text(_server(server)))
    if login:
        user, state = login.get("user") or "no login", login.get("state") or ""
        trouble = f": {login['error']}" if login.get("error") else ""
        table.add_row("login", _text(f"{user} {state}".strip(), trouble))
    if cache:
        hits, misses = _number(cache, "hits"), _number(cache, "misses")
        share = f", {hits / (hits + misses):.0%} hits" if hits + misses else ""
        used, size = human_size(_number(cache, "used")), human_size(_number(cache, "size"))
        table.add_row("cache", _text(f"{used} of {size}{share}"))
    if downloads:
        table.add_row("downloads", _text(_downloads(downloads)))
    since = _moment(status.get("started_at"))
    if since:
        pid = f", process {status['pid']}" if isinstance(status.get("pid"), int) else ""
        table.add_row("running", _text(f"for {human_duration((now - since).total_seconds())}{pid}"))
    return table


def _server(server: Mapping[str, Any]) -> str:
    words = [str(server.get("address") or "unknown")]
    if server.get("tls") is False:
        words.append("without TLS")
    if server.get("reachable") is False:
        words.append("NOT REACHABLE")
    text = ", ".join(words)
    return f"{text}: {server['error']}" if server.get("error") else text


def _downloads(downloads: Mapping[str, Any]) -> str:
    running, limit = _number(downloads, "running"), _number(downloads, "limit")
    text = f"{running:.0f} of {limit:.0f} running" if limit else f"{running:.0f} running"
    if _number(downloads, "waiting"):
        text += f", {_number(downloads, 'waiting'):.0f} waiting"
    text += f", {human_size(_number(downloads, 'bytes'))} in all"
    if _number(downloads, "retries"):
        text += f", {_number(downloads, 'retries'):.0f} retries"
    return text


def _sessions(sessions: tuple[SessionRecord, ...], now: datetime, bars: bool) -> Iterator[RenderableType]:
    if not sessions:
        yield Text("no sessions")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    table.add_column("STATE", no_wrap=True)
    table.add_column("PROGRESS", no_wrap=True)
    table.add_column("FILES", justify="right", no_wrap=True)
    table.add_column("SIZE", justify="right", no_wrap=True)
    table.add_column("EXPIRES", no_wrap=True)
    # Last, since it is the longest: on a narrow terminal it alone is folded, and can still be copied.
    table.add_column("SESSION", overflow="fold")
    for record in sessions:
        table.add_row(
            Text(printable(record.state), style=_STYLES.get(record.state, "yellow")),
            _progress(record, bars),
            str(len(record.files)),
            human_size(record.size) if record.files else "-",
            Text(_expiry(record, now)),
            _named(record),
        )
    yield table


def _named(record: SessionRecord) -> Text:
    """The name, and what is wrong with the session."""
    if record.error:
        return Text(printable(f"{record.name}: {record.error}"))
    lines = footage_lines(record)
    if not lines:
        return Text(printable(record.name))
    return Text(printable("; ".join(lines)), style="" if record.unsure and not record.missing else "yellow")


def _progress(record: SessionRecord, bars: bool) -> RenderableType:
    if record.state != RUNNING:
        return Text("-")
    if record.progress is None:
        return Text("?")
    if not bars:
        return Text(f"{record.progress:.0%}")
    grid = Table.grid(padding=(0, 1))
    grid.add_row(
        ProgressBar(total=1.0, completed=record.progress, width=_BAR_WIDTH), f"{record.progress:4.0%}"
    )
    return grid


def _expiry(record: SessionRecord, now: datetime) -> str:
    expires = _moment(record.expires_at)
    if expires is None:
        return "-"
    kept = " kept" if record.raw.get("kept_alive") is True else ""
    left = (expires - now).total_seconds()
    return (f"in {human_duration(left)}" if left > 0 else "due") + kept


def _operations(status: Mapping[str, Any]) -> list[RenderableType]:
    operations = list(members(status.get("operations")))
    if not operations:
        return []
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for title in ("OPERATION", "PID", "PATH", "OFFSET", "AGE"):
        table.add_column(title, overflow="fold")
    for operation in operations:
        age = operation.get("age")
        offset = operation.get("offset")
        table.add_row(
            _text(operation.get("op") or "-"),
            _text(operation.get("pid") or "-"),
            _text(operation.get("path") or "-"),
            _text("-" if offset is None else offset),
            f"{age:.1f}s" if isinstance(age, int | float) else "-",
        )
    return [Text(""), table]


def _errors(status: Mapping[str, Any]) -> list[RenderableType]:
    errors = list(members(status.get("recent_errors")))[-_ERRORS_SHOWN:]
    if not errors:
        return []
    lines: list[RenderableType] = [Text(""), Text("recent errors", style="bold")]
    for error in errors:
        words = [str(error.get(key)) for key in ("time", "operation", "message") if error.get(key)]
        lines.append(Text(printable("  ".join(words)), style="red"))
    return lines


def _object(status: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = status.get(key)
    return value if isinstance(value, Mapping) else {}


def _number(values: Mapping[str, Any], key: str) -> float:
    value = values.get(key)
    return value if isinstance(value, int | float) else 0


def _text(*parts: object) -> Text:
    return Text(printable("".join(str(part) for part in parts)))


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
