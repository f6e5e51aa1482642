"""write_page: a panel's report as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gap_tune.files import write_text
from gap_tune.panel import figures
from gap_tune.panel.scores import MEASURES, Scores
from gap_tune.panel.summary import arms_table, percent
from gap_tune.panel.verdict import verdict
from gap_tune.report.html import page_figure, render_page


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
    compared = "tuned_ratio" in scores.cells
    plots = [figures.ratios(scores, measure) for measure in MEASURES] if compared else []
    courses = [figures.momenta(scores, setting) for setting in scores.settings]
    return render_page(
        "panel.html",
        "gap_tune.panel",
        answer=verdict(scores),
        note=note,
        arms=arms_table(scores).to_dict("records"),
        cells=[_setting_cells(scores, setting, note) for setting in scores.settings],
        compared=compared,
        percent=percent,
        runs=len(scores.runs),
        lost=scores.runs[scores.runs["status"] == "failed"].to_dict("records"),
        figures=[page_figure(plot) for plot in (*plots, *courses) if plot.data],
        ratio_figures=len(plots),
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
