"""The server's timestamps: UTC in ISO 8601 basic form, `20260511T080814.064000` (observed)."""

import re
from datetime import UTC, datetime

_FORM = re.compile(r"(\d{8}T\d{6})(?:\.(\d{1,9}))?", re.ASCII)


def parse(text: str) -> float:
    """Seconds since the epoch. Raises ValueError where `text` is not in the server's form."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"not a timestamp such as 20260511T080814.064000: {text!r}")
    whole = datetime.strptime(match[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC).timestamp()
    return whole + float(f"0.{match[2] or 0}")


def text(seconds: float) -> str:
    """The server's form with microseconds, of `seconds` since the epoch."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%S.%f")


def brief(seconds: float) -> str:
    """The same without a fraction, as `expires_at` was observed."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%S")
