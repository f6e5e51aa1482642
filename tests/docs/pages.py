"""The pages that readers have: README.md and all that lies in docs/, and what they contain."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCS = ROOT / "docs"
PAGES = (README, *sorted(DOCS.rglob("*.md")))
TEXTS = {page.relative_to(ROOT).as_posix(): page.read_text() for page in PAGES}
# Code blocks of any language: what stands in them is no link and no heading.
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
# The cells of tables' rows in which no cell has a bar.
_TABLE_ROW = re.compile(r"^\| `([^|]+)` \| [^|]+ \| [^|]+ \|$", re.MULTILINE)


def blocks(page: str, language: str) -> list[str]:
    """Return the code blocks of a page that are of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", TEXTS[page], re.DOTALL | re.MULTILINE)


def commands() -> list[str]:
    """Return every command that some page tells to type, each once."""
    lines = [line for page in TEXTS for b in blocks(page, "console") for line in b.splitlines()]
    assert all(line.startswith("$ ") for line in lines), "console blocks hold commands, no output"
    return list(dict.fromkeys(line.removeprefix("$ ").split(" #")[0].strip() for line in lines))


def messages() -> list[str]:
    """Return the messages of the page that says what they mean."""
    return _TABLE_ROW.findall(TEXTS["docs/troubleshooting.md"])
