"""What the tests read of cluster_configs: its files, and the studies that they start."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "cluster_configs"
FILES = sorted(path for path in CONFIGS.rglob("*") if path.is_file())
# study.sh takes a folder and the arguments of `gap-tune compare`.
STUDY = re.compile(r"study\.sh (?P<folder>[\w./]+) (?P<arguments>digits-[^'\n]*)")


def joined(path: Path) -> str:
    """Return a file's text with lines that continue put on one line."""
    text = path.read_text()
    if path.suffix == ".yaml":
        text = f"{text}\n{_strings(yaml.safe_load(text))}"
    return re.sub(r"\\\n\s*", "", text)


def studies(path: Path) -> list[list[str]]:
    """Return the studies in a file as arguments of the gap-tune command."""
    text = joined(path)
    found = [shlex.split(match["arguments"]) for match in STUDY.finditer(text)]
    found += [shlex.split(match) for match in re.findall(r"^STUDY=\((.*)\)$", text, re.M)]
    return [["compare", *arguments, "--out", "FOLDER"] for arguments in found]


def load(name: str) -> dict[str, Any]:
    """Return the YAML document of a file."""
    document = yaml.safe_load((CONFIGS / name).read_text())
    assert isinstance(document, dict)
    return document


def _strings(node: Any) -> str:
    """Return all strings of a document, in which YAML has folded lines, one a line."""
    if isinstance(node, dict):
        return "\n".join(_strings(value) for value in node.values())
    if isinstance(node, list):
        return "\n".join(_strings(value) for value in node)
    return str(node)
