"""The server's timestamps: UTC in ISO 8601 basic form, `20260511T080814.064000` (observed)."""

import re
from datetime import UTC, datetime

# Here and below no strftime and strptime: they are most of what it takes to list ten thousand sessions.
_FORM = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)(?:\.(\d{1,9}))?", re.ASCII)


def parse(text: str) -> float:
    """Seconds since the epoch. Raises ValueError where `text` is not in the server's form."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"not a timestamp such as 20260511T080814.064000: {text!r}")
    *parts, fraction = match.groups()
    year, month, day, hour, minute, second = map(int, parts)
    whole = datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp()
    return whole + float(f"0.{fraction or 0}")


def text(seconds: float) -> str:
    """The server's form with microseconds, of `seconds` since the epoch."""
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{_whole(moment)}.{moment.microsecond:06}"


def brief(seconds: float) -> str:
    """The same without a fraction, as `expires_at` was observed."""
    return _whole(datetime.fromtimestamp(seconds, UTC))


def _whole(moment: datetime) -> str:
    day = f"{moment.year:04}{moment.month:02}{moment.day:02}"
    return f"{day}T{moment.hour:02}{moment.minute:02}{moment.second:02}"
