"""A panel's tables for the terminal, and its CSV files."""

from __future__ import annotations

import math
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.console import Group as Rows
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from gap_tune.files import write_text
from gap_tune.formatting import count, plain, plural
from gap_tune.panel.measures.compared import MEASURES
from gap_tune.panel.measures.standing import Standing, percent
from gap_tune.panel.rivals import ASKED, Against, against_rivals, judged, rivals_table
from gap_tune.panel.scores import Group, Scores
from gap_tune.panel.summary import (
    arms_table,
    measures_table,
    rates_table,
    search_table,
    standing,
)
from gap_tune.report.search_curve import MOST_TRIALS, Trials
from gap_tune.report.tables import harmless
from gap_tune.tune.spelling import is_fixed_name

# An interval wider than the column, per cent.
_WIDEST = 100.0
# What numbers of two halves leave of 80 columns; longer names go on in the next line.
_LONGEST_RIVAL = 15
CELLS_FILE = "panel.csv"
ARMS_FILE = "panel-arms.csv"
MEASURES_FILE = "panel-measures.csv"
SEARCH_FILE = "panel-search.csv"
RIVALS_FILE = "panel-rivals.csv"
RATES_FILE = "panel-rates.csv"

CAPTION = (
    "Test loss against the best fixed momentum in hindsight, of each setting, or at each learning "
    "rate (per lr): geometric mean over settings in per cent, ± half its 95 % bootstrap interval; "
    "+ is worse. 1 trial =: trials of a random search of learning rate and momentum that one trial "
    f"at a random learning rate is as good as; match {MOST_TRIALS}: trials that are as good as "
    f"{MOST_TRIALS} of it. Rivals: test loss against theirs, across learning rates and of the best "
    "of n random trials, - is ahead; * where the 95 % interval says so, either way; worth: trials "
    "of the rival that one trial is as good as. w/t/l: wins, ties and losses by paired t tests at "
    "5 %. ms/step: time above the fixed arms'. range: test loss at the worst learning rate above "
    "that at the best, median over settings. lost: runs that diverged or failed; saved: places "
    "where a fixed arm diverged and this one did not."
)


def write_tables(scores: Scores, folder: Path) -> list[Path]:
    """Write the tables and return the files' paths.

    They have a row per setting and arm, per arm, per family, half, arm and measure, per family,
    half, search method and number of trials, per family, half, rival and measure, and per family,
    half and arm over the range of learning rates.

    Raises:
        InvalidValueError: When the folder cannot be written.
    """
    tables = {
        CELLS_FILE: scores.cells,
        ARMS_FILE: arms_table(scores),
        MEASURES_FILE: measures_table(scores),
        SEARCH_FILE: search_table(scores),
        RIVALS_FILE: rivals_table(scores),
        RATES_FILE: rates_table(scores),
    }
    return [
        write_text(folder / name, harmless(table).to_csv(index=False))
        for name, table in tables.items()
    ]


def arms_summary(scores: Scores) -> RenderableType:
    """Return tables with a row per arm, 80 columns wide: by family what they reach.

    Below that is the arm that is judged against every rival, and in the end what arms cost.
    """
    tables: list[RenderableType] = []
    if scores.losses.fixed:
        for _, groups in groupby(scores.groups, key=lambda group: group.family):
            together = list(groups)
            tables += _family(together)
            tables += _rivals(together)
    return Rows(*tables, _costs(scores))


def _family(groups: list[Group]) -> list[RenderableType]:
    """Return a family's table under its title, halves beside each other."""
    first = groups[0].scores
    table = _table(first, "tuned", "across", "per lr", "1 trial =", f"match {MOST_TRIALS}")
    for arm in first.arms:
        reached = [_reached(group.scores, arm, alone=len(groups) == 1) for group in groups]
        table.add_row(Text(plain(arm)), *map(" / ".join, zip(*reached, strict=True)))
    whose = " / ".join(
        f"{group.half} {plural(len(group.scores.settings), 'setting')}".strip() for group in groups
    )
    return [Text(plain(f"{groups[0].title}: {whose}"), style="bold"), table, Text()]


def _reached(scores: Scores, arm: str, *, alone: bool) -> list[str]:
    """Return an arm's three measures, and what it saves of a search."""
    curve = scores.curves[arm]
    measures = (_measure(scores, arm, measure, alone=alone) for measure in MEASURES)
    return [*measures, _trials(curve.worth), _trials(curve.match)]


def _rivals(groups: list[Group]) -> list[RenderableType]:
    """Return a family's table of rivals, halves beside each other."""
    by_group = [against_rivals(group.scores) for group in groups]
    if not by_group[0]:
        return []
    table = Table("", *ASKED, "worth", box=None, padding=(0, 1, 0, 0))
    _to_the_right(table)
    first = table.columns[0]
    # What stands in brackets would be read as a style.
    first.header = Text(plain(f"rival of {judged(groups[0].scores)}"))
    first.max_width, first.overflow = _LONGEST_RIVAL, "fold"
    for rivals in zip(*by_group, strict=True):
        cells = [_against(each, alone=len(groups) == 1) for each in rivals]
        table.add_row(Text(plain(rivals[0].rival)), *map("/".join, zip(*cells, strict=True)))
    return [table, Text()]


def _against(each: Against, *, alone: bool) -> list[str]:
    """Return the cells of a rival: marked where the arm is ahead or behind."""
    places = [each.standings[measure] for measure in ASKED]
    marks = ["*" if place.kind in ("ahead", "behind") else "" for place in places]
    cells = [_ratio(place, mark, alone=alone) for place, mark in zip(places, marks, strict=True)]
    return [*cells, _trials(each.worth, digits=0 if each.worth.count >= 10 else 1)]


def _measure(scores: Scores, arm: str, measure: str, *, alone: bool) -> str:
    return _ratio(standing(scores, arm, measure), "", alone=alone)


def _ratio(place: Standing, mark: str, *, alone: bool) -> str:
    half = 100 * (place.high - place.low) / 2
    text = percent(place.ratio).removesuffix(" %") + mark
    if not alone or not math.isfinite(half):
        return text
    return f"{text} ±{half:.1f}" if half < _WIDEST else f"{text} ±wide"


def _trials(trials: Trials, digits: int = 1) -> str:
    return f"{trials.count:.{digits}f}" if math.isfinite(trials.count) else f">{MOST_TRIALS}"


def _costs(scores: Scores) -> Table:
    columns = ("w/t/l tuned", "across", "per lr", "steps", "ms/step", "range", "lost", "saved")
    table = _table(scores, *columns)
    for row in arms_table(scores).to_dict("records"):
        table.add_row(
            Text(plain(row["arm"])),
            *(_outcomes(row, measure) for measure in MEASURES),
            count(row["steps"]),
            f"{row['overhead_ms']:+.2f}" if math.isfinite(row["overhead_ms"]) else "-",
            f"{100 * (row['range_median'] - 1):+,.0f}",
            count(row["diverged"] + row["failed"]),
            "" if is_fixed_name(row["arm"]) else count(row["survived"]),
        )
    return table


def _outcomes(row: dict[str, Any], measure: str) -> str:
    if f"{measure}_ratio" not in row:
        return "-"
    return "/".join(str(row[f"{measure}_{name}"]) for name in ("wins", "ties", "losses"))


def _table(scores: Scores, *columns: str) -> Table:
    table = Table("arm", *columns, box=None, padding=(0, 1, 0, 0))
    table.columns[0].min_width = max(map(len, scores.arms))
    _to_the_right(table)
    return table


def _to_the_right(table: Table) -> None:
    for column in table.columns[1:]:
        column.justify = "right"
        column.no_wrap = True
