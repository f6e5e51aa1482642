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
from gap_tune.report.figures import plots
from gap_tune.report.figures.study import StudyFigures
from gap_tune.report.html import page_figure, render_page
from gap_tune.report.search_curve import MOST_TRIALS, SHOWN_TRIALS
from gap_tune.report.take_home.best import Best
from gap_tune.report.trials.flapping import flapping
from gap_tune.report.trials.importance import Importance
from gap_tune.report.trials.parallel import ParallelCoordinates
from gap_tune.report.trials.settings import TrialSettings
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
    settings = TrialSettings.of(records)
    figures = StudyFigures.of(comparison, settings)
    return render_page(
        "report.html",
        answer=answer,
        take_home=Best.of(comparison),
        conditions=sentences.conditions(comparison),
        study={**_SAID_OF_NONE, **records.study},
        summary=comparison.summary,
        metrics=comparison.metrics,
        pairs=_pairs(comparison, answer),
        figures=[page_figure(plot) for plot in figures.named.values()],
        shown=_places(figures),
        gains=[gain for gain in map(_gain, tuned) if gain["content"]["data"]],
        tuned=[
            _decided(trial, runs, len(tuned)) for trial, runs in zip(tuned, decisions, strict=True)
        ],
        reasons=sorted({run.reason for runs in decisions for run in runs if run.reason}),
        settings_of=settings,
        trial_rows=settings.shown.to_dict("records"),
        importance=Importance.of(settings),
        parallel=ParallelCoordinates.of(settings),
        costs=comparison.costs,
        searches=comparison.searches,
        most=MOST_TRIALS,
        steps=SHOWN_TRIALS,
        swept=comparison.sweep is not None,
        unit=records.unit,
        epochs="epoch" in records.results,
        failed=records.trials_with("failed").to_dict("records"),
        unfinished=records.trials_with("unfinished").to_dict("records"),
        stopped=len(records.trials_with("stopped")),
        trials=len(records.trials),
    )


def _places(figures: StudyFigures) -> dict[str, list[int]]:
    """Return where the page's figures stand in their list, by the part of the page."""
    order = {name: place for place, name in enumerate(figures.named)}
    parts = {
        "lead": [figures.lead],
        "settings": [figures.settings],
        "main": figures.main,
        "more": figures.more,
    }
    return {part: [order[name] for name in names if name] for part, names in parts.items()}


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
        "flapping": flapping(trial, runs),
        "first": runs[:half] if out > 0 else runs,
        "left_out": max(out, 0),
        "last": runs[-half:] if out > 0 else [],
    }


def _pairs(comparison: Comparison, answer: Verdict) -> list[dict[str, Any]]:
    """Return GAP and the best fixed arm seed by seed."""
    gap, fixed = comparison.pairs(GAP_NAME, answer.best_fixed)
    return [
        {"seed": seed, "gap": gap[seed], "fixed": fixed[seed], "difference": difference}
        for seed, difference in answer.difference.by_seed.items()
    ]
