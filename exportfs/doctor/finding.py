"""What `doctor` finds, of this machine or of a server."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    ok: bool | None
    """None: it works, or may work, but somebody should know."""
    title: str
    """What was looked at, in a few words."""
    detail: str
    """What was found, in a sentence."""
    fix: str = ""
    """What to do about it; empty where there is nothing to do."""
