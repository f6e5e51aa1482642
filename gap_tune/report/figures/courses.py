"""Figures of what tuned trials did over training: momentum, gain, scale and agreement."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from gap_tune.records.decisions import TunedTrial
from gap_tune.report.comparison import Comparison
from gap_tune.report.figures.plots import thinned
from gap_tune.report.figures.style import (
    ArmLook,
    arm_looks,
    figure,
    floats,
    label,
    panel,
    panels,
)
from gap_tune.tune import keys

_MOST_ENTRIES = 12
# Trials of equal momentum would hide each other in one panel: so few have one each.
_MOST_PANELS = 8
_SEED_DASHES = ("solid", "dash", "dot", "dashdot", "longdash")


def momentum_over_steps(comparison: Comparison) -> Any:
    """Return the momentum in use at every optimizer step, a step line per tuned trial.

    Up to eight trials have a panel each. More share one: thin lines that let each other through,
    so that a momentum looks the stronger, the more trials use it.
    """
    looks, trials = arm_looks(comparison), comparison.tuned
    apart = 1 < len(trials) <= _MOST_PANELS
    words = "Momentum in use over training, per tuned trial", "optimizer steps", "momentum β"
    plot = panels(*words, [label(trial.name) for trial in trials]) if apart else figure(*words)
    for place, trial in enumerate(trials):
        rows = thinned(_turns(trial.rows), len(trials))
        # The momentum of a report was in use since the report before.
        momentum = rows[keys.MOMENTUM].to_numpy(float)[[0, *range(len(rows))]]
        line = {"color": looks[trial.arm].colour, "dash": "solid", "width": 1.6}
        plot.add_scatter(
            x=np.asarray([0, *rows[keys.STEPS]], np.int32),
            y=floats(momentum),
            line={**line, "shape": "vh"},
            hovertemplate="step %{x}: β = %{y:.3g}",
            **(panel(place) if apart else {}),
            **_common(trial, len(trials)),
        )
    if not apart:
        plot.update_layout(showlegend=len(trials) <= _MOST_ENTRIES)
    if plot.data:
        used = np.concatenate([line.y for line in plot.data])
        # One range for all, so that panels compare; a momentum that never changes has one too.
        edge = max(0.06 * float(np.ptp(used)), 0.01)
        plot.update_yaxes(range=[float(used.min()) - edge, float(used.max()) + edge])
    return plot


def gain_over_steps(comparison: Comparison) -> Any:
    """Return the gain of the momentum in use over optimizer steps, a line per tuned trial."""
    plot = figure(
        "Gain of the momentum in use over training, per tuned trial", "optimizer steps", "gain J(β)"
    )
    return _with_lines(plot, comparison, keys.GAIN, "J")


def scale_over_steps(comparison: Comparison) -> Any:
    """Return the factor on the learning rate over optimizer steps, a line per controlled trial."""
    plot = figure(
        "Scale of the learning rate over training, per tuned trial", "optimizer steps", "scale"
    )
    plot.update_yaxes(type="log")
    return _with_lines(plot, comparison, keys.SCALE, "scale")


def agreement_over_steps(comparison: Comparison) -> Any:
    """Return the agreement ``z`` over optimizer steps, a line per controlled trial."""
    plot = figure(
        "Agreement of fresh gradients with updates, per tuned trial",
        "optimizer steps",
        "agreement z",
    )
    return _with_lines(plot, comparison, keys.AGREEMENT, "z")


def _with_lines(plot: Any, comparison: Comparison, key: str, symbol: str) -> Any:
    """Return a figure with what trials reported under a key, a line for each that did."""
    looks = arm_looks(comparison)
    trials = [trial for trial in comparison.tuned if key in trial.rows]
    for place, trial in enumerate(trials):
        known = trial.rows.assign(shown=pd.to_numeric(trial.rows[key], errors="coerce"))
        known = known.replace([np.inf, -np.inf], np.nan).dropna(subset=["shown"])
        rows = thinned(known, len(trials))
        if rows.empty:
            continue
        plot.add_scatter(
            x=rows[keys.STEPS].to_numpy(np.int32),
            y=floats(rows["shown"]),
            line=_line(looks[trial.arm], place),
            hovertemplate=f"step %{{x}}: {symbol} = %{{y:.3g}}",
            **_common(trial, len(trials)),
        )
    plot.update_layout(showlegend=len(trials) <= _MOST_ENTRIES)
    return plot


def _turns(rows: pd.DataFrame) -> pd.DataFrame:
    """Return the reports between which momentum changed: the line through them is the same."""
    momentum = rows[keys.MOMENTUM]
    turns = (momentum != momentum.shift()) | (momentum != momentum.shift(-1))
    return rows[turns]


def _line(look: ArmLook, place: int) -> dict[str, Any]:
    return {"color": look.colour, "dash": _SEED_DASHES[place % len(_SEED_DASHES)], "width": 1.6}


def _common(trial: TunedTrial, trials: int) -> dict[str, Any]:
    return {
        "name": label(trial.name),
        "mode": "lines",
        "opacity": min(1.0, 3 * _MOST_ENTRIES / trials),
    }
