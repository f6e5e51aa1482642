"""write_page: what simulated studies say, as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gap_tune.files import write_text
from gap_tune.panel.measures.standing import percent
from gap_tune.report.html import page_figure, render_page
from gap_tune.report.search_curve import SHOWN_TRIALS
from gap_tune.simulation.answers.answer import Answer
from gap_tune.simulation.answers.methods import Method
from gap_tune.simulation.answers.reached import AXES, TRIALS, Reached
from gap_tune.simulation.answers.wasting import FEW_TRIALS
from gap_tune.simulation.page import figures


def write_page(answer: Answer, note: Mapping[str, Any], path: Path | str) -> Path:
    """Write the page and return its path.

    Args:
        answer: What the studies say.
        note: How they were made: ``command``, ``cluster``, ``runs`` (of what tables) in words, and
            ``versions``.
        path: The HTML file to write; it appears whole or not at all.

    Raises:
        InvalidValueError: When the file cannot be written.
    """
    return write_text(Path(path), render(answer, note))


def render(answer: Answer, note: Mapping[str, Any]) -> str:
    """Return the page's HTML."""
    studies, lead = answer.studies, figures.lead_methods(answer)
    first = [figures.search(answer, axis, lead) for axis in AXES]
    every = answer.methods if len(lead) < len(answer.methods) else []
    rest = [figures.search(answer, axis, every) for axis in AXES] if every else []
    steps = [count for count in SHOWN_TRIALS if count <= studies.trials]
    return render_page(
        "simulate.html",
        "gap_tune.simulation.page",
        answer=answer,
        note=note,
        studies=studies,
        methods=[_method(answer, name, steps) for name in studies.methods],
        steps=steps,
        few=[count for count in FEW_TRIALS if count <= studies.trials],
        settings=[_setting(answer, name, lead) for name in studies.settings],
        percent=percent,
        figures=[page_figure(plot) for plot in (*first, *rest)],
        first_figures=len(first),
        # The script's name for figures of which one at a time is shown.
        gains=[
            {"trial": name, **page_figure(figures.on_setting(answer, name, lead))}
            for name in studies.settings
        ],
    )


def _method(answer: Answer, name: str, steps: list[int]) -> dict[str, Any]:
    curves, studies = answer.curves, answer.studies
    curve = curves.curve(name, TRIALS)
    return {
        "name": name,
        "has_gap": name in {pair.method for pair in answer.pairs},
        "curve": curve,
        "by_trials": [curve.ratios[count - 1] for count in steps],
        "cost": studies.cost(name),
        "seconds": studies.seconds(name),
        "match": [_match(answer, name, axis) for axis in AXES],
    }


def _match(answer: Answer, name: str, axis: str) -> tuple[Reached, str]:
    """Return what a method takes to match the rival, and whether that is sooner."""
    curves = answer.curves
    found = curves.to_match(name, answer.rival, axis, answer.studies.trials)
    return found, curves.speed(name, answer.rival, axis).kind


def _setting(answer: Answer, setting: str, methods: list[Method]) -> dict[str, Any]:
    studies = answer.studies
    hindsight, momenta = studies.hindsight[setting], studies.momenta[setting]
    return {
        "name": setting,
        "best": momenta[hindsight.best[0]],
        "reference": float(hindsight.reference.mean()),
        "worse": answer.worse(setting),
        "rows": [(each.name, answer.curves.on(setting, each.name, TRIALS)) for each in methods],
    }
