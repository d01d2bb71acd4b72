"""What holds for the project as a whole."""

import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
HOST = re.compile(
    r"index[-]url|^registry *=|https?://[^ \"]+/simple\b|https?://[^ \"]+\.(whl|tar\.gz|tgz)\b", re.M
)


def test_imports_go_down_only() -> None:
    command = [Path(sys.executable).parent / "lint-imports", "--no-logo", "--no-cache"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_the_lock_file_names_no_registry() -> None:
    text = (ROOT / "requirements.lock").read_text()
    assert not HOST.search(text)
    assert "--hash=sha256:" in text


def test_generated_messages_are_not_committed() -> None:
    assert "/exportfs/wire/axxonsoft/" in (ROOT / ".gitignore").read_text().splitlines()
