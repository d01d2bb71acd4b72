"""Words that the project does not use, each with the one that it does: the field's terms, and plain English."""

import functools
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WORDS = {
    r"FAREWELL": "CANCEL_GRACE",
    r"READS_LONGER": "READ_TIMEOUT_FACTOR",
    r"\bWARY\b": "SHORT_TIMEOUT",
    r"for as long as it is let run": "until it is cancelled",
    r"is begun again": "is restarted",
    r"could not ask about a session": "keep-alive poll of session ID …",
    r"cannot be had": "cannot be read, fetched, listed",
    r"(?<!here )\bis no (?!longer|larger|older|more|such|reason)[a-z]": "is not a …; invalid …",
    r"there is no part of a byte": "bytes must be a whole number",
    r"may not be looked at": "no permission to access",
    r"belongs? into": "belongs in",
    r"How failures are met": "Error handling",
    r"What goes over what": "Precedence",
    r"Let other users .{0,20}look in": "Allow other users to access",
    r"Stay, and log to": "Run in the foreground",
    r"Least level": "Minimum log level",
    r"unforeseen": "unexpected",
    r"\bWorld\b": "Context",
    r"test_nowhere|test_for_real": "what the test is about",
    r"e-mail": "email",
    r"# type: ignore(\[[^]]*\])?\s*$": "with the reason in the same line",
    r"\bteh\b|\brecieve|\boccured\b|\bseperate": "(spelling)",
}
TEXT = {".py", ".md", ".toml", ".sh", ".html", ".css", ".yml", ""}


def files() -> list[Path]:
    """All of the project's texts; what is not under git yet, in an sdist, by its folders."""
    if (ROOT / ".git").exists():
        done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True)
        paths = [ROOT / name for name in done.stdout.split("\0") if name]
    else:
        folders = ("exportfs", "tests", "docs", "bench", "package", ".ci")
        paths = [path for folder in folders for path in (ROOT / folder).rglob("*")]
    here = Path(__file__)
    return [
        path
        for path in paths
        if path.suffix in TEXT and path.is_file() and path != here and "axxonsoft" not in path.parts
    ]


@functools.cache
def lines() -> list[tuple[Path, int, str]]:
    """All lines of these texts, with the file and the number of each."""
    return [
        (path, number, line)
        for path in files()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
    ]


@pytest.mark.parametrize("word", WORDS)
def test_not_used(word: str) -> None:
    pattern = re.compile(word)
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path, number, line in lines()
        if pattern.search(line)
    ]
    assert found == [], f"better: {WORDS[word]}"
