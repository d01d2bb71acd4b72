"""Words to choose from, in whichever case and under the names that people know them by."""

import difflib
from collections.abc import Iterable, Mapping

import click


class Choice(click.Choice):  # type: ignore[type-arg] # generic in newer versions only
    """One of some words. `aliases` are other names, `hints` what to do instead, by the word that was given."""

    def __init__(
        self,
        words: Iterable[str],
        aliases: Mapping[str, str] | None = None,
        hints: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(list(words), case_sensitive=False)
        self.aliases = aliases or {}
        self.hints = hints or {}

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> object:
        word = str(value).strip().lower().removeprefix(".")
        word = self.aliases.get(word, word)
        if word not in self.choices:
            hint = f"; {self.hints[word]}" if word in self.hints else ""
            self.fail(f"{value!r} is not one of {', '.join(self.choices)}{hint}", param, ctx)
        return word


def nearest(word: str, words: Iterable[str]) -> str:
    """`did you mean 'x'?`, or all the words that there are."""
    known = list(words)
    near = difflib.get_close_matches(word.lower(), known, n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known)}"
