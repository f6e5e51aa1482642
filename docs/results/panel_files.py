"""The CSV files that lie here, and how they are taken over from a panel or a simulation."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

HERE = Path(__file__).parent
HALVES = ("development", "held-out")
Row = Mapping[str, str]

# Of each file of a panel: the columns that are kept, and which rows.
_SEARCHES = ("sweep", "gap", "gap-unscaled", "fixed:0.9")
_SCORES = [
    f"{m}_{what}" for m in ("tuned", "across", "per_rate") for what in ("ratio", "low", "high")
]
_COUNTS = [
    f"{m}_{what}" for m in ("tuned", "across", "per_rate") for what in ("wins", "ties", "losses")
]
KEPT: dict[str, tuple[list[str], Callable[[Row], bool]]] = {
    "panel-arms.csv": (["arm", *_SCORES, *_COUNTS, "range_median"], lambda row: True),
    "panel-measures.csv": (
        [
            "family",
            "half",
            "arm",
            "measure",
            "settings",
            "ratio",
            "low",
            "high",
            "median",
            "worst",
            "kind",
        ],
        lambda row: row["arm"] in ("gap", "gap-unscaled"),
    ),
    "panel-rivals.csv": (
        ["family", "half", "arm", "rival", "measure", "settings", "ratio", "low", "high", "kind"],
        lambda row: row["family"] != "all",
    ),
    "panel-search.csv": (
        [
            "family",
            "half",
            "method",
            "trials",
            "ratio",
            "low",
            "high",
            "worth",
            "worth_low",
            "worth_high",
            "match",
        ],
        lambda row: row["method"] in _SEARCHES,
    ),
}
# Of a simulation's.
SIMULATED: dict[str, tuple[list[str], Callable[[Row], bool]]] = {
    "simulated-curves.csv": (
        ["method", "axis", "at", "ratio", "low", "high"],
        lambda row: row["method"].startswith(("gap+tpe", "sweep+tpe")),
    ),
    "simulated-methods.csv": (
        [
            "method",
            "ratio",
            "low",
            "high",
            "cost_trials",
            "seconds",
            "match_trials",
            "match_time",
        ],
        lambda row: True,
    ),
}


def take_over(folder: Path, kept: Mapping[str, tuple[list[str], Callable[[Row], bool]]]) -> None:
    """Keep what the documentation needs of a folder's files, numbers to six digits."""
    for name, (columns, wanted) in kept.items():
        with (HERE / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, columns, lineterminator="\n")
            writer.writeheader()
            for row in _read(folder / name):
                if wanted(row):
                    writer.writerow({column: _short(row[column]) for column in columns})


def _short(text: str) -> str:
    try:
        return f"{float(text):.6g}"
    except ValueError:
        return text


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def rows(name: str, **wanted: str) -> Iterator[Row]:
    """Yield the rows of a file here whose columns have these values."""
    for row in _read(HERE / name):
        if all(row[column] == value for column, value in wanted.items()):
            yield row
