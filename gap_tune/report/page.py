"""write_page: a study's report as one HTML file that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gap_tune.files import write_text
from gap_tune.records.decisions import DecisionRun, TunedTrial
from gap_tune.records.records import Records
from gap_tune.records.scale import scale_phases
from gap_tune.report import sentences
from gap_tune.report.answer import Verdict, verdict
from gap_tune.report.comparison import Comparison
from gap_tune.report.figures import courses, plots, rates
from gap_tune.report.figures.searches import search
from gap_tune.report.html import page_figure, render_page
from gap_tune.report.search_curve import MOST_TRIALS, SHOWN_TRIALS
from gap_tune.tune.spelling import GAP_NAME

# What a page shows of a study that does not say so itself.
_SAID_OF_NONE = {"settings": {}, "versions": {}, "command": "", "experiment": ""}
# How many decisions a page shows, and how few of each trial where there are many trials.
_MOST_ROWS, _FEWEST_ROWS = 6_000, 20
_MOST_PHASES = 12


def write_page(study: Records | Comparison, path: Path | str) -> Path:
    """Write the report page and return its path.

    The page holds its scripts and figures, asks nothing of the network, and forbids its browser to
    (a Content-Security-Policy that allows the two scripts it was written with, by their hashes).
    Every name that a user or a trial chose is escaped.

    Args:
        study: The records of a study, which may still be running or have been killed, or their
            comparison where there is one already.
        path: The HTML file to write; it appears whole or not at all.

    Raises:
        InvalidValueError: When the file cannot be written.
    """
    return write_text(Path(path), render(Comparison.of(study)))


def render(comparison: Comparison) -> str:
    """Return the page's HTML."""
    records, answer, tuned = comparison.records, verdict(comparison), comparison.tuned
    decisions = [trial.decisions() for trial in tuned]
    return render_page(
        "report.html",
        answer=answer,
        conditions=sentences.conditions(comparison),
        study={**_SAID_OF_NONE, **records.study},
        summary=comparison.summary,
        metrics=comparison.metrics,
        pairs=_pairs(comparison, answer),
        figures=[page_figure(plot) for plot in study_figures(comparison)],
        gains=[gain for gain in map(_gain, tuned) if gain["content"]["data"]],
        tuned=[
            _decided(trial, runs, len(tuned)) for trial, runs in zip(tuned, decisions, strict=True)
        ],
        reasons=sorted({run.reason for runs in decisions for run in runs if run.reason}),
        costs=comparison.costs,
        searches=comparison.searches,
        most=MOST_TRIALS,
        steps=SHOWN_TRIALS,
        swept=comparison.sweep is not None,
        unit=records.unit,
        epochs="epoch" in records.results,
        failed=records.trials_with("failed").to_dict("records"),
        unfinished=records.trials_with("unfinished").to_dict("records"),
        trials=len(records.trials),
    )


def study_figures(comparison: Comparison) -> list[Any]:
    """Return the plotly figures of a study, but for the gains of single trials."""
    metrics = [metric for metric in comparison.metrics if plots.has_curve(comparison, metric)]
    curves = [plots.learning_curves(comparison, metric) for metric in metrics]
    finals = [plots.final_values(comparison, metric) for metric in comparison.metrics]
    over_steps = [
        courses.momentum_over_steps(comparison),
        courses.gain_over_steps(comparison),
        courses.scale_over_steps(comparison),
        courses.agreement_over_steps(comparison),
    ]
    swept = [] if comparison.sweep is None else [rates.final_by_rate(comparison, comparison.sweep)]
    searches = comparison.searches
    found = [] if searches is None else [search(comparison, searches)]
    return [plot for plot in (*curves, *finals, *swept, *found, *over_steps) if plot.data]


def _gain(trial: TunedTrial) -> dict[str, Any]:
    return {"trial": trial.name, **page_figure(plots.gain_curves(trial))}


def _decided(trial: TunedTrial, runs: list[DecisionRun], trials: int) -> dict[str, Any]:
    """Return a trial's decisions; of very many the first and the last, lest the page be too large.

    Args:
        trial: Whose.
        runs: All of them.
        trials: How many trials share the page.
    """
    half = max(_MOST_ROWS // trials, _FEWEST_ROWS) // 2
    out = len(runs) - 2 * half
    return {
        "name": trial.name,
        "trial_id": trial.trial_id,
        "phases": scale_phases(trial.rows)[:_MOST_PHASES],
        "changes": sum(run.changed for run in runs),
        "first": runs[:half] if out > 0 else runs,
        "left_out": max(out, 0),
        "last": runs[-half:] if out > 0 else [],
    }


def _pairs(comparison: Comparison, answer: Verdict) -> list[dict[str, Any]]:
    """Return GAP and the best fixed arm seed by seed."""
    gap, fixed = (comparison.values(arm) for arm in (GAP_NAME, answer.best_fixed))
    return [
        {"seed": seed, "gap": gap[seed], "fixed": fixed[seed], "difference": difference}
        for seed, difference in answer.difference.by_seed.items()
    ]
