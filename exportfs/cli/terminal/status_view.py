"""How `status` looks: tables of rich, made from a mount's own words. Every key may be missing."""

import io
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from exportfs.cli.terminal.output import printable
from exportfs.cli.terminal.session_view import expiry, moment, sessions_in
from exportfs.client.endings import footage_lines
from exportfs.client.mounts import MountStatus, members
from exportfs.client.sessions import SessionRecord
from exportfs.record import RUNNING
from exportfs.units import human_duration, human_size

_PIPE_WIDTH = 10_000
_OPERATIONS_SHOWN = 5
_LEAST_LINES = 4
"""For the sessions of a mount, however small the window is: one, and how many are not shown."""
_ERRORS_SHOWN = 5


def table(mounts: list[MountStatus], now: datetime) -> str:
    """All mounts, one below the other, for a pipe: a line for each session, nothing cut off, no colours."""
    parts = _joined([_mount(mount, now, _table(mount.sessions, now)) for mount in mounts])
    buffer = io.StringIO()
    Console(file=buffer, width=_PIPE_WIDTH, color_system=None, force_terminal=False).print(Group(*parts))
    return "\n".join(line.rstrip() for line in buffer.getvalue().splitlines())


def view(
    mounts: list[MountStatus], now: datetime, console: Console, height: int | None = None
) -> RenderableType:
    """The same for a terminal. With a `height` it fits into that many lines, and says what is left out."""
    width = console.width
    if height is None:
        drawn = [
            _mount(mount, now, [Text(""), sessions_in(mount.sessions, now, width, None)]) for mount in mounts
        ]
        return Group(*_joined(drawn))
    # Lines of all but the sessions; what remains is shared by the mounts.
    around = [_height(console, _mount(mount, now, [Text("")])) for mount in mounts]
    left = height - sum(around) - (len(mounts) - 1)
    drawn = []
    for index, mount in enumerate(mounts):
        share = max(_LEAST_LINES, left // (len(mounts) - index))
        sessions = sessions_in(mount.sessions, now, width, share)
        left -= _height(console, [sessions])
        drawn.append(_mount(mount, now, [Text(""), sessions]))
    return Group(*_joined(drawn))


def _height(console: Console, parts: list[RenderableType]) -> int:
    return len(console.render_lines(Group(*parts), pad=False)) if parts else 0


def _joined(mounts: list[list[RenderableType]]) -> list[RenderableType]:
    """With an empty line between two mounts."""
    parts: list[RenderableType] = []
    for index, mount in enumerate(mounts):
        parts += [*([Text("")] if index else []), *mount]
    return parts


def terminal() -> Console:
    return Console(file=sys.stdout)


def _mount(mount: MountStatus, now: datetime, sessions: Iterable[RenderableType]) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if mount.status:
        parts.append(_facts(mount, now))
        parts += sessions
        parts += _operations(mount.status)
        parts += _errors(mount.status)
    else:
        parts.append(Text(printable(str(mount.mountpoint)), style="bold"))
        if mount.private_to:
            owner = (
                f"private mount of user {mount.private_to}: not accessible to others without --allow-other"
            )
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
    since = moment(status.get("started_at"))
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


def _table(sessions: tuple[SessionRecord, ...], now: datetime) -> Iterator[RenderableType]:
    if not sessions:
        yield Text("no sessions")
        return
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    with_cameras = any(record.cameras for record in sessions)
    for title in ("STATE", "PROGRESS", "FILES", "SIZE", "EXPIRES", *(["CAMERAS"] if with_cameras else [])):
        table.add_column(title, justify="right" if title in ("FILES", "SIZE") else "left", no_wrap=True)
    # Last, since it is the longest.
    table.add_column("SESSION", overflow="fold")
    for record in sessions:
        table.add_row(
            _text(record.state),
            _progress(record),
            str(len(record.files)),
            human_size(record.size) if record.files else "-",
            expiry(record, now),
            *([_text(", ".join(record.cameras) or "-")] if with_cameras else []),
            _named(record),
        )
    yield table


def _named(record: SessionRecord) -> Text:
    """The name, and what is wrong with the session."""
    if record.error:
        return _text(f"{record.name}: {record.error}")
    return _text("; ".join(footage_lines(record)) or record.name)


def _progress(record: SessionRecord) -> str:
    if record.state != RUNNING:
        return "-"
    return "?" if record.progress is None else f"{record.progress:.0%}"


def _operations(status: Mapping[str, Any]) -> list[RenderableType]:
    """A line each, and the path, which may be long, behind all else."""
    operations = list(members(status.get("operations")))
    if not operations:
        return []
    lines: list[RenderableType] = [Text(""), Text("operations under way", style="bold")]
    for operation in operations[:_OPERATIONS_SHOWN]:
        age, offset = operation.get("age"), operation.get("offset")
        words = [str(operation.get("op") or "-")]
        words += [f"for {age:.1f}s"] if isinstance(age, int | float) else []
        words += [f"by process {operation['pid']}"] if operation.get("pid") else []
        words += [f"at offset {offset}"] if offset is not None else []
        lines.append(_text(", ".join([*words, str(operation.get("path") or "-")])))
    if len(operations) > _OPERATIONS_SHOWN:
        lines.append(Text(f"{len(operations) - _OPERATIONS_SHOWN} more operations not shown"))
    return lines


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
