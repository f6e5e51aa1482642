"""read_note, read_runs: what a suite left in its folder."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gap_tune.errors import StateError
from gap_tune.files import json_lines, parsed_json

RUNS_FILE = "runs.jsonl"
# In every note: what makes runs of another day comparable. The command and versions are told only.
COMPARED = ("settings", "seeds", "lr_span", "lr_count", "rule", "version")

# Setting, arm, learning rate, seed.
RunKey = tuple[str, str, float, int]


def note_path(folder: Path, kind: str = "suite") -> Path:
    """Return the file that says what the suite in a folder is.

    Args:
        folder: Where it is.
        kind: What its owner calls it, such as "panel".

    >>> note_path(Path("out"), "panel").as_posix()
    'out/panel.json'
    """
    return folder / f"{kind}.json"


def read_note(folder: Path, kind: str = "suite") -> dict[str, Any]:
    """Return what the suite in a folder is; arguments as of ``note_path``.

    Raises:
        StateError: When there is no note, or one that is not such a suite's.
    """
    path = note_path(folder, kind)
    try:
        note: dict[str, Any] = parsed_json(path.read_text())
        for key in COMPARED:
            note[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StateError(f"{path} must be a {kind}'s note, but got: {error!r}.") from None
    return note


def read_runs(folder: Path) -> list[dict[str, Any]]:
    """Return the finished runs of a suite; of one that was done twice, the later."""
    found: dict[RunKey, dict[str, Any]] = {}
    for row in json_lines(folder / RUNS_FILE):
        with suppress(KeyError, TypeError):
            found[key_of(row)] = row
    return list(found.values())


def key_of(row: Mapping[str, Any]) -> RunKey:
    """Return what tells a run apart from the suite's other runs."""
    return row["setting"], row["arm"], row["lr"], row["seed"]
