"""A hook of the site: what pages link to outside of docs/ is in the site, too, so links lead there.

Pages link as files of the repository do, to ``../CONTRIBUTING.md`` or ``../../examples/a.py``. The
site has a page for each Markdown file of the root, each example and each cluster configuration.
"""

from __future__ import annotations

import ast
import os
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
_EXAMPLES = "files/examples/index.md"
_SHOWN = ("examples/**/*.py", "cluster_configs/**/*")
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".sh": "bash", ".sbatch": "bash", "": "docker"}
_LINK = re.compile(r"(\]\()([^)\s#]+)((?:#[^)\s]*)?\))")
_FENCED = re.compile(r"(^```.*?^```)", re.DOTALL | re.MULTILINE)


def pages() -> dict[str, str]:
    """Return the pages that show files of the repository, by those files' paths in it."""
    found = {path.name: f"project/{path.stem.lower()}.md" for path in sorted(ROOT.glob("*.md"))}
    # The front page says what README says.
    found["README.md"] = "index.md"
    for pattern in _SHOWN:
        for path in sorted(ROOT.glob(pattern)):
            if path.is_file() and "__pycache__" not in path.parts and path.suffix != ".pyc":
                name = path.relative_to(ROOT).as_posix()
                found[name] = f"files/{name}.md".replace(".md.md", ".md")
    return found


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that show files of the repository."""
    for name, page in pages().items():
        if page not in files.src_uris:
            files.append(_generated(config, page, _page_of(ROOT / name)))
    files.append(_generated(config, _EXAMPLES, _list_of_examples()))
    return files


def _generated(config: MkDocsConfig, page: str, content: str) -> File:
    # What is linked to from a page of the menu needs no place in it.
    return File.generated(config, page, content=content, inclusion=InclusionLevel.NOT_IN_NAV)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to files of the repository to the pages that show them."""
    shown = pages()
    sources = {each: name for name, each in shown.items() if name != "README.md"}
    here = page.file.src_uri
    source = ROOT / sources[here] if here in sources else Path(config.docs_dir) / here
    return "".join(
        part if part.startswith("```") else _LINK.sub(_leading(source.parent, here, shown), part)
        for part in _FENCED.split(markdown)
    )


def _leading(folder: Path, here: str, shown: dict[str, str]) -> Any:
    def replaced(found: re.Match[str]) -> str:
        target = found[2]
        if "://" in target or target.startswith("mailto:"):
            return found[0]
        path = Path(os.path.normpath(folder / target))
        if not path.is_relative_to(ROOT):
            return found[0]
        name = path.relative_to(ROOT).as_posix()
        if name in ("examples", "examples/tutorials"):
            page = _EXAMPLES
        elif name in shown:
            page = shown[name]
        elif path.is_relative_to(ROOT / "docs"):
            page = path.relative_to(ROOT / "docs").as_posix()
        else:
            # Not in the site: a build that is strict says so.
            return found[0]
        return found[1] + os.path.relpath(page, os.path.dirname(here) or ".") + found[3]

    return replaced


def _page_of(path: Path) -> str:
    text = path.read_text()
    if path.suffix == ".md":
        return text
    name = path.relative_to(ROOT).as_posix()
    head = f"# {path.name}\n\n"
    if path.suffix == ".py":
        head += f"{ast.get_docstring(ast.parse(text))}\n\n```console\n$ python {name}\n```\n\n"
    language = _LANGUAGES.get(path.suffix, "text")
    return f"{head}`{name}` of the repository:\n\n```{language}\n{text}```\n"


def _list_of_examples() -> str:
    lines = ["# Examples", "", "Scripts under 80 lines, each run by a test.", ""]
    lines += ["| script | what it shows |", "|---|---|"]
    for path in sorted((ROOT / "examples").rglob("*.py")):
        name = path.relative_to(ROOT / "examples").as_posix()
        said = (ast.get_docstring(ast.parse(path.read_text())) or "").split("\n\n")[0]
        lines.append(f"| [`{name}`](../../../examples/{name}) | {' '.join(said.split())} |")
    return "\n".join(lines) + "\n"
