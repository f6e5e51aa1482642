"""Write what the documentation says of results, from the CSV files beside this script.

    python docs/results/build.py                        # tables and figures, from the files here
    python docs/results/build.py --panel FOLDER         # first takes over a panel's files
    python docs/results/build.py --simulation FOLDER    # or those of gap-tune simulate

A table stands between ``<!-- name -->`` and ``<!-- end -->``, in the pages of ``PAGES``. Numbers
are per cent of test loss, + is worse.
"""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from pathlib import Path

import search_curves
import simulated_curves
from panel_files import HALVES, HERE, KEPT, SIMULATED, Row, rows, take_over

ROOT = HERE.parents[1]
PAGES = (
    ROOT / "README.md",
    ROOT / "docs/explanation/results.md",
    ROOT / "docs/explanation/simulated.md",
)
FIGURES = {"search.svg": search_curves.figure, "simulated.svg": simulated_curves.figure}
_FAMILIES = {"sgd": "SGD", "adamw": "AdamW"}
_MEASURES = ("tuned", "across", "per_rate")


def percent(ratio: str) -> str:
    """Return a ratio of losses as a difference in per cent: +1, -12, 0."""
    value = round((float(ratio) - 1) * 100)
    return f"{value:+d}" if value else "0"


def interval(row: Row, prefix: str = "", *, ahead: bool = False) -> str:
    """Return a mean with its interval: -12 (-18 to -5), in bold where GAP is ahead."""
    mean, low, high = (percent(row[prefix + column]) for column in ("ratio", "low", "high"))
    return f"**{mean}** ({low} to {high})" if ahead else f"{mean} ({low} to {high})"


def trials(text: str) -> str:
    """Return a number of trials; what 30 did not reach is infinite in the files."""
    value = float(text)
    return "more than 30" if math.isinf(value) or value > 30 else f"{value:.1f}".removesuffix(".0")


def table(head: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *cells]
    return "\n".join(f"| {' | '.join(line)} |".replace("|  |", "| |") for line in lines)


def panel() -> str:
    """GAP against the best fixed momentum of each setting, by family and half."""
    cells = []
    for family, name in _FAMILIES.items():
        for half in HALVES:
            found = {
                m: next(rows("panel-measures.csv", family=family, half=half, arm="gap", measure=m))
                for m in _MEASURES
            }
            line = [interval(found[m], ahead=found[m]["kind"] == "ahead") for m in _MEASURES]
            search = next(rows("panel-search.csv", family=family, half=half, method="gap"))
            cells.append([f"{name}, {half} half", *line, trials(search["worth"])])
    arm = next(rows("panel-arms.csv", arm="gap"))
    line = [interval(arm, f"{m}_", ahead=float(arm[f"{m}_high"]) < 1) for m in _MEASURES]
    cells.append(["**all 28**", *line, ""])
    for title, name in (
        ("wins/ties/losses", "gap"),
        ("the same of `gap-unscaled`", "gap-unscaled"),
    ):
        arm = next(rows("panel-arms.csv", arm=name))
        counts = ["/".join(arm[f"{m}_{k}"] for k in ("wins", "ties", "losses")) for m in _MEASURES]
        cells.append([title, *counts, ""])
    singles = [
        min(
            rows("panel-arms.csv"),
            key=lambda row: (
                float(row[f"{m}_ratio"]) if row["arm"].startswith("fixed") else math.inf
            ),
        )
        for m in _MEASURES
    ]
    best = [
        f"{percent(row[f'{m}_ratio'])} (`{row['arm']}`)"
        for m, row in zip(_MEASURES, singles, strict=True)
    ]
    cells.append(["best single fixed momentum", *best, ""])
    head = (
        "",
        "at tuned learning rates",
        "over all learning rates",
        "at each learning rate",
        "one trial is worth",
    )
    return table(head, cells)


def arms() -> str:
    """Every arm over all settings."""
    cells = []
    for row in sorted(rows("panel-arms.csv"), key=lambda row: float(row["across_ratio"])):
        line = [interval(row, f"{m}_") for m in _MEASURES]
        worst = f"{percent(row['range_median'])}"
        cells.append([f"`{row['arm']}`", *line, worst])
    head = (
        "arm",
        "at tuned learning rates",
        "over all learning rates",
        "at each learning rate",
        "worst rate over best",
    )
    return table(head, cells)


def search() -> str:
    """What n random trials get, GAP against a sweep of learning rate and momentum."""
    cells = []
    for family, name in _FAMILIES.items():
        for half in HALVES:
            here = {"family": family, "half": half}
            row = next(rows("panel-search.csv", **here, method="gap"))
            worth, low, high = (trials(row[f"worth{end}"]) for end in ("", "_low", "_high"))
            line = [f"{name}, {half} half", f"{worth} ({low} to {high})", trials(row["match"])]
            for count in ("1", "3", "10", "30"):
                both = (
                    next(rows("panel-search.csv", **here, method=m, trials=count))
                    for m in ("gap", "sweep")
                )
                line.append(" / ".join(percent(each["ratio"]) for each in both))
            cells.append(line)
    head = ("", "one trial is worth", "match 30", "1 trial", "3 trials", "10 trials", "30 trials")
    return table(head, cells)


def rivals() -> str:
    """How many of the nine rivals GAP is significantly ahead of, and behind."""
    cells = []
    for family, name in _FAMILIES.items():
        for half in HALVES:
            line = [f"{name}, {half} half"]
            for measure in ("across", "best of 1", "best of 3", "best of 30"):
                kinds = [
                    row["kind"]
                    for row in rows("panel-rivals.csv", family=family, half=half, measure=measure)
                ]
                line.append(f"{kinds.count('ahead')} / {kinds.count('behind')}")
            cells.append(line)
    return table(
        ("ahead of / behind, of 9", "over all learning rates", "1 trial", "3 trials", "30 trials"),
        cells,
    )


def short() -> str:
    """The README's table: what one trial is worth, and what it ends at."""
    cells = []
    for family, name in _FAMILIES.items():
        for half in HALVES:
            found = next(
                rows("panel-measures.csv", family=family, half=half, arm="gap", measure="tuned")
            )
            across = next(
                rows("panel-measures.csv", family=family, half=half, arm="gap", measure="across")
            )
            row = next(rows("panel-search.csv", family=family, half=half, method="gap"))
            cells.append(
                [
                    f"{name}, {half} half",
                    trials(row["worth"]),
                    trials(row["match"]),
                    interval(found),
                    interval(across, ahead=across["kind"] == "ahead"),
                ]
            )
    head = (
        "28 small tasks",
        "one GAP trial is worth",
        "trials to match 30",
        "at tuned learning rates",
        "over all learning rates",
    )
    return table(head, cells)


def simulated() -> str:
    """What simulated studies of 30 trials end at, and what they take."""
    cells = []
    for row in rows("simulated-methods.csv"):
        seconds = float(row["match_time"])
        cells.append(
            [
                f"`{row['method']}`",
                interval(row),
                f"{float(row['cost_trials']):.1f}",
                f"{float(row['seconds']) / 60:.0f} min",
                trials(row["match_trials"]),
                f"{seconds / 60:.0f} min" if math.isfinite(seconds) else "-",
            ]
        )
    head = ("", "test loss", "training, in whole trials", "cluster time", "match", "match in")
    return table(head, cells)


TABLES = {
    "panel": panel,
    "arms": arms,
    "search": search,
    "rivals": rivals,
    "short": short,
    "simulated": simulated,
}
_PLACE = re.compile(r"<!-- ([a-z]+) -->\n.*?<!-- end -->", re.DOTALL)


def written(text: str) -> str:
    """Return a page with its tables as the files have them."""
    return _PLACE.sub(
        lambda place: f"<!-- {place[1]} -->\n{TABLES[place[1]]()}\n<!-- end -->", text
    )


def main() -> None:
    """Take files over if told from where, and write pages and figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--panel", type=Path, help="a panel's folder")
    parser.add_argument("--simulation", type=Path, help="a folder of gap-tune simulate")
    given = parser.parse_args()
    if given.panel:
        take_over(given.panel, KEPT)
    if given.simulation:
        take_over(given.simulation, SIMULATED)
    for page in PAGES:
        page.write_text(written(page.read_text()))
    for name, figure in FIGURES.items():
        (HERE / name).write_text(figure())


if __name__ == "__main__":
    main()
