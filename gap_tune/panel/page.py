"""write_page: a panel's report as one HTML file that needs nothing else."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from gap_tune.files import write_text
from gap_tune.panel import figures
from gap_tune.panel.measures.compared import ACROSS, MEASURES, PER_RATE, TUNED
from gap_tune.panel.measures.rates import RateRange
from gap_tune.panel.measures.standing import CLIP, percent
from gap_tune.panel.rivals import BEST_OF, against_rivals, judged
from gap_tune.panel.scores import Group, Scores
from gap_tune.panel.summary import arms_table, best_single, shown_methods, standing
from gap_tune.panel.verdict import verdict
from gap_tune.report.html import page_figure, render_page
from gap_tune.report.search_curve import MOST_TRIALS, SHOWN_TRIALS, method_title

_TITLES = {
    TUNED: "at tuned learning rate",
    ACROSS: "across learning rates",
    PER_RATE: "per learning rate",
}


def write_page(scores: Scores, note: Mapping[str, Any], path: Path | str) -> Path:
    """Write the page and return its path.

    Args:
        scores: The panel's scores.
        note: What ``run_panel`` says about the panel.
        path: The HTML file to write; it appears whole or not at all.

    Raises:
        InvalidValueError: When the file cannot be written.
    """
    return write_text(Path(path), render(scores, note))


def render(scores: Scores, note: Mapping[str, Any]) -> str:
    """Return the page's HTML."""
    # Without a fixed arm there is nothing to divide by.
    compared = bool(scores.losses.fixed)
    groups = scores.groups if compared else ()
    plots = [figures.search(group) for group in groups]
    plots += [figures.ratios(scores, measure) for measure in MEASURES] if compared else []
    courses = [figures.momenta(scores, setting) for setting in scores.settings]
    return render_page(
        "panel.html",
        "gap_tune.panel",
        answer=verdict(scores),
        note=note,
        arms=arms_table(scores).to_dict("records"),
        cells=[_setting_cells(scores, setting, note) for setting in scores.settings],
        compared=compared,
        families=[_family(list(own)) for _, own in groupby(groups, key=lambda group: group.family)],
        measures=_TITLES,
        judged=judged(scores),
        asked={ACROSS: _TITLES[ACROSS], **{name: name for name in BEST_OF}},
        percent=percent,
        clip=CLIP,
        highest=math.exp(CLIP),
        most=MOST_TRIALS,
        steps=SHOWN_TRIALS,
        margin=scores.margin,
        runs=len(scores.runs),
        lost=scores.runs[scores.runs["status"] == "failed"].to_dict("records"),
        figures=[page_figure(plot) for plot in (*plots, *courses) if plot.data],
        ratio_figures=len(plots),
        search_figures=len(groups),
        # The script's name for figures of which one at a time is shown.
        gains=[
            {"trial": name, **page_figure(figures.learning_rates(scores, name))}
            for name in scores.settings
        ],
    )


def _setting_cells(scores: Scores, setting: str, note: Mapping[str, Any]) -> dict[str, Any]:
    own = scores.cells[scores.cells["setting"] == setting]
    (told,) = [each for each in note["settings"] if each["name"] == setting]
    return {"name": setting, "rows": own.to_dict("records"), "told": told}


def _family(groups: list[Group]) -> dict[str, Any]:
    """Return what tables show of a family, halves beside each other."""
    arms = groups[0].scores.arms
    return {
        "title": groups[0].title,
        "rivals": _rivals(groups),
        "halves": [
            {
                "name": group.half,
                "settings": len(group.scores.settings),
                "single": {name: best_single(group.scores, name) for name in MEASURES},
                "search": [
                    {"title": method_title(name), "name": name, "curve": curve}
                    for name in shown_methods(group.scores)
                    for curve in [group.scores.curves[name]]
                ],
            }
            for group in groups
        ],
        "rows": [
            {
                "arm": arm,
                "places": [_places(group.scores, arm) for group in groups],
                "ranges": [RateRange.of(group.scores.losses, arm) for group in groups],
            }
            for arm in arms
        ],
    }


def _rivals(groups: list[Group]) -> list[dict[str, Any]]:
    """Return a row per rival: the arm that is judged against it, halves beside each other."""
    found = zip(*(against_rivals(group.scores) for group in groups), strict=True)
    return [{"rival": places[0].rival, "places": places} for places in found]


def _places(scores: Scores, arm: str) -> dict[str, Any]:
    """Return where an arm stands, by measure: against hindsight and the best single momentum."""
    return {
        measure: (
            standing(scores, arm, measure),
            standing(scores, arm, measure, best_single(scores, measure)),
        )
        for measure in MEASURES
    }
