"""The reference of all commands, made from the same source as `--help`.

`python -m exportfs.cli.reference markdown > docs/options.md`; with `man` it makes the man page.
"""

import inspect
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import click

from exportfs import __version__
from exportfs.cli import program
from exportfs.cli.examples import lines
from exportfs.cli.failures import Failure
from exportfs.program import PROGRAM

EXIT_CODES = (
    (0, "All was done."),
    (1, "Something failed; one line on standard error says what to do."),
    (2, "Wrong command line."),
    (3, "Everything worked, and results hold less footage than was asked for."),
    (130, "Interrupted with Ctrl-C."),
)
FILES = (
    ("~/.config/axxon-exportfs/config.toml", "Profiles and defaults. See docs/configuration.md."),
    ("~/.local/state/axxon-exportfs/", "What the mounts remember of the sessions that they started."),
)
ENVIRONMENT = (("EXPORTFS_PASSWORD", "The user's password, where --password-file is not given."),)


@dataclass(frozen=True, slots=True)
class Page:
    """One command, as words."""

    name: str
    usage: str
    summary: str
    text: str
    options: tuple[tuple[str, str], ...]
    examples: tuple[tuple[str, str], ...]
    """What it is for, and the command line."""


def pages() -> Iterator[Page]:
    """Every command that can be imported here, in the order of `--help`."""
    context = click.Context(program, info_name=PROGRAM)
    for name in program.list_commands(context):
        try:
            command = program.get_command(context, name)
        except Failure:
            continue
        if command is None:
            continue
        # Wide, so that nothing is wrapped: whoever shows it wraps it.
        ctx = click.Context(command, info_name=name, parent=context, terminal_width=10_000)
        # Without --help, which all have, and the arguments, which the usage shows.
        options = (option for option in command.params if isinstance(option, click.Option))
        records = (option.get_help_record(ctx) for option in options)
        yield Page(
            name=name,
            usage=" ".join(part for part in [PROGRAM, name, *command.collect_usage_pieces(ctx)] if part),
            summary=command.get_short_help_str(limit=500),
            text=_plain(command.help),
            options=tuple((record[0], record[1].replace("  ", " ")) for record in records if record),
            examples=tuple(lines(name)),
        )


def _plain(help_text: str | None) -> str:
    return inspect.cleandoc(help_text or "").replace("\b\n", "").replace("\f", "")


def markdown() -> str:
    """docs/options.md."""
    made = [
        "# Options",
        "",
        "Made from the program itself by `python -m exportfs.cli.reference markdown`; do not edit.",
        "",
    ]
    for page in pages():
        made += [f"## {page.name}", "", "```", page.usage, "```", "", page.text, ""]
        if page.options:
            made += ["| option | meaning |", "| --- | --- |"]
        made += [f"| `{_cell(option)}` | {_cell(meaning)} |" for option, meaning in page.options]
        if page.examples:
            made += [*([""] if page.options else []), "```", *_commented(page), "```"]
        made += [""]
    made += ["## Exit codes", "", "| code | meaning |", "| --- | --- |"]
    made += [f"| {code} | {meaning} |" for code, meaning in EXIT_CODES]
    return "\n".join(made) + "\n"


def _commented(page: Page) -> list[str]:
    """The examples, each below a comment that says what it is for."""
    return [text for purpose, line in page.examples for text in (f"# {purpose}", line)]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def man() -> str:
    """The man page, section 1, in roff."""
    made = [
        f'.TH {_roff(PROGRAM.upper())} 1 "" "{PROGRAM} {__version__}" "User Commands"',
        ".SH NAME",
        f"{_roff(PROGRAM)} \\- {_roff('the exports of an Axxon One server as a folder')}",
        ".SH SYNOPSIS",
        f".B {_roff(PROGRAM)}",
        "COMMAND [OPTIONS] [ARGUMENTS]",
        ".SH DESCRIPTION",
        *_paragraphs(_plain(program.help)),
        ".SH COMMANDS",
    ]
    for page in pages():
        made += [f".SS {_roff(page.name)}", ".nf", f".B {_roff(page.usage)}", ".fi"]
        made += _paragraphs(page.text)
        for option, meaning in page.options:
            made += [".TP", f".B {_roff(option)}", _roff(meaning)]
        if page.examples:
            made += [".PP", "Examples:", ".PP", ".nf", *map(_roff, _commented(page)), ".fi"]
    made += [".SH EXIT STATUS", *_terms((str(code), meaning) for code, meaning in EXIT_CODES)]
    made += [".SH ENVIRONMENT", *_terms(ENVIRONMENT)]
    made += [".SH FILES", *_terms(FILES)]
    made += [".SH SEE ALSO", "fusermount3(1), mount(8), sha256sum(1)"]
    return "\n".join(made) + "\n"


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        yield from (".PP", _roff(" ".join(paragraph.split())))


def _terms(items: Iterable[tuple[str, str]]) -> Iterator[str]:
    for term, meaning in items:
        yield from (".TP", f".B {_roff(term)}", _roff(meaning))


def _roff(text: str) -> str:
    """Text that roff takes as text: hyphens stay hyphens, and no line begins with a command."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-").replace("~", "\\(ti")
    return "\n".join(f"\\&{line}" if line[:1] in (".", "'") else line for line in escaped.splitlines())


if __name__ == "__main__":
    click.echo({"markdown": markdown, "man": man}[sys.argv[1]](), nl=False)
