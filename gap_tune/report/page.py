"""write_page: a study's report as one HTML file that needs nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from gap_tune.files import write_text
from gap_tune.records.decisions import DecisionRun, TunedTrial, tuned_trials
from gap_tune.records.records import Records
from gap_tune.report import sentences
from gap_tune.report.figures import courses, plots
from gap_tune.report.finals import (
    arm_names,
    final_metrics,
    metric_names,
    trials_with,
    unit,
    values_by_seed,
)
from gap_tune.report.html import page_figure, render_page
from gap_tune.report.tables import spent, summarise
from gap_tune.report.verdict import Verdict, verdict
from gap_tune.study.arms import GAP

# Of a study that does not say so itself.
_SAID_OF_NONE = {"settings": {}, "versions": {}, "command": "", "experiment": ""}
_ENDS = ("finished", "stopped", "failed", "unfinished")
# Decisions shown on a page, and of a trial where there are many.
_MOST_ROWS, _FEWEST_ROWS = 6_000, 20


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
    return write_text(Path(path), render(records))


def render(records: Records) -> str:
    """Return the page's HTML."""
    answer, tuned = verdict(records), tuned_trials(records)
    decisions = [trial.decisions() for trial in tuned]
    return render_page(
        "report.html",
        answer=answer,
        conditions=sentences.conditions(records),
        study={**_SAID_OF_NONE, **records.study},
        summary=summarise(records).to_dict("records"),
        metrics=metric_names(records),
        pairs=_pairs(records, answer),
        figures=[page_figure(plot) for plot in study_figures(records)],
        gains=[gain for gain in map(_gain, tuned) if gain["content"]["data"]],
        tuned=[
            _decided(trial, runs, len(tuned)) for trial, runs in zip(tuned, decisions, strict=True)
        ],
        reasons=sorted({run.reason for runs in decisions for run in runs if run.reason}),
        costs=_costs(records),
        unit=unit(records),
        epochs="epoch" in records.results,
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
        "changes": sum(run.changed for run in runs),
        "first": runs[:half] if out > 0 else runs,
        "left_out": max(out, 0),
        "last": runs[-half:] if out > 0 else [],
    }


def _costs(records: Records) -> list[dict[str, Any]]:
    """Return what each arm spent: trials by how they ended, steps, and time."""
    rows = []
    for arm in arm_names(records):
        trials, steps = spent(records, [arm])
        ends = {name: len(trials_with(records, name, [arm])) for name in _ENDS}
        own = records.trials[records.trials["arm"] == arm] if len(records.trials) else None
        seconds = 0.0 if own is None else float(pd.to_numeric(own["seconds"]).sum())
        rows.append({"arm": arm, "trials": trials, **ends, "steps": steps, "seconds": seconds})
    return rows


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
