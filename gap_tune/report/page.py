"""write_page: a study's report as one HTML file that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gap_tune.report import courses, plots, sentences
from gap_tune.report.decisions import TunedTrial, tuned_trials
from gap_tune.report.files import write_whole
from gap_tune.report.finals import final_metrics, metric_names, trials_with, values_by_seed
from gap_tune.report.html import page_figure, render_page
from gap_tune.report.tables import summarise
from gap_tune.report.verdict import Verdict, verdict
from gap_tune.study.arms import GAP
from gap_tune.study.records import Records


def write_page(records: Records, path: Path | str) -> Path:
    """Write the report page and return its path.

    The page holds its scripts and figures, asks nothing of the network, and forbids its browser to
    (a Content-Security-Policy that allows the two scripts it was written with, by their hashes).
    Every name that a user or a trial chose is escaped.

    Args:
        records: The study, which may still be running or have been killed.
        path: The HTML file to write; it appears whole or not at all.

    Raises:
        InvalidValueError: When the file cannot be written.
    """
    return write_whole(Path(path), render(records))


def render(records: Records) -> str:
    """Return the page's HTML."""
    answer, tuned = verdict(records), tuned_trials(records)
    return render_page(
        "report.html",
        answer=answer,
        conditions=sentences.conditions(records),
        study={"settings": {}, "versions": {}, "command": "", **records.study},
        summary=summarise(records).to_dict("records"),
        metrics=metric_names(records),
        pairs=_pairs(records, answer),
        figures=[page_figure(plot) for plot in study_figures(records)],
        gains=[gain for gain in map(_gain, tuned) if gain["content"]["data"]],
        tuned=tuned,
        failed=trials_with(records, "failed").to_dict("records"),
        unfinished=trials_with(records, "unfinished").to_dict("records"),
        trials=len(records.trials),
    )


def study_figures(records: Records) -> list[Any]:
    """Return the plotly figures of a study, but for the gains of single trials."""
    metrics = metric_names(records)
    curves = [plots.learning_curves(records, m) for m in metrics if plots.has_curve(records, m)]
    finals = [plots.final_values(records, m) for m in metrics]
    over_steps = [courses.momentum_over_steps(records), courses.gain_over_steps(records)]
    return [plot for plot in (*curves, *finals, *over_steps) if plot.data]


def _gain(trial: TunedTrial) -> dict[str, Any]:
    return {"trial": trial.name, **page_figure(plots.gain_curves(trial))}


def _pairs(records: Records, answer: Verdict) -> list[dict[str, Any]]:
    """Return GAP and the best fixed arm seed by seed."""
    if answer.best_fixed is None:
        return []
    finals = final_metrics(records)
    gap, fixed = (
        values_by_seed(finals, arm, records.metric) for arm in (GAP.name, answer.best_fixed)
    )
    return [
        {"seed": seed, "gap": gap[seed], "fixed": fixed[seed], "difference": difference}
        for seed, difference in answer.difference.by_seed.items()
    ]
