"""A panel's table for the terminal, and its CSV files."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from gap_tune.files import write_text
from gap_tune.formatting import count, plain
from gap_tune.panel.scores import ACROSS, TUNED, Scores
from gap_tune.panel.summary import arms_table, percent

# An interval wider than the column, per cent.
_WIDEST = 100.0
CELLS_FILE = "panel.csv"
ARMS_FILE = "panel-arms.csv"

CAPTION = (
    "Test loss against each setting's best fixed momentum in hindsight (geometric mean over "
    "settings, ± half its 95 % interval; + is worse), wins/ties/losses by paired t tests at 5 %, "
    "steps of all runs, time of a step above the fixed arms', runs that diverged or failed."
)


def write_tables(scores: Scores, folder: Path) -> list[Path]:
    """Write a row per setting and arm, and a row per arm, and return the files' paths.

    Raises:
        InvalidValueError: When the folder cannot be written.
    """
    tables = {CELLS_FILE: scores.cells, ARMS_FILE: arms_table(scores)}
    return [write_text(folder / name, table.to_csv(index=False)) for name, table in tables.items()]


def arms_summary(scores: Scores) -> Table:
    """Return a row per arm, 80 columns wide: losses against the best fixed momenta, and costs."""
    columns = ("arm", "tuned lr", "w/t/l", "all lr", "w/t/l", "steps", "ms/step", "lost")
    table = Table(*columns, box=None, padding=(0, 1, 0, 0))
    table.columns[0].min_width = max(map(len, scores.arms))
    for column in table.columns[1:]:
        column.justify = "right"
        column.no_wrap = True
    for row in arms_table(scores).to_dict("records"):
        table.add_row(
            Text(plain(row["arm"])),
            *_measure(row, TUNED),
            *_measure(row, ACROSS),
            count(row["steps"]),
            f"{row['overhead_ms']:+.2f}" if math.isfinite(row["overhead_ms"]) else "-",
            count(row["diverged"] + row["failed"]),
        )
    return table


def _measure(row: dict[str, Any], measure: str) -> tuple[str, str]:
    if f"{measure}_ratio" not in row:
        return "-", "-"
    half = 100 * (row[f"{measure}_high"] - row[f"{measure}_low"]) / 2
    spread = f" ±{half:.1f}" if half < _WIDEST else " ±wide" if math.isfinite(half) else ""
    counts = (row[f"{measure}_{name}"] for name in ("wins", "ties", "losses"))
    return f"{percent(row[f'{measure}_ratio'])}{spread}", "/".join(map(str, counts))
