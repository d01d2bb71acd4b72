"""The examples of docs/request-files.md."""

import re
from pathlib import Path

PAGE = (Path(__file__).parents[3] / "docs" / "request-files.md").read_text(encoding="utf-8")
EXAMPLES: list[str] = re.findall(r"^```json\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
