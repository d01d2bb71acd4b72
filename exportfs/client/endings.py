"""How a session ended, in sentences."""

from exportfs.client.sessions import SessionRecord
from exportfs.record import COMPLETED, FAILED, REMOVED, STOPPED


def footage_lines(record: SessionRecord) -> list[str]:
    """What a session's results lack, and what cannot be told; each a line."""
    if record.state not in (COMPLETED, STOPPED):
        return []
    lines = [f"{record.name}: {sentence}" for sentence in record.missing]
    if record.empty and not lines:
        lines.append(f"{record.name}: completed without any result")
    if record.unsure and not lines:
        lines.append(f"{record.name}: {record.unsure}")
    return lines


def ending(record: SessionRecord) -> str:
    """How it ended, and what to do."""
    if record.state == FAILED:
        reason = f": {record.error}" if record.error else "; the server gave no reason"
        return f"{record.name}: the export failed{reason}"
    if record.state == STOPPED:
        return f"{record.name}: stopped before its end; its results so far are in its directory"
    if record.state == REMOVED:
        return f"{record.name}: no longer on the server; export it again"
    return f"{record.name}: {record.state}"
