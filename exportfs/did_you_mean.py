"""The known word that a misspelt one most probably means."""

import difflib
from collections.abc import Iterable

_LONGEST = 80
"""Characters; a longer word is not a slip of the fingers, and difflib takes quadratic time."""


def _plain(word: str) -> str:
    return word.casefold().replace("_", "").replace("-", "")


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The member of `known` nearest to `word`, ignoring case and underscores; None where none is near."""
    if len(word) > _LONGEST:
        return None
    by_plain: dict[str, str] = {}
    for candidate in known:
        by_plain.setdefault(_plain(candidate), candidate)
    found = difflib.get_close_matches(_plain(word), by_plain, n=1, cutoff=0.6)
    return by_plain[found[0]] if found else None
