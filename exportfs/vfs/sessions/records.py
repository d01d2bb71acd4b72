"""`.session.json` and `.request.json`: what the server says of a session, and its options."""

import contextlib
import functools
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime

from exportfs.coverage import Coverage, assess
from exportfs.errors import Corrupt
from exportfs.model import Session, State, downloadable
from exportfs.naming import readable
from exportfs.record import COMPLETED, FAILED, REMOVED, RUNNING, STOPPED, FileJson, SessionJson
from exportfs.requests import advice, asked_of, sources_of, to_json
from exportfs.sessions.catalogue import Entry
from exportfs.timestamps import parse_server, to_rfc3339
from exportfs.vfs.context import Context
from exportfs.vfs.node import SECOND

_PASSING = re.compile(rb'^  "(?:progress|expires_at|last_frame_timestamp)": .*\n', re.MULTILINE)
"""What of the record of a running export is another at each answer of the server. All that is within others stands
further to the right."""


def state_word(context: Context, session: Session) -> str:
    """`running completed failed stopped removed`."""
    state = session.state
    if state.state is State.REMOVED:
        return REMOVED
    if state.state is not State.COMPLETED:
        return RUNNING
    if context.actions.was_stopped(session.id):
        return STOPPED
    return COMPLETED if state.succeeded else FAILED


def progress(session: Session) -> float | None:
    """0 to 1, from the last frame's place in the archive interval; None where that cannot be told."""
    if session.state.state is State.COMPLETED:
        return 1.0
    summary = session.summary
    start, end = parse_server(summary.start), parse_server(summary.end)
    last = parse_server(session.state.last_frame_timestamp)
    if summary.live or start is None or end is None or end <= start:
        return None
    if last is None:
        return 0.0
    return round(min(max((last - start) / (end - start), 0.0), 1.0), 4)


def error_of(session: Session, word: str) -> str | None:
    """A sentence where the export did not succeed. word: as `state_word` gives it."""
    if word != FAILED:
        return None
    return "the server reports that the export did not succeed" + (
        "" if session.state.files else "; there are no results"
    )


def expires_at(context: Context, session_id: str) -> str | None:
    """Our estimate of when the server stops or deletes it, RFC 3339 in whole seconds."""
    left = context.keeper.expires_in(session_id)
    if left is None:
        return None
    return to_rfc3339(datetime.fromtimestamp(int(context.wall() + left), UTC))


def keeping(context: Context, entry: Entry) -> tuple[bool | None, str | None]:
    """`kept_alive` and `expires_at` as the record has them.

    None for a completed session: they change with the time and with looking, and two copies of evidence are to be
    equal. Extended attributes and `.status.json` have them.
    """
    if entry.completed:
        return None, None
    return context.keeper.kept(entry.id), expires_at(context, entry.id)


def but_for_progress(text: bytes) -> bytes:
    """The text of a record, without what of it passes by while an export runs."""
    return _PASSING.sub(b"", text)


def session_record(context: Context, entry: Entry) -> bytes:
    """The text of `.session.json`."""
    session = entry.session
    kept_alive, expires = keeping(context, entry)
    word = state_word(context, session)
    files: list[FileJson] = [
        {
            "name": name,
            "file_id": readable(file.path),
            "size": file.size,
            "mime_type": readable(file.mime_type),
            "min_timestamp": readable(file.min_timestamp),
            "max_timestamp": readable(file.max_timestamp),
            "downloadable": downloadable(session.summary, file),
        }
        for name, file in zip(entry.names, session.state.files, strict=True)
    ]
    error = error_of(session, word)
    coverage = coverage_of(session)
    footage = _footage(context, session)
    started_here = context.ledger.records.of_session(session.id) is not None
    record: SessionJson = {
        "id": readable(session.id),
        "name": entry.name,
        "state": word,
        "progress": progress(session),
        "started_here": started_here,
        "kept_alive": kept_alive,
        "expires_at": expires,
        "last_frame_timestamp": readable(session.state.last_frame_timestamp) or None,
        "cameras": [readable(label) for label in labels(context, session)],
        "footage": None if footage is None else dict(footage),
        "coverage": None if coverage is None else coverage.as_json(),
        "files": [],
        "options": {},
        "error": error,
        "warnings": _warnings(session, coverage, footage, started_here=started_here),
    }
    texts = {key: _json(value) for key, value in record.items()}
    texts["files"] = "[" + ",".join(f"\n    {_json(file)}" for file in files) + ("\n  ]" if files else "]")
    # Line breaks of the text stand between its values: within strings JSON has none.
    texts["options"] = options_text(session).rstrip().replace("\n", "\n  ")
    return ("{\n" + ",\n".join(f'  "{key}": {value}' for key, value in texts.items()) + "\n}\n").encode()


def request_record(entry: Entry) -> bytes:
    """The text of `.request.json`."""
    return options_text(entry.session).rstrip().encode() + b"\n"


def options_text(session: Session) -> str:
    """The session's options in the form that new/ takes."""
    return _options_text(session.options)


@functools.lru_cache(maxsize=16)
def _options_text(options: bytes) -> str:
    # Both records of a session hold it, and a listing asks for both.
    try:
        return to_json(options)
    except Corrupt:
        return "{}"


def footage_end(session: Session, first_seen: float) -> int:
    """Where a session's footage ends, or began, or when it was first seen: ns since 1970."""
    stamps = [file.max_timestamp or file.min_timestamp for file in session.state.files]
    moments = [moment for stamp in stamps if (moment := parse_server(stamp))]
    if moments and session.state.state is State.COMPLETED:
        return ns(max(moments))
    return first_moment(first_seen, session.summary.end, session.summary.start)


def first_moment(fallback: float, *stamps: str) -> int:
    """The first of these timestamps (in the server's form) that is one, else the Unix time: ns since 1970."""
    for stamp in stamps:
        moment = parse_server(stamp)
        if moment is not None:
            return ns(moment)
    return int(fallback * SECOND)


def ns(moment: datetime) -> int:
    """Nanoseconds since 1970, without floating point."""
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86400 + since.seconds) * SECOND + since.microseconds * 1000


def _json(value: object) -> str:
    """On one line: the encoder that makes several is not the fast one, and listings ask for thousands of records."""
    return json.dumps(value, ensure_ascii=False)


def coverage_of(session: Session) -> Coverage | None:
    """How much of an archive export's footage is there; None for a live one."""
    try:
        asked = asked_of(session.options)
    except Corrupt:
        return None
    if asked is None:
        return None
    state = session.state
    ended = state.state is State.COMPLETED
    # The size of what is kept elsewhere may not be known.
    held = [file for file in state.files if file.size or not downloadable(session.summary, file)]
    hollow = len(state.files) - len(held)
    return assess(asked, held, state.last_frame_timestamp, hollow=hollow, ended=ended)


@functools.lru_cache(maxsize=16384)
def _origins(options: bytes) -> tuple[str, ...]:
    try:
        return tuple(dict.fromkeys(origin for origin, _ in sources_of(options)))
    except Corrupt:
        return ()


def origins(session: Session) -> tuple[str, ...]:
    """The cameras' access points, each once."""
    return _origins(session.options)


def labels(context: Context, session: Session) -> tuple[str, ...]:
    """What its cameras are called; the access point of one whose label is not known."""
    return tuple(context.cameras.label(point) or point for point in origins(session))


def _footage(context: Context, session: Session) -> Mapping[str, object] | None:
    """What the archive said when the export was started; None where it was not started here, or not asked in time."""
    record = context.ledger.records.of_session(session.id)
    return record.footage if record is not None else None


def _warnings(
    session: Session,
    coverage: Coverage | None,
    footage: Mapping[str, object] | None,
    *,
    started_here: bool,
) -> list[str]:
    summary = session.summary
    warnings = list(coverage.warnings) if coverage else []
    if footage is not None and footage.get("covered") == 0:
        warnings.append("when the export was started the archive had no footage of this interval")
    if coverage is not None and coverage.note:
        warnings.append(coverage.note)
    if session.state.state is State.COMPLETED and not session.state.files and not warnings:
        warnings.append("there is no result at all")
    if summary.stored_by_agent:
        warnings.append("the results stay on the export agent's machine and cannot be downloaded")
    if summary.external_directory:
        warnings.append("the results go to a directory of the server's and cannot be downloaded")
    if summary.cloud_export:
        warnings.append("once the results are in the cloud they cannot be downloaded")
    if started_here:
        # What somebody else asked for is theirs to mend.
        with contextlib.suppress(Corrupt):
            warnings += map(readable, advice(session.options))
    return warnings
